from __future__ import annotations

import numpy as np
import pytest

from tests.unit.workbench.evidence.planted import PATCH, SIDE, marked_images, patch_classifier, patch_map
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.core.records import Attribution
from workbench.errors import AttributionError
from workbench.evidence.groups import masking_effect, mean_map, region_of, shared_place

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


def planted(model, count: int, seed: int):  # type: ignore[no-untyped-def]
    """Images, a map of each that shows what the model looks at, and images without the mark."""
    images = marked_images(count)
    images[:, ..., 1:] = np.random.default_rng(seed).integers(0, 90, images[:, ..., 1:].shape)
    maps = Attribution(patch_map(count), np.arange(count), np.ones(count, np.int64), "planted")
    return images, maps, (marked_images(count, marked=False), Targets(np.ones(count, np.int64)))


def test_a_mark_of_the_group_alone_is_special_and_one_that_all_have_is_not() -> None:
    model = patch_classifier()
    images, maps, beside = planted(model, COUNT, 0)
    found = shared_place(model, maps, images, beside, share=16 / SIDE**2)
    assert found.effect.shown
    assert found.special
    assert len(found.effect.drop) == COUNT // 2
    everywhere = shared_place(model, maps, images, (images, MARKED), share=16 / SIDE**2)
    assert everywhere.effect.shown
    assert not everywhere.special
    alone = shared_place(model, maps, images, share=16 / SIDE**2)
    assert (alone.others, alone.special) == (None, False)


def test_groups_drawn_at_random_are_seldom_special() -> None:
    """The intervals of groups that differ in nothing from the images beside them."""
    model, special = patch_classifier(), 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        images = marked_images(2 * COUNT)
        images[:, PATCH[0], PATCH[1], 0] = generator.integers(100, 255, (2 * COUNT, 1, 1))
        maps = Attribution(patch_map(COUNT), np.arange(COUNT), np.ones(COUNT, np.int64), "planted")
        special += shared_place(model, maps, images[:COUNT], (images[COUNT:], MARKED), share=16 / SIDE**2).special
    assert special <= 6  # 2.5 % on this side; 6 of 60 or fewer in 99.9 % of such runs


def test_a_group_of_few_is_refused() -> None:
    images, maps, _ = planted(patch_classifier(), 8, 0)
    with pytest.raises(AttributionError, match="at least 10 images, not 8"):
        shared_place(patch_classifier(), maps, images)


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
