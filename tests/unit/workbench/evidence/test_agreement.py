from __future__ import annotations

import numpy as np
import pytest

from tests.unit.workbench.evidence.planted import marked_images, patch_classifier, patch_map
from tests.unit.workbench.evidence.test_cells import measured
from workbench.attribution.targets import Targets
from workbench.evidence.agreement import Reference, agreement
from workbench.evidence.cells import cell_effects

GRID = (4, 4)


def noisy(effects: np.ndarray):  # type: ignore[no-untyped-def]
    return lambda signs: signs @ effects / 2 + 0.3 * signs[:, 0] * signs[:, 1] * signs[:, 2]


def maps_of(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, *GRID).astype(np.float32)


@pytest.mark.parametrize("kind", ["others", "permuted"])
def test_p_values_of_maps_that_know_nothing_are_uniform_or_larger(kind: str) -> None:
    """Maps with a bias towards some cells, drawn alike for this image and for the others."""
    drawn = np.random.default_rng(0)
    bias = drawn.normal(size=16) if kind == "others" else 0
    effects = measured(noisy(drawn.normal(size=16)), 400, GRID, blocks=1)
    maps = maps_of(drawn.normal(size=(400, 16)) + bias)
    found = []
    for image in range(400):
        others = Reference.of(maps_of(drawn.normal(size=(99, 16)) + bias), 1000 + np.arange(99), GRID)
        one = agreement(effects.part(slice(image, image + 1)), maps[image : image + 1], others, permutations=199)
        found.append(getattr(one["blur"], f"p_{kind}")[0])
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(found) <= level) <= level + 3 * np.sqrt(level * (1 - level) / 400)
    assert np.mean(np.array(found) <= 0.5) > 0.4  # the test is not empty


def test_a_map_of_the_effects_beats_its_controls_and_its_opposite_is_beaten() -> None:
    drawn = np.random.default_rng(1)
    truth = drawn.normal(size=16)
    effects = measured(noisy(truth), 2, GRID)
    others = Reference.of(maps_of(drawn.normal(size=(150, 16))), 100 + np.arange(150), GRID)
    found = agreement(effects, maps_of(np.stack([truth, -truth])), others)["blur"]
    assert found.p_value[0] < 0.02
    assert found.low[0] > 0
    assert found.p_below[1] < 0.02
    assert found.high[1] < 0
    assert found.attainable[0] >= found.effect[0] - 0.2


def test_the_lowest_quarter_is_told_by_the_sum_of_its_effects() -> None:
    truth = np.array([-1.0, -0.8, -0.6, -0.5, *np.linspace(0.1, 1, 12)])
    effects = measured(noisy(truth), 1, GRID)
    others = Reference.of(maps_of(np.random.default_rng(1).normal(size=(99, 16))), 100 + np.arange(99), GRID)
    found = agreement(effects, maps_of(truth[None]), others)["blur"]
    assert found.least[0] == pytest.approx(-2.9, abs=0.5)
    assert found.least_low[0] < -2.9 < found.least_high[0]
    upside_down = agreement(effects, maps_of(-truth[None]), others)["blur"]
    assert upside_down.least[0] == pytest.approx(truth[-4:].sum(), abs=0.5)
    tied = np.where(np.arange(16) < 8, 0.0, 1.0)  # eight cells at the bottom: each counts half
    half = agreement(effects, maps_of(tied[None]), others)["blur"]
    assert half.least[0] == pytest.approx(truth[:8].sum() / 2, abs=0.5)


def test_the_same_map_for_every_image_has_no_evidence() -> None:
    drawn = np.random.default_rng(2)
    truth = drawn.normal(size=16)
    effects = measured(noisy(truth), 1, GRID)
    same = Reference.of(maps_of(np.repeat(truth[None], 99, axis=0)), 100 + np.arange(99), GRID)
    found = agreement(effects, maps_of(truth[None]), same)["blur"]
    assert found.p_others[0] == 1
    assert found.effect[0] == pytest.approx(0)


def test_the_image_itself_is_no_control_and_without_any_there_is_no_evidence() -> None:
    truth = np.arange(16.0)
    effects = measured(noisy(truth), 1, GRID)
    maps = maps_of(truth[None])
    alone = agreement(effects, maps, Reference.of(maps, np.array([0]), GRID))["blur"]
    assert alone.p_others[0] == 1
    other = agreement(effects, maps, Reference.of(maps, np.array([5]), GRID))["blur"]
    assert other.p_others[0] == 1  # one control that is as good


def test_gains_are_the_area_between_two_curves() -> None:
    """For a sum over cells: highest shown first less lowest shown first, mean over how many are shown."""
    truth = np.random.default_rng(3).normal(size=16)
    effects = measured(lambda signs: signs @ truth / 2, 1, GRID, blocks=1)
    values = np.random.default_rng(4).normal(size=16)
    order = np.argsort(-values)
    first, last = (np.concatenate([[0], np.cumsum(truth[o])]) for o in (order, order[::-1]))
    area = np.trapezoid(first - last) / 15
    found = agreement(effects, maps_of(values[None]), Reference.of(maps_of(values[None]), np.array([9]), GRID))
    assert found["blur"].gain[0] == pytest.approx(area)


def test_the_true_map_of_a_model_with_a_patch() -> None:
    model, images, rows = patch_classifier(), marked_images(2), np.arange(2)
    effects = cell_effects(model, images, rows, Targets(np.ones(2, np.int64)), (8, 8))
    places = np.random.default_rng(0).integers(0, 16, (120, 2))
    others = np.stack([np.roll(patch_map(1)[0], tuple(place), (0, 1)) for place in places])
    for found in agreement(effects, patch_map(2), Reference.of(others, 10 + np.arange(120), (8, 8))).values():
        assert (found.p_value <= 0.05).all()
        assert (found.effect > 0.2).all()
