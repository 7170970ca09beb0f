from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.factories import classifier
from tests.unit.workbench.evidence.planted import PATCH, SIDE, marked_images, patch_classifier
from workbench.attribution.targets import Targets
from workbench.errors import AttributionError
from workbench.evidence import cells
from workbench.evidence.cells import CellEffects, block_of, cell_effects, evidence_grid, pooled, rank_weights
from workbench.evidence.pixels import probability_of
from workbench.models.layer import Layer


def measured(of, count: int, grid: tuple[int, int], blocks: int = 2, seed: int = 0) -> CellEffects:  # type: ignore[no-untyped-def]
    """What would be measured of a function of which cells are shown, -1 or 1 ``(m, cells)``, for ``count`` images."""
    number = grid[0] * grid[1]
    shown = np.stack([cells._splits(seed + k, blocks, number) for k in range(count)])
    signs = np.where(shown, 1.0, -1.0)
    differences = np.stack([of(one) - of(-one) for one in signs])
    return CellEffects(grid, np.arange(count), shown, {"blur": differences}, np.ones(count))


def test_effects_of_a_sum_are_exact_and_pairs_of_cells_do_not_disturb_them() -> None:
    drawn = np.random.default_rng(0)
    alone, together = drawn.normal(size=16), np.triu(drawn.normal(size=(16, 16)), 1)

    def output(signs: np.ndarray) -> np.ndarray:
        return signs @ alone / 2 + np.einsum("mi,ij,mj->m", signs, together, signs)

    found = measured(output, 3, (4, 4), blocks=1)
    for image in range(3):
        np.testing.assert_allclose(found.effects("blur", image), alone, atol=1e-12)
        mean, low, high = found.intervals("blur", image, np.eye(16))
        assert np.ptp([mean, low, high], axis=0).max() < 1e-12


def test_intervals_cover_what_three_cells_do_jointly() -> None:
    """Three-way interactions are the noise of the design: 95 % intervals of a weighted sum cover the effect."""
    drawn = np.random.default_rng(1)
    triples = [(*drawn.choice(16, 3, replace=False), drawn.normal()) for _ in range(120)]
    alone, weights = drawn.normal(size=16), rank_weights(drawn.normal(size=(1, 16)))

    def output(signs: np.ndarray) -> np.ndarray:
        joint = sum(value * signs[:, a] * signs[:, b] * signs[:, c] for a, b, c, value in triples)
        return signs @ alone / 2 + 0.2 * joint

    found = measured(output, 400, (4, 4))
    truth = float(weights[0] @ alone)
    ends = [found.intervals("blur", image, weights)[1:] for image in range(400)]
    covered = np.mean([low[0] <= truth <= high[0] for low, high in ends])
    assert 0.92 <= covered <= 0.985


def test_effects_are_banzhaf_values_of_a_model() -> None:
    """On two by two cells all subsets can be shown: the mean over many blocks is the mean over the subsets."""
    model, images = patch_classifier(), marked_images(1)
    targets, seen = Targets(np.ones(1, np.int64)), {}
    for shown in itertools.product([False, True], repeat=4):
        x = cells.filled(model, images, cells.pixels_of(np.array([shown]), (2, 2), (SIDE, SIDE)), "blur", 0)
        seen[shown] = float(probability_of(model, x, targets)[0])
    truth = [
        np.mean([seen[(*s[:k], True, *s[k + 1 :])] - seen[(*s[:k], False, *s[k + 1 :])] for s in seen])
        for k in range(4)
    ]
    found = cell_effects(model, images, np.array([7]), targets, (2, 2), blocks=60, substrates=("blur",))
    np.testing.assert_allclose(found.effects("blur", 0), truth, atol=0.02)
    assert np.argmax(truth) == 1  # the mark is in the upper right


def test_more_blocks_go_on_from_those_measured() -> None:
    model, images, rows = patch_classifier(), marked_images(2), np.array([3, 4])
    targets = Targets(np.ones(2, np.int64))
    begun = cell_effects(model, images, rows, targets, (4, 4), blocks=1)
    further = cell_effects(model, images, rows, targets, (4, 4), blocks=2, known=begun)
    whole = cell_effects(model, images, rows, targets, (4, 4), blocks=2)
    np.testing.assert_allclose(further.differences["blur"], whole.differences["blur"])
    np.testing.assert_array_equal(further.differences["imputation"][:, : begun.splits], begun.differences["imputation"])
    assert (begun.splits, whole.splits) == (block_of(16), 2 * block_of(16))
    assert np.isnan(begun.attainable("blur", 0))
    assert whole.attainable("blur", 0) > 0.3


def test_targets_of_one_image_share_its_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = patch_classifier(), marked_images(1)
    calls: list[int] = []
    whole = cells.logits_of
    monkeypatch.setattr(cells, "logits_of", lambda *given: calls.append(1) or whole(*given))
    twice = np.repeat(images, 2, axis=0)
    found = cell_effects(model, twice, np.array([3, 3]), Targets(np.array([0, 1])), (4, 4))
    assert len(calls) == len(found.differences)
    np.testing.assert_allclose(found.effects("blur", 0), -found.effects("blur", 1), atol=1e-6)


@pytest.mark.parametrize("substrate", cells.SUBSTRATES)
def test_every_substrate_finds_the_patch(substrate: str) -> None:
    model, images = patch_classifier(), marked_images(2)
    found = cell_effects(model, images, np.arange(2), Targets(np.ones(2, np.int64)), (4, 4), substrates=(substrate,))
    effects = found.effects(substrate, 0).reshape(4, 4)
    rows, columns = (slice(one.start // 4, -(-one.stop // 4)) for one in PATCH)
    inside = effects[rows, columns]
    assert inside.mean() > 4 * np.abs(np.delete(effects.ravel(), np.flatnonzero(np.isin(effects, inside)))).mean()


def test_one_grid_for_a_model() -> None:
    model = classifier()
    assert evidence_grid(model) == (4, 4)
    for grid, fitted in (((14, 14), (7, 7)), ((16, 8), (8, 8)), ((2, 3), (4, 4)), ((7, 7), (7, 7))):
        name = next(iter(model.cam_layers))
        assert evidence_grid(replace(model, cam_layers={name: Layer(name, grid)})) == fitted
    assert evidence_grid(replace(model, cam_layers={})) == (8, 8)


def test_maps_are_pooled_by_means_and_ranked_with_ties_shared() -> None:
    fine = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    np.testing.assert_allclose(pooled(fine, (2, 2)), [[13.5, 17.5, 45.5, 49.5]])
    assert pooled(fine, (8, 8)).shape == (1, 64)
    assert pooled(fine[:, :2, :2], (4, 4)).shape == (1, 16)
    np.testing.assert_allclose(rank_weights(np.array([[5.0, 9, 1, 5, 5]])), [[0, 1, -1, 0, 0]])
    assert not rank_weights(np.ones((1, 4))).any()


def test_masks_fit_images_that_are_not_square() -> None:
    mask = cells.pixels_of(np.array([[True, False, False, False, False, True]]), (2, 3), (5, 7))
    assert mask.shape == (1, 5, 7)
    assert mask[0, :3, :3].all()
    assert mask[0, 3:, 5:].all()
    assert not mask[0, :3, 3:].any()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"substrates": ("paint",)}, "expected some of blur, imputation, inpainting, not 'paint'"),
        ({"substrates": ()}, "a substrate"),
        ({"blocks": 0}, "a block"),
        ({"grid": (1, 1)}, "two cells"),
    ],
)
def test_bad_requests_are_refused(what: dict[str, object], words: str) -> None:
    given = {"grid": (4, 4), **what}
    with pytest.raises(AttributionError, match=words):
        cell_effects(patch_classifier(), marked_images(1), np.arange(1), Targets(np.ones(1, int)), **given)  # type: ignore[arg-type]


def test_large_images_are_imputed_at_a_smaller_size() -> None:
    """A smooth image is filled nearly as it was, and the pixels that are left are untouched."""
    from workbench.evidence.imputation import impute

    y, x = np.mgrid[0:160, 0:130] / 160
    image = torch.tensor(np.stack([y, x, (x + y) / 2]), dtype=torch.float32)[None]
    mask = np.zeros((1, 160, 130), bool)
    mask[0, 40:80, 30:70] = True
    filled = impute(image, mask, (1,))
    assert float((filled - image).abs()[0, :, mask[0]].mean()) < 0.02
    assert torch.equal(filled[0][:, ~mask[0]], image[0][:, ~mask[0]])
