from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.factories import classifier, image_set
from workbench.attribution.attribute import attribute
from workbench.attribution.masks import random_masks, superpixels
from workbench.attribution.targets import Targets
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier

IMAGES, ROWS, OF = image_set().pixels[:2], np.arange(2), np.array([0, 2])


class Additive(nn.Module):
    """Two logits that are weighted sums of pixels: what each pixel does is known."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.zeros(1, 1, 32, 32)
        weight[..., 4:12, 20:28] = 1.0
        self.register_buffer("weight", weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = (x * self.weight).sum((1, 2, 3))
        return torch.stack([value, -value], 1)


def additive() -> Classifier:
    return Classifier(Additive().eval(), ("a", "b"), (0.5,) * 3, (0.25,) * 3, 32, {})


def test_masks_hide_half_on_average_and_vary_in_place() -> None:
    masks = random_masks(3, 2000, 7, 0.5, (32, 48))
    assert masks.shape == (2000, 32, 48)
    assert masks.min() >= 0
    assert masks.max() <= 1
    np.testing.assert_allclose(masks.mean(0), 0.5, atol=0.06)
    np.testing.assert_array_equal(masks[:5], random_masks(3, 2000, 7, 0.5, (32, 48))[:5])


def test_rise_points_at_the_pixels_that_are_summed() -> None:
    bright = np.full((1, 32, 32, 3), 250, np.uint8)
    maps = attribute(additive(), bright, ROWS[:1], Targets(OF[:1]), "RISE", masks=1000)[""].values[0]
    inside = np.zeros((32, 32), bool)
    inside[4:12, 20:28] = True
    assert inside.ravel()[maps.argmax()]
    assert maps[inside].mean() > 5 * np.abs(maps[~inside].mean())
    other = attribute(additive(), bright, ROWS[:1], Targets(OF[:1] + 1), "RISE", masks=1000)[""].values[0]
    np.testing.assert_allclose(other, -maps, atol=1e-3 * np.abs(maps).max())


def test_rise_is_the_papers_sum_less_a_constant() -> None:
    """Equation 6 over the same masks, one by one, minus the mean output times the mean mask."""
    c = classifier()
    ours = attribute(c, IMAGES[:1], ROWS[:1], Targets(OF[:1]), "RISE", masks=64)[""].values[0]
    from workbench.attribution.targets import seeds_of

    masks = random_masks(seeds_of(ROWS[:1])[0], 64, 7, 0.5, (32, 32))
    x = c.prepare(IMAGES[:1])
    with torch.no_grad():
        outputs = [float(c.module(x * torch.from_numpy(mask))[0, OF[0]]) for mask in masks]
    paper = sum(output * mask for output, mask in zip(outputs, masks, strict=True)) / (64 * 0.5)
    expected = paper - np.mean(outputs) * masks.mean(0) / 0.5
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


def test_kernel_shap_of_a_sum_is_each_superpixels_part_of_it() -> None:
    """In a game without interactions the Shapley value of a player is what it adds; values sum to the change."""
    c = additive()
    found = attribute(c, IMAGES[:1], ROWS[:1], Targets(OF[:1]), "KernelSHAP", baseline="black", masks=400)[""]
    parts = superpixels(IMAGES[0], 36)
    x, black = c.prepare(IMAGES[:1]), c.prepare(np.zeros_like(IMAGES[:1]))
    adds = ((x - black) * c.module.weight).sum(1)[0].numpy()
    expected = np.array([adds[parts == k].sum() for k in range(parts.max() + 1)])
    ours = np.array([found.values[0][parts == k].sum() for k in range(parts.max() + 1)])
    np.testing.assert_allclose(ours, expected, atol=0.02 * np.abs(expected).max())
    assert found.residual is not None
    assert found.residual[0] < 0.02


def test_superpixels_cover_the_image_and_follow_its_colours() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 25:] = (220, 40, 40)
    parts = superpixels(image, 24)
    assert parts.shape == (40, 60)
    assert set(np.unique(parts)) == set(range(parts.max() + 1))
    assert 12 <= parts.max() + 1 <= 24
    for k in range(parts.max() + 1):
        columns = np.nonzero(parts == k)[1]
        assert columns.max() < 25 or columns.min() >= 25


@pytest.mark.parametrize(
    ("method", "settings", "said"),
    [
        ("RISE", {"kept": 1.5}, "share kept between 0 and 1"),
        ("RISE", {"masks": 1}, "2 masks or more"),
        ("KernelSHAP", {"segments": 1}, "2 segments or more"),
        ("KernelSHAP", {"masks": 20}, "more masks than segments"),
    ],
)
def test_settings_that_can_not_be_are_refused(method: str, settings: dict[str, float], said: str) -> None:
    with pytest.raises(AttributionError, match=said):
        attribute(classifier(), IMAGES, ROWS, Targets(OF), method, **settings)
