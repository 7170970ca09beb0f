"""The numbers of a run in one table of plain values, for a file or another program."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from workbench.analysis.baselines import baselines
from workbench.analysis.calibration import proper_scores, reliability, risk_coverage, temperature
from workbench.analysis.classes import class_report
from workbench.analysis.compare import Churn, Comparison
from workbench.analysis.confusion import confusion_matrix, most_confused, top_k_accuracy
from workbench.analysis.gaps import signed_gap, smooth_ece
from workbench.analysis.labels import confident_joint
from workbench.analysis.statistics import wilson_interval
from workbench.analysis.votes import shared_errors, soft_cross_entropy
from workbench.core.predictions import Predictions
from workbench.core.records import ConfusionMatrix, Rate

Values = dict[str, Any]


# the share of labels that the model's confident predictions contradict: its errors count as much as wrong labels
OFF_DIAGONAL = "confident_joint_off_diagonal"


def metrics(predictions: Predictions, *, validation: Predictions | None = None) -> Values:
    """Accuracy, errors, calibration and label noise of a model as JSON values; rates are fractions, nan is null.

    Without probabilities what needs them is not there. ``majority``, ``chance`` and the averages over classes: see
    `baselines.baselines`.

    ``signed_gap``: accuracy less mean confidence; ``calibration_error``: debiased, root mean square over 15 bins, with
    the test of calibration; ``smooth_ece``: see `gaps`; ``ece_15``, ``ece_10``: expected calibration error with 15 and
    10 bins of equal width, biased upwards by noise; ``ece_equal_mass_15``:
    with 15 bins of equally many rows; ``nll`` in nats; ``brier`` 0 to 2; ``temperature``: fitted on ``validation`` or,
    without it, on one half, with what it does on the other rows under ``temperature_scaling``. See the functions of
    `workbench.analysis` for definitions and sources.
    """
    matrix = confusion_matrix(predictions)
    report, without = class_report(matrix), baselines(matrix)
    rows, errors = len(predictions), predictions.error_count
    values: Values = {
        "rows": rows,
        "classes": list(predictions.classes),
        "accuracy": predictions.accuracy,
        "accuracy_interval": [float(bound) for bound in wilson_interval(rows - errors, rows)],
        **without,
        "error_count": errors,
        "errors_per_class": dict(zip(report.classes, report.errors.tolist(), strict=True)),
        "support_per_class": dict(zip(report.classes, report.support.tolist(), strict=True)),
        "error_rates": dict(zip(report.classes, _plain(report.error_rate.value), strict=True)),
        "error_rate_intervals": _intervals(report.classes, report.error_rate),
        "precision": dict(zip(report.classes, _plain(report.precision.value), strict=True)),
        "recall": dict(zip(report.classes, _plain(report.recall.value), strict=True)),
        "f1": dict(zip(report.classes, _plain(report.f1.value), strict=True)),
        "f1_intervals": _intervals(report.classes, report.f1),
        "most_confused": [
            {"true": matrix.classes[t], "predicted": matrix.classes[p], "rows": n} for t, p, n in most_confused(matrix)
        ],
    }
    if not predictions.has_probabilities:
        return values
    values |= {
        "top_k_accuracy": _top_k(predictions),
        **calibration_metrics(predictions),
        OFF_DIAGONAL: confident_joint(predictions).noise_rate,
        "temperature": None,
    }
    if rows >= 2:
        fitted = temperature(predictions, fitted_on=validation)
        values["temperature"] = fitted.temperature
        values["temperature_scaling"] = {
            name: getattr(fitted, name)
            for name in ("at_bound", "fitted_rows", "judged_rows", "nll_before", "nll_after", "ece_before", "ece_after")
        }
    return values


def calibration_metrics(predictions: Predictions) -> Values:
    """Calibration errors, proper scores and the area under the risk-coverage curve as JSON values."""
    ece, scores, curve = reliability(predictions), proper_scores(predictions), risk_coverage(predictions)
    frame = predictions.columns("confidence", "correct")
    gap = signed_gap(frame["confidence"].to_numpy().astype(np.float64), frame["correct"].to_numpy())
    return {
        "ece_15": ece.ece,
        "calibration_error": _plain([ece.error.value])[0],  # unknown where no bin has two rows
        "calibration_error_interval": [ece.error.low, ece.error.high],
        "calibration_p_value": ece.error.p_value,
        "signed_gap": gap.value,
        "signed_gap_interval": [gap.low, gap.high],
        "smooth_ece": smooth_ece(predictions),
        "ece_10": reliability(predictions, bins=10).ece,
        "ece_equal_mass_15": reliability(predictions, binning="equal mass").ece,
        "nll": scores.nll,
        "brier": scores.brier,
        "aurc": curve.aurc,
        "best_aurc": curve.best_aurc,
    }


def _top_k(predictions: Predictions) -> Values:
    rate = top_k_accuracy(predictions)
    return {
        str(k): {"value": float(rate.value[k - 1]), "interval": [float(rate.low[k - 1]), float(rate.high[k - 1])]}
        for k in (2, 3, 5, 10)
        if k < len(predictions.classes)
    }


def group_metrics(matrix: ConfusionMatrix) -> Values:
    """Accuracy and error rates of groups of classes (see `confusion.group_classes`) as JSON values."""
    report = class_report(matrix)
    errors, rows = int(report.errors.sum()), int(report.support.sum())
    return {
        "classes": list(matrix.classes),
        "counts": matrix.counts.tolist(),
        "accuracy": 1 - errors / rows,
        "accuracy_interval": [float(bound) for bound in wilson_interval(rows - errors, rows)],
        "error_rates": dict(zip(matrix.classes, _plain(report.error_rate.value), strict=True)),
        "error_rate_intervals": _intervals(matrix.classes, report.error_rate),
    }


def churn_metrics(churn: Churn) -> Values:
    """A change compared with that between seeds, as JSON values."""
    return {name: None if math.isnan(value) else value for name, value in dataclasses.asdict(churn).items()}


def vote_metrics(predictions: Predictions) -> Values:
    """What human labels add to predictions with votes; the two shares are shares of the model's errors."""
    rate = shared_errors(predictions)
    frame = predictions.columns("votes_top", "label", "votes_entropy")
    names = ("people_miss_it_too", "people_say_the_same")
    return {
        "soft_cross_entropy": soft_cross_entropy(predictions),
        "people_accuracy": float(np.mean((frame["votes_top"] == frame["label"]).to_numpy())),
        "mean_votes_entropy_bits": float(np.mean(frame["votes_entropy"].to_numpy())),
        **dict(zip(names, _plain(rate.value), strict=True)),
        **{f"{name}_interval": bounds for name, bounds in _intervals(names, rate).items()},
    }


def comparison_metrics(comparison: Comparison) -> Values:
    """The counts and tests of two models as JSON values."""
    test = comparison.test
    names = ("rows", "both_right", "fixed", "broken", "both_wrong", "both_wrong_alike", "churn", "difference")
    return {
        **{name: getattr(comparison, name) for name in names},
        "difference_interval": [comparison.low, comparison.high],
        "mcnemar": {
            "exact_p": test.exact,
            "chi2": _plain([test.chi2_corrected])[0],
            "chi2_p": _plain([test.corrected])[0],
        },
        "classes": comparison.classes.fill_nan(None).to_dicts(),
    }


def _plain(values: Any) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _intervals(names: tuple[str, ...], rate: Rate) -> dict[str, list[float | None]]:
    return {name: _plain(bounds) for name, *bounds in zip(names, rate.low, rate.high, strict=True)}
