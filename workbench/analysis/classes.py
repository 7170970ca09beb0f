"""Error rates of the classes with intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import DataError
from workbench.records import ClassReport, FloatArray, Predictions

Z_95 = 1.959963984540054


def wilson_interval(successes: ArrayLike, trials: ArrayLike, z: float = Z_95) -> tuple[FloatArray, FloatArray]:
    """Lower and upper bound float64 of the Wilson score interval, 95 % by default.

    Wilson 1927, doi 10.1080/01621459.1927.10502953, without continuity correction. Zero trials give 0 to 1.

    Raises
    ------
    DataError
        If successes are not between 0 and trials.
    """
    k, n = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    if np.any((k < 0) | (k > n)):
        raise DataError("Wilson interval: expected 0 <= successes <= trials")
    safe = np.maximum(n, 1)
    rate = k / safe
    centre = (rate + z**2 / (2 * safe)) / (1 + z**2 / safe)
    half = z / (1 + z**2 / safe) * np.sqrt(rate * (1 - rate) / safe + z**2 / (4 * safe**2))
    low = np.where((n == 0) | (k == 0), 0.0, centre - half)
    high = np.where((n == 0) | (k == n), 1.0, centre + half)
    return low, high


def class_report(predictions: Predictions) -> ClassReport:
    """Support, errors, error rate and 95 % Wilson interval for each true class."""
    classes = len(predictions.classes)
    support = np.bincount(predictions.label, minlength=classes).astype(np.int64)
    errors = np.bincount(predictions.label[~predictions.correct], minlength=classes).astype(np.int64)
    rate = np.divide(errors, support, out=np.full(classes, np.nan), where=support > 0)
    low, high = wilson_interval(errors, support)
    return ClassReport(predictions.classes, support, errors, rate, low, high)
