"""Near-duplicates across splits: neighbours in embedding space that are nearly the same picture."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import polars as pl

from workbench.analysis.neighbours import nearest
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, ImageArray, ImageSet, IntArray, ProbabilityArray
from workbench.errors import DataError

SAME = 0.9  # correlation from which two pictures count as the same
WITHIN_LINES = 0.78  # and within their lines: of pairs of CIFAR-10 that were looked at, others had at most 0.73
ALONE = 0.995  # the same, where nothing but the pictures is compared
SIDE = 16
LOOKED_AT = 10


def thumbnails(images: Iterable[ImageArray]) -> ProbabilityArray:
    """Images at 16×16, each channel less its mean, of length 1: float32 ``(n, 16, 16, 3)``; a flat one is zeros."""
    small = [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images]
    values = np.reshape(small, (len(small), SIDE, SIDE, 3)).astype(np.float32)
    return _of_length_1(values - values.mean((1, 2), keepdims=True))


def _of_length_1(values: ProbabilityArray, least: float = 1.0) -> ProbabilityArray:
    lengths = np.sqrt((values**2).sum((1, 2, 3), keepdims=True))
    return np.asarray(values / np.maximum(lengths, least), np.float32)


def picture_correlation(first: ProbabilityArray, second: ProbabilityArray) -> FloatArray:
    """How alike two pictures are, pair by pair, float64 ``(n,)`` of their `thumbnails` ``(n, 16, 16, 3)``.

    Pearson's correlation over all pixels at 16×16, each channel less its mean, of the pair as it is or with one of them
    mirrored, whichever is higher: changes of light, colour, contrast and fine detail count little, those of content
    much. Sky, sea and horizon make quite different things correlate: where what is left without the mean of each line
    correlates at less than 0.78, that is the value.
    """
    whole = _higher(first, second)
    within = [_of_length_1(one - one.mean(2, keepdims=True), 1e-3) for one in (first, second)]
    apart = _higher(*within)
    return np.where(apart >= WITHIN_LINES, whole, np.minimum(whole, apart))


def _higher(first: ProbabilityArray, second: ProbabilityArray) -> FloatArray:
    both = [(one * second).sum((1, 2, 3)) for one in (first, first[:, :, ::-1])]
    return np.asarray(np.maximum(*both), np.float64)


def join_copies(
    predictions: Predictions,
    images: ImageSet,
    reference: Predictions,
    reference_images: ImageSet,
    *,
    k: int = LOOKED_AT,
) -> Predictions:
    """The predictions with the near-duplicate of each row among the reference rows, if it has one.

    Among its ``k`` nearest reference rows in embedding space this is the one whose picture is most similar, if the two
    correlate at 0.9 or more (`picture_correlation`). Added columns: ``copy_row``, ``copy_label`` and
    ``copy_correlation``, null where there is none. Both views are needed: neighbours in embedding space alone are often
    different images of one kind, and similar pictures alone are often different objects against the same sky. Barz &
    Denzler 2020 (arXiv 1902.00423) judged by eye and found near-duplicates of 3.3 % of CIFAR-10's test images in the
    train split.

    Raises
    ------
    DataError
        If either has no embeddings, or the images are not those of the predictions.
    """
    query, base = predictions.embedding, reference.embedding
    if query is None or base is None:
        raise DataError(
            "near-duplicates: expected predictions with embeddings on both sides: predict again with a model that has "
            "a linear head, or add an `embedding` column"
        )
    for rows, pictures in ((predictions, images), (reference, reference_images)):
        pictures.places(rows.index)
    places = nearest(query, base, min(k, len(base))).places
    looked_at, where = np.unique(places, return_inverse=True)
    mine = thumbnails(images.image(int(row)) for row in predictions.index)
    theirs = thumbnails(reference_images.image(int(row)) for row in reference.index[looked_at])
    alike = np.stack([picture_correlation(mine, theirs[column]) for column in where.reshape(places.shape).T], 1)
    best = alike.argmax(1)
    here = np.arange(len(best))
    found, correlation = places[here, best], alike[here, best]
    columns = pl.DataFrame(
        {
            "index": predictions.index,
            "copy_row": reference.index[found],
            "copy_label": reference.label[found],
            "copy_correlation": correlation,
        }
    ).with_columns(pl.when(pl.col("copy_correlation") >= SAME).then(pl.col("^copy_.*$")))
    return predictions.join(columns)


def copies_within(predictions: Predictions, images: ImageSet, *, k: int = LOOKED_AT) -> IntArray:
    """Pairs of near-duplicates among the rows, row ids int64 ``(n, 2)``, the smaller first, each pair once.

    With embeddings a pair is among each other's ``k`` nearest and its pictures correlate at 0.9 or more
    (`picture_correlation`), as in `join_copies`. Without them pictures alone decide, and 0.995 is needed: two
    photographs of the same plain background correlate highly, too. Flat images have no picture to compare.
    """
    small = thumbnails(images.image(int(row)) for row in predictions.index)
    if len(small) < 2:
        return np.zeros((0, 2), np.int64)
    embedded = predictions.embedding
    flat = small.reshape(len(small), -1)
    near = nearest(
        flat if embedded is None else embedded,
        flat if embedded is None else embedded,
        min(k, len(small) - 1),
        exclude_self=True,
    ).places
    here = np.repeat(np.arange(len(small)), near.shape[1])
    there = near.ravel()
    alike = np.concatenate(
        [
            picture_correlation(small[here[f : f + 2**16]], small[there[f : f + 2**16]])
            for f in range(0, len(here), 2**16)
        ]
    )
    held = alike >= (ALONE if embedded is None else SAME)
    pairs = np.sort(np.stack([predictions.index[here[held]], predictions.index[there[held]]], 1), axis=1)
    return np.unique(pairs, axis=0) if len(pairs) else np.zeros((0, 2), np.int64)
