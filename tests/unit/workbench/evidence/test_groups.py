from __future__ import annotations

import numpy as np
import pytest

from tests.unit.workbench.evidence.planted import PATCH, SIDE, marked_images, patch_classifier, patch_map
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.core.records import Attribution
from workbench.errors import AttributionError
from workbench.evidence.groups import masking_effect, mean_map, region_of

COUNT = 20
MARKED = Targets(np.ones(COUNT, np.int64))


def group_map(classifier, images: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    maps = attribute(classifier, images, np.arange(COUNT), MARKED, "Integrated gradients")[""]
    return mean_map(maps)


def test_a_planted_watermark_is_recovered() -> None:
    model, images = patch_classifier(), marked_images(COUNT)
    region = region_of(group_map(model, images), SIDE, 16 / SIDE**2)
    assert np.array_equal(region, patch_map(1)[0] > 0)
    effect = masking_effect(model, images, MARKED, region)
    assert effect.shown
    assert effect.share == 16 / SIDE**2
    assert effect.drop.mean() > 3


def test_without_a_watermark_there_is_no_effect() -> None:
    """The same region, but a model that looks at all of the image alike."""
    import torch

    model, images = patch_classifier(), marked_images(COUNT, marked=False)
    with torch.no_grad():
        model.module.head.weight.view(2, 2, SIDE, SIDE)[1, 1] = 12 / SIDE**2
    effect = masking_effect(model, images, MARKED, patch_map(1)[0] > 0)
    assert not effect.shown
    assert effect.low <= 0 <= effect.high


def test_the_mean_map_gives_every_image_its_say() -> None:
    values = np.zeros((3, 2, 2), np.float32)
    values[0, 0, 0], values[1, 1, 1] = 100, 0.01
    maps = Attribution(values, np.arange(3), np.zeros(3, np.int64), "planted")
    np.testing.assert_allclose(mean_map(maps), [[1 / 3, 0], [0, 1 / 3]])


@pytest.mark.parametrize(("region", "words"), [((4, 4), "as the images"), ((SIDE, SIDE), "not none or all")])
def test_bad_regions(region: tuple[int, int], words: str) -> None:
    with pytest.raises(AttributionError, match=words):
        masking_effect(patch_classifier(), marked_images(2), Targets(np.ones(2, int)), np.zeros(region, bool))


def test_targets_that_do_not_fit_are_refused() -> None:
    region = patch_map(1)[0] > 0
    for targets, words in ((np.ones(3, int), "expected 12 targets"), (np.full(12, 7), "expected 0 to 1")):
        with pytest.raises(AttributionError, match=words):
            masking_effect(patch_classifier(), marked_images(12), Targets(targets), region)


def test_the_patch_is_where_the_model_looks() -> None:
    assert patch_map(1)[0, PATCH[0], PATCH[1]].all()
