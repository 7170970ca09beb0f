from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from tests.factories import predictions
from workbench.analysis.copies import copies_within, join_copies, picture_correlation, thumbnails
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.errors import DataError


def pictures(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, 32, 32, 3), np.uint8)


def test_correlation_is_numpys_on_small_pictures() -> None:
    a = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8), 2, 1), 2, 2)
    b = np.clip(a * 0.7 + np.random.default_rng(1).normal(0, 9, a.shape), 0, 255).astype(np.uint8)

    def centred(one: np.ndarray) -> np.ndarray:
        small = cv2.resize(one, (16, 16), interpolation=cv2.INTER_AREA).astype(float)
        return (small - small.mean((0, 1))).ravel()

    expected = [np.corrcoef(centred(x), centred(y))[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(picture_correlation(thumbnails(a), thumbnails(b)), expected, atol=1e-5)


def test_the_same_sky_is_no_copy() -> None:
    """Two things before one gradient of light correlate, but not within their lines."""
    sky = np.broadcast_to(np.linspace(250, 90, 32)[:, None, None], (32, 32, 3))
    one, other = sky.copy(), sky.copy()
    one[6:9, 4:10], other[20:22, 18:29] = 20, 240
    both = thumbnails([one.astype(np.uint8), other.astype(np.uint8)])
    assert (both[0] * both[1]).sum() > 0.85
    assert picture_correlation(both[:1], both[1:])[0] < 0.5
    again = thumbnails([np.clip(one * 0.9 + 9, 0, 255).astype(np.uint8)])
    assert picture_correlation(both[:1], again)[0] > 0.95


@pytest.mark.parametrize("embedded", [True, False])
def test_copies_within_a_split(embedded: bool) -> None:
    generator = np.random.default_rng(6)
    pixels, embedding = pictures(30, 7), generator.normal(size=(30, 8))
    pixels[21], embedding[21] = pixels[4], embedding[4]
    p = predictions(30)
    mine = Predictions.from_arrays(
        p.label, p.probability, p.classes, index=np.arange(30) + 100, embedding=embedding if embedded else None
    )
    images = ImageSet(pixels, p.label, p.classes, "test", "d" * 64, ids=np.arange(30) + 100)
    assert copies_within(mine, images).tolist() == [[104, 121]]


def test_light_and_mirroring_change_nothing_and_a_flat_picture_is_like_none() -> None:
    a = pictures(3, 2)
    darker = (a[:, :, ::-1] * 0.5).astype(np.uint8)
    np.testing.assert_allclose(picture_correlation(thumbnails(a), thumbnails(darker)), 1, atol=1e-2)
    assert (picture_correlation(thumbnails(np.full_like(a, 7)), thumbnails(a)) == 0).all()


def test_a_planted_copy_is_found_and_a_look_alike_is_not() -> None:
    generator = np.random.default_rng(3)
    base, query = generator.normal(size=(40, 8)), generator.normal(size=(6, 8))
    base_pixels, pixels = pictures(40, 4), pictures(6, 5)
    base[11], base_pixels[11] = query[2], np.clip(pixels[2, :, ::-1].astype(int) + 9, 0, 255)  # a mirrored copy
    base[20] = query[4]  # the same to the model, another picture

    def both(embedding: np.ndarray, seen: np.ndarray, label: int) -> tuple[Predictions, ImageSet]:
        labels = np.full(len(seen), label)
        p = Predictions.from_arrays(labels, np.full((len(seen), 2), 0.5), ("a", "b"), embedding=embedding)
        return p, ImageSet(seen, labels, ("a", "b"), "test", "print")

    test, train = both(query, pixels, 0), both(base, base_pixels, 1)
    frame = join_copies(*test, *train, k=5).columns("copy_row", "copy_label", "copy_correlation")
    assert frame["copy_row"].to_list() == [None, None, 11, None, None, None]
    assert frame["copy_label"].to_list() == [None, None, 1, None, None, None]
    assert frame["copy_correlation"][2] == pytest.approx(1, abs=0.01)
    with pytest.raises(DataError, match="expected a row id from 0 to 2, not 3"):
        join_copies(test[0], dataclasses.replace(test[1], pixels=pixels[:3], labels=np.zeros(3, int)), *train)
