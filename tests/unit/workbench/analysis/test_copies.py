from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from workbench.analysis.copies import join_copies, picture_correlation, thumbnails
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.errors import DataError


def pictures(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, 32, 32, 3), np.uint8)


def test_correlation_is_numpys_on_small_pictures() -> None:
    a, b = (p.repeat(2, 1).repeat(2, 2) for p in (pictures(5, 0)[:, ::2, ::2], pictures(5, 1)[:, ::2, ::2]))
    expected = [
        max(np.corrcoef(x[::2, ::2].ravel(), y[::2, ::2].ravel())[0, 1] for x in (one, one[:, ::-1]))
        for one, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(picture_correlation(thumbnails(a), thumbnails(b)), expected, atol=1e-5)


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
