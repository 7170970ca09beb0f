"""Forecasts of actions that train nothing: averaging models, calibrating, refusing answers of low confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.calibration import check_other_rows, fit_temperature, log_probabilities
from workbench.analysis.forecasts import ACCURACY, KEPT, LOG_LOSS, RepairForecast, forecast_of_answers
from workbench.analysis.statistics import Z_95, paired_interval
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray


def average(test: Predictions, seeds: Sequence[Predictions], answers: IntArray) -> RepairForecast:
    """The mean of several models: their ``answers`` ``(N,)`` against those of one, counted on the judged rows."""
    count = len(seeds) + 1
    action, basis = f"average {count} seeds, at {count} times the cost", "counted on these rows"
    return forecast_of_answers("average", action, basis, test, test.predicted, answers)


def test_time_augmentation(averaged: Mapping[str, Any]) -> RepairForecast:
    """The mean over changed copies of each image, as ``robustness --parts consistency`` counted it."""
    drawn = "rows drawn at random" if averaged["sample"] else "rows, all of them"
    nothing = np.zeros(0, np.int64)
    return RepairForecast(
        "tta",
        f"average over changed copies of each image, at {averaged['passes']} times the cost",
        ACCURACY,
        averaged["gain"],
        averaged["low"],
        averaged["high"],
        f"counted on {averaged['rows']:,} {drawn}",
        False,
        nothing,
        nothing,
    )


def calibrate(test: Predictions, validation: Predictions | None = None, seed: int = 0) -> RepairForecast:
    """A temperature (Guo et al. 2017, arXiv 1706.04599), fitted on validation rows, else on each half for the other."""
    logs, label = log_probabilities(test.probability), test.label
    before = -logs[np.arange(len(label)), label]
    after = np.empty(len(label))
    if validation is not None:
        check_other_rows(test, validation)
        parts = [(np.arange(len(label)), fit_temperature(log_probabilities(validation.probability), validation.label))]
    else:
        halves = np.array_split(np.random.default_rng(seed).permutation(len(label)), 2)
        parts = [(held, fit_temperature(logs[kept], label[kept])) for kept, held in (halves, halves[::-1])]
    for held, divisor in parts:
        scaled = logs[held] / divisor
        top = scaled.max(1)
        after[held] = top + np.log(np.exp(scaled - top[:, None]).sum(1)) - scaled[np.arange(len(held)), label[held]]
    where = "validation rows" if validation is not None else "each half for the other"
    nothing = np.zeros(0, np.int64)
    divisors = " and ".join(f"{divisor:.2f}" for _, divisor in parts)
    return RepairForecast(
        "calibrate",
        "divide the logits by a temperature, which changes no answer",
        LOG_LOSS,
        *paired_interval(before - after),
        f"temperature {divisors}, fitted on {where}",
        False,
        nothing,
        nothing,
    )


def reject(test: Predictions, seed: int = 0) -> RepairForecast | None:
    """Refuse the least confident answers until half the error rate is left; None if no threshold does.

    The threshold is chosen on each half of the rows for the other. The interval is that of a ratio of means
    (linearised; Cochran 1977, section 6.3), with the thresholds taken as given.
    """
    confidence, correct = test.confidence.astype(np.float64), test.correct
    wanted = 1 - (1 - correct.mean()) / 2
    halves = np.array_split(np.random.default_rng(seed).permutation(len(correct)), 2)
    kept = np.zeros(len(correct), bool)
    thresholds = []
    for chosen, held in (halves, halves[::-1]):
        threshold = _threshold(confidence[chosen], correct[chosen], float(wanted))
        if threshold is None:
            return None
        thresholds.append(threshold)
        kept[held] = confidence[held] >= threshold
    if not kept.any() or correct.all():
        return None
    share, accuracy = kept.mean(), correct[kept].mean()
    gain = float(accuracy - correct.mean())
    residual = kept * (correct - accuracy) / share - (correct - correct.mean())
    half = Z_95 * float(residual.std(ddof=1) / np.sqrt(len(residual)))
    words = " and ".join(f"{threshold:.2f}" for threshold in thresholds)
    return RepairForecast(
        "reject",
        f"refuse answers of low confidence, {1 - share:.1%} of all",
        KEPT,
        gain,
        gain - half,
        gain + half,
        f"confidence of at least {words}, chosen on each half of the rows for the other so that half the error rate is "
        "left",
        False,
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
    )


def _threshold(confidence: FloatArray, correct: NDArray[np.bool_], wanted: float) -> float | None:
    """The lowest confidence from which on the answers have an accuracy of at least ``wanted``."""
    order = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(accuracy >= wanted)
    return None if not len(enough) else float(confidence[order[enough[-1]]])
