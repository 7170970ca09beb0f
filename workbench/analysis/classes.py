"""How well each class is recognised, with intervals."""

from __future__ import annotations

import numpy as np

from workbench.analysis.confusion import confusion_matrix
from workbench.analysis.statistics import proportion
from workbench.core.predictions import Predictions
from workbench.core.records import ClassReport, ConfusionMatrix, IntArray, Rate


def class_report(predictions: Predictions | ConfusionMatrix) -> ClassReport:
    """Support, errors, error rate, precision, recall and F1 of each class with 95 % intervals.

    Error rate, recall (its complement) and precision are proportions and have Wilson intervals. So does the
    Jaccard index tp / (tp + fp + fn), of which F1 is the increasing function 2J / (1 + J).
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
        f1=_f1(right, claimed - right, support - right),
    )


def _f1(right: IntArray, claimed_wrongly: IntArray, missed: IntArray) -> Rate:
    """F1 = 2J / (1 + J) of the Jaccard index J, which is a proportion; the increasing function maps its interval."""
    jaccard = proportion(right, right + claimed_wrongly + missed)
    return Rate(*(2 * j / (1 + j) for j in (jaccard.value, jaccard.low, jaccard.high)))
