"""Forecasts of actions that train nothing: averaging models, calibrating, refusing answers of low confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.calibration import check_other_rows
from workbench.analysis.forecasts import (
    ACCURACY,
    KEPT,
    LOG_LOSS,
    RepairForecast,
    check_rows,
    forecast_of_answers,
    mean_interval,
)
from workbench.analysis.scaling import fit_temperature, log_probabilities, losses
from workbench.analysis.statistics import newcombe
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray
from workbench.errors import DataError

LEAST_KEPT = 50
NO_THRESHOLD = "reject: no threshold of confidence leaves half the error rate to 50 answers or more"


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
    check_rows("calibrate", test)
    logs, label = log_probabilities(test.probability), test.label
    before = losses(logs, label, 1.0)
    after = np.empty(len(label))
    if validation is not None:
        check_other_rows(test, validation)
        parts = [(np.arange(len(label)), fit_temperature(log_probabilities(validation.probability), validation.label))]
    else:
        halves = np.array_split(np.random.default_rng(seed).permutation(len(label)), 2)
        parts = [(held, fit_temperature(logs[kept], label[kept])) for kept, held in (halves, halves[::-1])]
    for held, divisor in parts:
        after[held] = losses(logs[held], label[held], divisor)
    where = "validation rows" if validation is not None else "each half for the other"
    nothing = np.zeros(0, np.int64)
    fixed = test.provenance.threshold in (None, 0.5)
    note = "which changes no answer" if fixed else "and move the threshold with them, which changes no answer"
    divisors = " and ".join(f"{divisor:.2f}" for _, divisor in parts)
    return RepairForecast(
        "calibrate",
        f"divide the logits by a temperature, {note}",
        LOG_LOSS,
        *mean_interval(before - after),
        f"temperature {divisors}, fitted on {where}",
        False,
        nothing,
        nothing,
    )


def reject(test: Predictions, seed: int = 0) -> RepairForecast:
    """Refuse the least confident answers until half the error rate is left.

    The threshold is chosen on each half of the rows for the other, the lowest from which on at least 50 answers have
    the accuracy wanted. The interval is that of two independent shares (Newcombe 1998), accuracy of the answers kept
    and of all; as the former are among the latter, it is wider than need be.

    Raises
    ------
    DataError
        If no threshold halves the error rate, or there are fewer than 50 judged rows.
    """
    check_rows("reject", test)
    confidence, correct = test.confidence.astype(np.float64), test.correct
    wanted = 1 - (1 - correct.mean()) / 2
    halves = np.array_split(np.random.default_rng(seed).permutation(len(correct)), 2)
    kept, thresholds = np.zeros(len(correct), bool), []
    for chosen, held in (halves, halves[::-1]):
        thresholds.append(_threshold(confidence[chosen], correct[chosen], float(wanted)))
        kept[held] = confidence[held] >= thresholds[-1]
    if not kept.any():
        raise DataError(NO_THRESHOLD)
    counts = int(correct[kept].sum()), int(kept.sum()), int(correct.sum()), len(correct)
    words = " and ".join(f"{threshold:.2f}" for threshold in thresholds)
    return RepairForecast(
        "reject",
        f"refuse answers of low confidence, {1 - kept.mean():.1%} of all",
        KEPT,
        *newcombe(*counts),
        f"confidence of at least {words}, chosen on each half of the rows for the other so that half the error rate is "
        "left",
        False,
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
    )


def _threshold(confidence: FloatArray, correct: NDArray[np.bool_], wanted: float) -> float:
    """The lowest confidence from which on the answers, at least 50, have an accuracy of at least ``wanted``."""
    order = np.argsort(-confidence, kind="stable")
    ranked, count = confidence[order], np.arange(1, len(order) + 1)
    last_of_ties = np.append(ranked[1:] < ranked[:-1], True)
    enough = (np.cumsum(correct[order]) / count >= wanted) & (count >= LEAST_KEPT) & last_of_ties
    if correct.all() or not enough.any():
        raise DataError(NO_THRESHOLD)
    return float(ranked[np.flatnonzero(enough)[-1]])
