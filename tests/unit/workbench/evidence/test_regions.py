from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.unit.workbench.evidence.planted import PATCH, SIDE, marked_images, patch_classifier
from workbench.errors import AttributionError
from workbench.evidence.regions import KINDS, smallest_region
from workbench.models.classifier import Classifier


def patch_cells(grid: int) -> np.ndarray:
    """The cells that the mark touches."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[PATCH] = True
    step = SIDE // grid
    return mask.reshape(grid, step, grid, step).any((1, 3))


def strict_classifier() -> Classifier:
    """A mark that is blurred in part is not enough for it."""
    model = patch_classifier()
    with torch.no_grad():
        model.module.head.bias[1] -= 3
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("substrate", ["blur", "imputation", "inpainting"])
def test_the_region_is_the_patch_or_part_of_it(kind: str, substrate: str) -> None:
    model, image = strict_classifier(), marked_images(1)[0]
    found = smallest_region(model, image, 1, kind, grid=(8, 8), substrate=substrate)  # type: ignore[arg-type]
    assert found.reached
    assert found.mask[patch_cells(8)].any()
    assert not found.mask[~patch_cells(8)].any()
    assert 0 < found.share <= patch_cells(8).mean()
    steps = np.diff(found.curve)
    assert (steps >= 0).all() if kind == "sufficient" else (steps <= 0).all()
    assert len(found.curve) == len(found.cells) + 1
    assert f"{len(found.cells)} of 64 cells" in str(found)


def test_each_step_is_the_best_one() -> None:
    """By hand: of all single cells, the one whose filling lowers the probability most is first."""
    from workbench.attribution.targets import Targets
    from workbench.evidence import cells
    from workbench.evidence.pixels import probability_of

    model, image = patch_classifier(), marked_images(1)[0]
    found = smallest_region(model, image, 1, "necessary", grid=(4, 4))
    masks = ~np.eye(16, dtype=bool)
    x = cells.filled(model, image[None], cells.pixels_of(masks, (4, 4), (SIDE, SIDE)), "blur", 0)
    alone = probability_of(model, x, Targets(np.ones(16, np.int64)))
    assert found.cells[0] == alone.argmin()
    assert found.curve[1] == pytest.approx(alone.min())


def test_an_answer_that_needs_nothing_has_an_empty_sufficient_region() -> None:
    model, image = patch_classifier(), marked_images(1, marked=False)[0]
    found = smallest_region(model, image, 0, "sufficient", grid=(4, 4))
    assert (len(found.cells), found.reached, found.share) == (0, True, 0)
    stays = smallest_region(model, image, 0, "necessary", grid=(4, 4))
    assert not stays.reached
    assert "no necessary region was found" in str(stays)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"target": 7}, "expected 0 to 1"),
        ({"kind": "minimal"}, "expected one of sufficient, necessary, not 'minimal'"),
        ({"substrate": "paint"}, "expected one of blur, imputation, inpainting, not 'paint'"),
        ({"target": 0, "kind": "necessary"}, "the answer is marked, not plain"),
    ],
)
def test_bad_requests_are_refused(what: dict[str, object], words: str) -> None:
    given = {"target": 1, "kind": "sufficient", **what}
    with pytest.raises(AttributionError, match=words):
        smallest_region(patch_classifier(), marked_images(1)[0], **given)  # type: ignore[arg-type]
