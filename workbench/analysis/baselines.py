"""What accuracy hides: baselines, averages over classes, and how well scores rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy

from workbench.analysis.statistics import RESAMPLES, Z_95, percentile_interval, wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import ConfusionMatrix, FloatArray, IntArray, Rate
from workbench.errors import DataError

MOST_ROWS, MOST_CLASSES, FEW = 200_000, 50, 10
ROUNDED = 1e-12


def baselines(matrix: ConfusionMatrix) -> dict[str, Any]:
    """Accuracy of doing without a model, and averages over classes with 95 % intervals, as JSON values.

    ``majority``: the most frequent class and its share; ``chance``: the accuracy of answers drawn from the labels'
    shares. ``balanced_accuracy``: mean recall of the classes with rows (Brodersen et al. 2010, doi
    10.1109/ICPR.2010.764); ``macro_precision``, ``macro_f1``: means over the classes with rows, 0 where a class is
    never answered, as in scikit-learn; ``mcc``: Matthews' correlation for several classes (Gorodkin 2004, doi
    10.1016/j.compbiolchem.2004.09.006). Intervals: percentiles of a multinomial bootstrap within each class (Efron &
    Tibshirani 1993, chapter 8), so that the classes' sizes are taken as given; for up to 50 classes.
    """
    counts = matrix.counts
    support = counts.sum(1)
    n = int(support.sum())
    most = int(support.argmax())
    own = _averages(counts[None].astype(np.float64))
    resampled = _averages(_resamples(counts)) if len(counts) <= MOST_CLASSES else {}
    values: dict[str, Any] = {
        "majority": {"class": matrix.classes[most], "accuracy": support[most] / n},
        "chance": float(((support / n) ** 2).sum()),
    }
    for name, value in own.items():
        values[name] = float(value[0])
        if name in resampled:
            low, high = percentile_interval(resampled[name])
            values[f"{name}_interval"] = [float(low), float(high)]
    return values


def _resamples(counts: IntArray) -> FloatArray:
    """Confusion matrices drawn with each class's own rows, float64 ``(RESAMPLES, K, K)``."""
    generator = np.random.default_rng(0)
    support = counts.sum(1)
    shares = counts / np.maximum(support, 1)[:, None]
    shares[support == 0, 0] = 1.0  # of no rows
    return generator.multinomial(support[None], shares, (RESAMPLES, len(counts))).astype(np.float64)


def _averages(counts: FloatArray) -> dict[str, FloatArray]:
    """The averages of confusion matrices ``(m, K, K)``, each ``(m,)``."""
    diagonal = np.diagonal(counts, axis1=1, axis2=2)
    support, answered = counts.sum(2), counts.sum(1)
    there = support > 0
    recall = np.divide(diagonal, support, out=np.zeros_like(diagonal), where=there)
    precision = np.divide(diagonal, answered, out=np.zeros_like(diagonal), where=answered > 0)
    both = support + answered
    f1 = np.divide(2 * diagonal, both, out=np.zeros_like(diagonal), where=both > 0)
    classes = np.maximum(there.sum(1), 1)
    n = counts.sum((1, 2))
    covariance = diagonal.sum(1) * n - (support * answered).sum(1)
    spread = np.sqrt((n**2 - (support**2).sum(1)) * (n**2 - (answered**2).sum(1)))
    return {
        "balanced_accuracy": recall.sum(1) / classes,
        "macro_precision": (precision * there).sum(1) / classes,
        "macro_f1": (f1 * there).sum(1) / classes,
        "mcc": np.divide(covariance, spread, out=np.zeros_like(n), where=spread > 0),
    }


@dataclass(frozen=True)
class Ranking:
    """How well each class's probability ranks its rows before the others, one against the rest.

    ``prevalence`` ``(K,)``: share of the class; ``auc``: area under the ROC curve; ``precision``: average precision;
    both with 95 % intervals, nan for a class without rows or without others.
    """

    classes: tuple[str, ...]
    prevalence: FloatArray
    auc: Rate
    precision: Rate

    def to_json(self) -> dict[str, Any]:
        """By class, and the macro averages over the classes that have one."""

        def plain(value: float) -> float | None:
            return None if np.isnan(value) else float(value)

        values = {
            name: {
                "prevalence": float(self.prevalence[k]),
                "roc_auc": plain(self.auc.value[k]),
                "roc_auc_interval": [float(self.auc.low[k]), float(self.auc.high[k])],
                "average_precision": plain(self.precision.value[k]),
                "average_precision_interval": [float(self.precision.low[k]), float(self.precision.high[k])],
            }
            for k, name in enumerate(self.classes)
        }
        defined = ~np.isnan(self.auc.value)
        return {
            "classes": values,
            "macro_roc_auc": plain(float(self.auc.value[defined].mean())) if defined.any() else None,
            "macro_average_precision": plain(float(self.precision.value[defined].mean())) if defined.any() else None,
        }


def ranking(predictions: Predictions, *, most_rows: int = MOST_ROWS, seed: int = 0) -> Ranking:
    """ROC-AUC and average precision of each class against the rest, of at most ``most_rows`` random rows.

    Of many classes as many fewer rows, so that the cost stays the same.

    Values by scikit-learn's definitions. The interval of the AUC is DeLong's (DeLong, DeLong & Clarke-Pearson 1988, doi
    10.2307/2531595; by ranks as Sun & Xu 2014, doi 10.1109/LSP.2014.2337313) on the scale of the logit, which keeps it
    within 0 to 1; at a perfect ranking, or with fewer than ten rows on one side, Wilson's of the smaller side. That of
    average precision is the logit one of Boyd, Eng & Page 2013 (doi 10.1007/978-3-642-40994-3_29).

    Raises
    ------
    DataError
        If there are no probabilities.
    """
    predictions.require_probabilities("a ranking of scores")
    from sklearn.metrics import average_precision_score

    classes = len(predictions.classes)
    most = min(most_rows, MOST_ROWS * MOST_CLASSES // classes)
    part = predictions.take(np.sort(np.random.default_rng(seed).permutation(len(predictions))[:most]))
    label, probability = part["label"].to_numpy(), part["probability"].to_numpy()
    auc, precision = np.full((3, classes), np.nan), np.full((3, classes), np.nan)
    auc[1:], precision[1:] = [[0.0], [1.0]], [[0.0], [1.0]]
    for k in np.unique(label):
        own = label == k
        if own.all():
            continue
        auc[:, k] = roc_auc(probability[own, k], probability[~own, k])
        value = float(average_precision_score(own, probability[:, k]))
        precision[:, k] = _on_logit(value, 1 / np.sqrt(own.sum() * max(value * (1 - value), 1e-12)), int(own.sum()))
    prevalence = np.bincount(label, minlength=classes) / len(label)
    return Ranking(predictions.classes, prevalence, Rate(*auc), Rate(*precision))


def roc_auc(positive: FloatArray, negative: FloatArray) -> tuple[float, float, float]:
    """The chance that a score of ``positive`` ``(m,)`` is above one of ``negative`` ``(n,)``, and its 95 % interval.

    See `ranking` for its definition.
    """
    m, n = len(positive), len(negative)
    ranks = scipy.stats.rankdata(np.concatenate([positive, negative]))
    above = (ranks[:m] - scipy.stats.rankdata(positive)) / n
    below = 1 - (ranks[m:] - scipy.stats.rankdata(negative)) / m
    value = float(above.mean())
    if min(m, n) < FEW:  # the variance of few rows is no estimate
        low, high = wilson_interval(value * min(m, n), min(m, n))
        return value, float(low), float(high)
    variance = (above.var(ddof=1) / m if m > 1 else 0.0) + (below.var(ddof=1) / n if n > 1 else 0.0)
    return _on_logit(value, float(np.sqrt(variance)) / max(value * (1 - value), 1e-12), min(m, n))


def _on_logit(value: float, deviation: float, rows: int) -> tuple[float, float, float]:
    """A share with the interval that is symmetric on the logit's scale; at 0 and 1, Wilson's of that many ``rows``."""
    value = min(max(value, 0.0), 1.0)  # sums of shares may round beyond
    if min(value, 1 - value) < ROUNDED:
        value = float(round(value))
        low, high = wilson_interval(value * rows, rows)
        return value, float(low), float(high)
    middle = float(scipy.special.logit(value))
    return (
        value,
        float(scipy.special.expit(middle - Z_95 * deviation)),
        float(scipy.special.expit(middle + Z_95 * deviation)),
    )


@dataclass(frozen=True)
class Threshold:
    """From which probability on the second of two classes should be answered, given what errors cost.

    ``cost``: mean cost of a row at ``threshold``, on rows that it was not chosen on, with a 95 % interval; ``usual``
    that at 0.5 on the same rows; ``saved`` the difference with its interval ``saved_low`` to ``saved_high``.
    """

    threshold: float
    cost: float
    low: float
    high: float
    usual: float
    saved: float
    saved_low: float
    saved_high: float


def best_threshold(
    predictions: Predictions, *, false_positive: float = 1.0, false_negative: float = 1.0, seed: int = 0
) -> Threshold:
    """The threshold of least mean cost on one random half of the rows, judged on the other.

    A false positive is a row of the first class that is answered as the second. Intervals are those of means by the
    central limit theorem, the difference taken row by row.

    Raises
    ------
    DataError
        If there are other than two classes, fewer than four rows, no probabilities, or a cost is not above 0.
    """
    predictions.require_probabilities("a threshold")
    if len(predictions.classes) != 2:
        raise DataError(f"threshold: expected two classes, not {len(predictions.classes)}")
    if min(false_positive, false_negative) <= 0 or not np.isfinite([false_positive, false_negative]).all():
        raise DataError(f"threshold: expected costs above 0, not {false_positive} and {false_negative}")
    if len(predictions) < 4:
        raise DataError(f"threshold: expected at least 4 rows, not {len(predictions)}")
    order = np.random.default_rng(seed).permutation(len(predictions))[: 2 * MOST_ROWS]
    part = predictions.take(order)
    label, score = part["label"].to_numpy(), part["probability"].to_numpy()[:, 1].astype(np.float64)
    half = len(order) // 2
    chosen = _cheapest(label[:half], score[:half], false_positive, false_negative)

    def costs(threshold: float) -> FloatArray:
        answer = score[half:] >= threshold
        return np.where(label[half:] == 1, ~answer * false_negative, answer * false_positive).astype(np.float64)

    best, usual = costs(chosen), costs(0.5)
    low, high = _mean_interval(best)
    saved_low, saved_high = _mean_interval(usual - best)
    return Threshold(
        chosen, float(best.mean()), low, high, float(usual.mean()), float((usual - best).mean()), saved_low, saved_high
    )


def _cheapest(label: IntArray, score: FloatArray, false_positive: float, false_negative: float) -> float:
    order = np.argsort(score, kind="stable")
    values, truth = score[order], label[order]
    missed = np.concatenate([[0], np.cumsum(truth == 1)])  # rows below the threshold
    alarms = (truth == 0).sum() - np.concatenate([[0], np.cumsum(truth == 0)])
    cost = missed * false_negative + alarms * false_positive
    ends = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1, [len(values)]])  # equal scores are together
    best = int(ends[cost[ends].argmin()])
    if best == 0:
        return 0.0
    if best == len(values):
        return 1.0 if values[-1] < 1 else float(np.nextafter(1, 2))
    return float((values[best - 1] + values[best]) / 2)


def _mean_interval(values: FloatArray) -> tuple[float, float]:
    half = Z_95 * float(values.std(ddof=1)) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def curves(predictions: Predictions, *, points: int = 500, most_rows: int = MOST_ROWS) -> pl.DataFrame:
    """ROC and precision-recall curves of each class against the rest, at most about ``points`` points a class.

    Columns: class, threshold (the probability from which rows are answered as the class), false_positive_rate, recall
    (true positive rate), precision; from the highest threshold on.

    Raises
    ------
    DataError
        If there are no probabilities.
    """
    predictions.require_probabilities("a curve")
    places = np.random.default_rng(0).permutation(len(predictions))[:most_rows]
    part = predictions.take(np.sort(places))
    label, probability = part["label"].to_numpy(), part["probability"].to_numpy()
    names = ("class", "threshold", "false_positive_rate", "recall", "precision")
    parts = []
    for k in np.unique(label):
        order = np.argsort(-probability[:, k], kind="stable")
        score, own = probability[order, k], label[order] == k
        ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # equal scores are answered together
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, points).astype(int))]
        hits, alarms = np.cumsum(own)[ends], np.cumsum(~own)[ends]
        shares = (alarms / max((~own).sum(), 1), hits / own.sum(), hits / (hits + alarms))
        columns = (np.full(len(ends), predictions.classes[k]), score[ends].astype(np.float64), *shares)
        parts.append(pl.DataFrame(dict(zip(names, columns, strict=True))))
    return pl.concat(parts)
