"""The confusion matrix: counts, rates with intervals, asymmetries, groups of classes, top-k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
import scipy

from workbench.analysis.statistics import benjamini_hochberg, proportion
from workbench.core.predictions import Predictions
from workbench.core.records import ConfusionMatrix, FloatArray, IntArray, Rate
from workbench.errors import DataError

Normalisation = Literal["true", "predicted", "all"]


def confusion_matrix(predictions: Predictions) -> ConfusionMatrix:
    """Counts of each (true, predicted) pair, int64 ``(K, K)``."""
    classes = len(predictions.classes)
    cells = predictions.table.group_by("label", "predicted").len().collect(engine="streaming")
    counts = np.zeros((classes, classes), np.int64)
    counts[cells["label"].to_numpy(), cells["predicted"].to_numpy()] = cells["len"].to_numpy()
    return ConfusionMatrix(counts, predictions.classes)


def _totals(matrix: ConfusionMatrix, by: Normalisation) -> FloatArray:
    axis = {"true": 1, "predicted": 0, "all": None}[by]
    return np.asarray(matrix.counts.sum(axis=axis, keepdims=True), np.float64)


def normalise(matrix: ConfusionMatrix, by: Normalisation) -> FloatArray:
    """Fractions float64 ``(K, K)`` of each row (``"true"``), column (``"predicted"``) or the whole (``"all"``).

    A row or column without counts is all zeros, as in scikit-learn's ``confusion_matrix``.
    """
    counts, total = matrix.counts.astype(np.float64), _totals(matrix, by)
    shares: FloatArray = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    return shares


def most_confused(matrix: ConfusionMatrix, count: int = 10) -> list[tuple[int, int, int]]:
    """The ``count`` largest cells off the diagonal as (true, predicted, rows), largest first, none empty."""
    counts = matrix.counts.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:count]
    pairs = [(int(cell) // len(counts), int(cell) % len(counts)) for cell in order]
    return [(t, p, int(counts[t, p])) for t, p in pairs if counts[t, p] > 0]


def asymmetries(matrix: ConfusionMatrix) -> pl.DataFrame:
    """Whether a is predicted as b more often than b as a, for every pair of classes that is confused at all.

    Columns: ``first`` and ``second`` (class numbers; the larger share is ``first`` predicted as ``second``),
    ``first_as_second`` and ``second_as_first`` (rows), ``first_rate`` and ``second_rate`` (shares of the
    true class), ``p_value`` and ``adjusted_p_value`` (Benjamini-Hochberg over all these pairs), smallest
    first. The test is the exact conditional one of two rates (Przyborowski & Wilenski 1940,
    doi 10.1093/biomet/31.3-4.313): given their sum, one count is binomial with the share that its class
    has of both classes' rows. With classes of equal size it is the sign test. It treats the counts as rare
    events (Poisson): for shares beyond a tenth or so it errs towards no difference. Pairs with a class without
    labelled rows are omitted.
    """
    counts, support = matrix.counts, matrix.counts.sum(1)
    rows = []
    for a, b in np.argwhere(np.triu(counts + counts.T, 1) > 0):
        if 0 in (support[a], support[b]):
            continue
        i, j = (a, b) if counts[a, b] / support[a] >= counts[b, a] / support[b] else (b, a)
        one, other = int(counts[i, j]), int(counts[j, i])
        p_value = scipy.stats.binomtest(one, one + other, support[i] / (support[i] + support[j])).pvalue
        rows.append((int(i), int(j), one, other, one / support[i], other / support[j], float(p_value)))
    names = ("first", "second", "first_as_second", "second_as_first", "first_rate", "second_rate", "p_value")
    kinds = dict(zip(names, (pl.Int64,) * 4 + (pl.Float64,) * 3, strict=True))
    frame = pl.DataFrame(rows, schema=kinds, orient="row")
    adjusted = benjamini_hochberg(frame["p_value"].to_numpy())
    return frame.with_columns(adjusted_p_value=pl.Series(adjusted, dtype=pl.Float64)).sort(
        "p_value", maintain_order=True
    )


def group_classes(matrix: ConfusionMatrix, groups: Mapping[str, Sequence[str]]) -> ConfusionMatrix:
    """The matrix of groups of classes, such as animals and vehicles: the sum of their cells.

    Raises
    ------
    DataError
        If a class is in no group or in two, or a name is unknown.
    """
    names = [name for group in groups.values() for name in group]
    if unknown := sorted(set(names) - set(matrix.classes)):
        raise DataError(f"groups: unknown class {unknown[0]!r}; the classes are {', '.join(matrix.classes[:20])}")
    for name in matrix.classes:
        if names.count(name) != 1:
            raise DataError(f"groups: expected {name!r} in exactly one group, not in {names.count(name)}")
    member = np.array([[name in group for name in matrix.classes] for group in groups.values()], np.int64)
    return ConfusionMatrix(member @ matrix.counts @ member.T, tuple(groups))


def top_k_accuracy(predictions: Predictions) -> Rate:
    """Fraction of rows whose label is among the k most probable classes, for k from 1 to K, with 95 % Wilson intervals.

    Arrays float64 ``(K,)``; the first is the accuracy, the last is 1. The label counts as one of them if fewer
    than k classes are more probable, or equally probable with a smaller number: ties go to the first class, as in
    ``predicted``.
    """
    classes = len(predictions.classes)
    ranks = np.zeros(classes, np.int64)
    for part in predictions.batches("label", "probability"):
        label, probability = part["label"].to_numpy(), part["probability"].to_numpy()
        own = np.take_along_axis(probability, label[:, None], 1)
        before = np.arange(classes)[None, :] < label[:, None]
        rank = ((probability > own) | ((probability == own) & before)).sum(1)
        ranks += np.bincount(rank, minlength=classes)
    return proportion(ranks.cumsum(), np.full(classes, ranks.sum()))


def similarity_order(matrix: ConfusionMatrix) -> IntArray:
    """The classes in an order that places those confused with each other side by side, int64 ``(K,)``.

    Average linkage on one less the larger share of one class predicted as the other, relative to the largest such
    share; up to 200 classes the leaves are in the optimal order (Bar-Joseph et al. 2001, doi
    10.1093/bioinformatics/17.suppl_1.S22).
    """
    shares = normalise(matrix, "true")
    alike = np.maximum(shares, shares.T)
    np.fill_diagonal(alike, 0)
    if len(alike) < 3 or alike.max() == 0:
        return np.arange(len(alike))
    distance = 1 - alike / alike.max()
    np.fill_diagonal(distance, 0)
    tree = scipy.cluster.hierarchy.linkage(
        scipy.spatial.distance.squareform(distance), "average", optimal_ordering=len(alike) <= 200
    )
    return np.asarray(scipy.cluster.hierarchy.leaves_list(tree), np.int64)
