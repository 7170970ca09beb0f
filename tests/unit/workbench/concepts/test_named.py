from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from captum.concept import TCAV, Classifier, Concept

from tests.unit.workbench.concepts.planted import coloured, planted, planted_run
from workbench.attribution.targets import Targets
from workbench.concepts.cells import cells_of
from workbench.concepts.named import concept_direction, named_concept, permutation_p_value
from workbench.core.records import ImageSet
from workbench.errors import DataError
from workbench.runs.run import Run


def reds(count: int = 40, seed: int = 5) -> ImageSet:
    images = coloured(count, seed, red=0.9)
    return ImageSet(images, np.zeros(count, np.int64), ("plain", "marked"), "examples", "")


def test_a_concept_that_the_head_reads_raises_its_class_and_lowers_the_other() -> None:
    run = planted_run()
    rows = run.predictions.index[:100]
    up = named_concept(run, "red", reds(), rows, "marked", "plain")
    assert up.score == 1.0
    assert up.p_value == 0.001
    assert up.step > 0
    assert up.separated > 0.9
    assert up.control_high < up.step
    assert up.exact  # the layer before the mean: no effect of a concept, and no such words
    assert str(up).startswith(
        f"'red': the lead of marked over plain differs between its examples and other images: +{up.step:.2f} logits"
    )
    down = named_concept(run, "red", reds(), rows, "plain", "marked")
    assert down.score == 0.0
    assert down.p_value == 0.001
    assert down.step == pytest.approx(-up.step)


def test_elsewhere_a_concept_raises_or_lowers_to_first_order() -> None:
    run = planted_run()
    assert run.classifier is not None
    other = replace(run, classifier=planted(0, flat=False))  # its head reads no mean
    rows = run.predictions.index[:100]
    up, down = (named_concept(other, "a-b", reds(), rows, *pair) for pair in (("marked", "plain"), ("plain", "marked")))
    assert str(up).startswith(f"'a-b' raises the lead of marked over plain: +{up.step:.2f} logits")
    assert str(down).startswith(f"'a-b' lowers the lead of plain over marked: −{-down.step:.2f} logits")
    assert "to first order" in str(up)


def test_examples_come_from_a_folder_or_from_rows(tmp_path: Path) -> None:
    run = planted_run()
    for k, image in enumerate(reds(12).pixels):
        cv2.imwrite(str(tmp_path / f"{k}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    rows = run.predictions.index[:60]
    found = named_concept(run, "red", tmp_path, rows, "marked", "plain")
    assert found.examples == 12
    assert found.score > 0.9
    chosen = run.predictions.index[60:100]
    assert named_concept(run, "these", chosen, rows).images == 60
    assert named_concept(run, "these", rows[:20], rows).images == 40  # an example is not explained


def test_random_examples_seldom_matter() -> None:
    """Examples drawn like the others pass the test in 5 % of the cases."""
    run = planted_run()
    significant = 0
    for seed in range(24):
        drawn = np.random.default_rng(seed).permutation(run.predictions.index)
        found = named_concept(run, "nothing", drawn[:20], drawn[20:50], "marked", "plain", seed=seed)
        significant += found.p_value <= 0.05
    assert significant <= 5  # 1 of 24 is expected; more than 5 have a chance of 1 in 1,000


def test_a_p_value_counts_the_score_itself() -> None:
    control = np.linspace(0.4, 0.6, 99)
    assert permutation_p_value(1.0, control) == 0.01
    assert permutation_p_value(0.5, control) > 0.9


class Known(Classifier):
    """Gives Captum the direction that is under test."""

    def __init__(self, direction: np.ndarray) -> None:
        super().__init__()
        self.direction = torch.as_tensor(direction, dtype=torch.float32)

    def train_and_eval(self, dataloader: object, **_: object) -> dict[str, float]:
        return {"accs": 1.0}

    def weights(self) -> torch.Tensor:
        return torch.stack([self.direction, -self.direction])

    def classes(self) -> list[int]:
        return [0, 1]


def test_captums_tcav_counts_the_same_images(tmp_path: Path) -> None:
    """With the same direction in every cell: Captum flattens the layer, ours sums over the cells."""
    run = planted_run()
    model, images = run.classifier, run.images
    assert model is not None
    assert images is not None
    rows = np.arange(60)
    pixels = images.stack(rows)
    cells = cells_of(model, pixels, rows, Targets(np.ones(60, np.int64)))
    direction = np.random.default_rng(3).normal(size=cells.values.shape[-1])
    ours = float((cells.gradient.sum((1, 2)) @ direction > 0).mean())
    flat = np.repeat(direction, 16)  # channel by channel, as the layer is laid out
    batch = [model.prepare(reds(4).pixels)]
    sets = [[Concept(0, "one", batch), Concept(1, "other", batch)]]
    tcav = TCAV(model.module, ["features"], classifier=Known(flat), save_path=str(tmp_path))
    found = tcav.interpret(model.prepare(pixels), sets, target=1)
    assert float(found["0-1"]["features"]["sign_count"][0]) == pytest.approx(ours, abs=1e-6)


def test_the_direction_is_that_of_the_difference() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(400, 6))
    is_example = np.arange(400) < 200
    features[is_example, 2] += 3
    direction = concept_direction(features, is_example)
    np.testing.assert_allclose(direction, [0, 0, 3, 0, 0, 0], atol=0.3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"examples": np.arange(3)}, "at least 10 examples, not 3"),
        ({"rows": np.arange(3)}, "at least 10 rows besides the examples"),
        ({"of": "dragon"}, "not 'dragon'"),
        ({"of": "plain", "against": "plain"}, "two classes"),
        ({"of": ""}, "of: expected 'predicted' or one of plain, marked, not ''"),
        ({"against": "predicted"}, "against: expected one of plain, marked, not 'predicted'"),
        ({"against": "plain"}, "of the rows are predicted as 'plain', which has no lead over itself"),
        ({"examples": Path("nowhere")}, "nowhere"),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], said: str) -> None:
    run = planted_run()
    given = {"examples": np.arange(100, 140), "rows": np.arange(50), "of": "predicted", "against": "", **change}
    with pytest.raises(DataError, match=said):
        named_concept(run, "x", **given)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="its model and images"):
        named_concept(Run("bare", run.predictions), "x", np.arange(20), np.arange(30))
