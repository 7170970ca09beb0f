"""How well each class is recognised, with intervals."""

from __future__ import annotations

import numpy as np

from workbench.analysis.confusion import confusion_matrix
from workbench.analysis.statistics import RESAMPLES, percentile_interval, wilson_interval
from workbench.predictions import Predictions
from workbench.records import ClassReport, ConfusionMatrix, FloatArray, IntArray, Rate


def class_report(predictions: Predictions | ConfusionMatrix) -> ClassReport:
    """Support, errors, error rate, precision, recall and F1 of each class with 95 % intervals.

    Error rate, recall (its complement) and precision are proportions and have Wilson intervals. F1 is none: its
    interval is a percentile bootstrap of 2,000 resamples of the class's true positives, false positives,
    false negatives and other rows, which is what resampling the table's rows does to them.
    A value without rows to compute it from is nan and its interval 0 to 1: nothing is known of it.
    """
    matrix = predictions if isinstance(predictions, ConfusionMatrix) else confusion_matrix(predictions)
    support, claimed, right = matrix.counts.sum(1), matrix.counts.sum(0), np.diag(matrix.counts)
    return ClassReport(
        classes=matrix.classes,
        support=support,
        errors=support - right,
        error_rate=proportion(support - right, support),
        precision=proportion(right, claimed),
        recall=proportion(right, support),
        f1=_f1(right, claimed - right, support - right, int(support.sum())),
    )


def proportion(successes: IntArray, trials: IntArray) -> Rate:
    """Shares with their 95 % Wilson intervals; nan with 0 to 1 where there are no trials."""
    value = np.divide(successes, trials, out=np.full(np.shape(trials), np.nan), where=np.asarray(trials) > 0)
    return Rate(value, *wilson_interval(successes, trials))


def _f1(right: IntArray, claimed_wrongly: IntArray, missed: IntArray, rows: int) -> Rate:
    def score(tp: FloatArray, fp: FloatArray, fn: FloatArray) -> FloatArray:
        whole = 2 * tp + fp + fn
        return np.asarray(np.divide(2 * tp, whole, out=np.full(np.shape(tp), np.nan), where=whole > 0))

    parts = np.stack([right, claimed_wrongly, missed], axis=1)
    shares = np.concatenate([parts, rows - parts.sum(1, keepdims=True)], axis=1) / rows
    generator = np.random.default_rng(0)
    low, high = np.zeros(len(right)), np.ones(len(right))
    for k, share in enumerate(shares):  # one class at a time: 1,000 classes at once would need memory for all resamples
        drawn = generator.multinomial(rows, share, RESAMPLES).astype(np.float64)
        if parts[k].sum() > 0:
            bounds = percentile_interval(score(drawn[:, 0], drawn[:, 1], drawn[:, 2]))
            low[k], high[k] = float(bounds[0]), float(bounds[1])
    return Rate(score(*parts.T.astype(np.float64)), low, high)
