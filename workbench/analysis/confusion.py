"""The confusion matrix and its normalised forms."""

from __future__ import annotations

from typing import Literal

import numpy as np

from workbench.records import ConfusionMatrix, FloatArray, Predictions

Normalisation = Literal["true", "predicted", "all"]


def confusion_matrix(predictions: Predictions) -> ConfusionMatrix:
    """Counts of each (true, predicted) pair, int64 ``(K, K)``."""
    classes = len(predictions.classes)
    cells = predictions.label * classes + predictions.predicted
    counts = np.bincount(cells, minlength=classes * classes).reshape(classes, classes)
    return ConfusionMatrix(counts.astype(np.int64), predictions.classes)


def normalised(matrix: ConfusionMatrix, by: Normalisation) -> FloatArray:
    """Fractions float64 ``(K, K)`` of each row (``"true"``), column (``"predicted"``) or the whole (``"all"``).

    A row or column without counts is all zeros, as scikit-learn's ``confusion_matrix`` has it.
    """
    counts = matrix.counts.astype(np.float64)
    axis = {"true": 1, "predicted": 0, "all": None}[by]
    total = counts.sum(axis=axis, keepdims=True)
    shares: FloatArray = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    return shares


def most_confused(matrix: ConfusionMatrix, count: int = 10) -> list[tuple[int, int, int]]:
    """The ``count`` largest cells off the diagonal as (true, predicted, rows), largest first, none empty."""
    counts = matrix.counts.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:count]
    pairs = [(int(cell) // len(counts), int(cell) % len(counts)) for cell in order]
    return [(t, p, int(counts[t, p])) for t, p in pairs if counts[t, p] > 0]
