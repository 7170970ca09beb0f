"""Several models on the same rows: no worse than a margin, differences within groups, majority and ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from workbench.analysis.compare import Comparison, newcombe_paired, pair_rows
from workbench.analysis.statistics import benjamini_hochberg, mcnemar, wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import IntArray
from workbench.errors import DataError

MARGIN = 0.005
MAJORITY, ENSEMBLE = "majority of the answers", "mean of the probabilities"


@dataclass(frozen=True)
class Equivalence:
    """Whether two models differ by less than a margin of accuracy.

    ``low`` and ``high``: the 90 % interval of the difference, second less first, whose ends make two one-sided tests at
    5 %. ``equivalent``: it lies within the margin on both sides; ``no_worse``: its lower end lies above the negative
    margin.
    """

    margin: float
    low: float
    high: float
    no_worse: bool
    equivalent: bool


def equivalence(comparison: Comparison, *, margin: float = MARGIN) -> Equivalence:
    """Two one-sided tests at 5 % that the accuracies differ by less than ``margin``.

    Schuirmann 1987 (doi 10.1007/BF01068419), by the 90 % interval of Newcombe for paired proportions: a difference that
    is not significant is no proof of equality, but an interval within the margin is one of that.

    Raises
    ------
    DataError
        If the margin is not above 0.
    """
    if not margin > 0:
        raise DataError(f"margin: expected a share above 0, not {margin}")
    counts = (comparison.both_right, comparison.fixed, comparison.broken, comparison.both_wrong)
    low, high = newcombe_paired(*counts, z=float(scipy.stats.norm.ppf(0.95)))
    return Equivalence(margin, low, high, low > -margin, low > -margin and high < margin)


def differences(before: Predictions, after: Predictions, groups: Mapping[str, IntArray]) -> pl.DataFrame:
    """The difference of accuracy within groups of row ids, such as findings or slices.

    Columns: group, rows, fixed, broken, difference with its 95 % interval (Newcombe, paired), p_value (exact McNemar)
    and adjusted_p_value (Benjamini-Hochberg over the groups). Rows that were chosen because one of the models
    misclassifies them are no group: any other model does better there, by regression to the mean.

    Raises
    ------
    DataError
        As `compare.pair_rows`.
    """
    frame = pair_rows(before, after).collect(engine="streaming")
    was = (frame["before"] == frame["label"]).to_numpy()
    now = (frame["after"] == frame["label"]).to_numpy()
    ids = frame["index"].to_numpy()
    rows = [
        _difference(name, was[inside], now[inside])
        for name, wanted in groups.items()
        if (inside := np.isin(ids, wanted)).any()
    ]
    names = ("group", "rows", "fixed", "broken", "difference", "low", "high", "p_value")
    kinds = dict(zip(names, (pl.String, *(pl.Int64,) * 3, *(pl.Float64,) * 4), strict=True))
    table = pl.DataFrame(rows, schema=kinds, orient="row")
    return table.with_columns(
        adjusted_p_value=pl.Series(benjamini_hochberg(table["p_value"].to_numpy()), dtype=pl.Float64)
    )


def agreement(before: Predictions, after: Predictions, groups: Mapping[str, IntArray]) -> pl.DataFrame:
    """How often two models predict the same class within groups of row ids, whether it is right or wrong.

    Columns: group, rows, alike (rows of the same predicted class), agreement (their share) with its 95 % Wilson
    interval ``low`` to ``high``. Groups without rows are omitted. The share describes any group, also one of errors.

    Raises
    ------
    DataError
        As `compare.pair_rows`.
    """
    frame = pair_rows(before, after).collect(engine="streaming")
    same, ids = (frame["before"] == frame["after"]).to_numpy(), frame["index"].to_numpy()
    lines = []
    for name, wanted in groups.items():
        inside = np.isin(ids, wanted)
        rows, alike = int(inside.sum()), int((inside & same).sum())
        if rows:
            low, high = wilson_interval(alike, rows)
            lines.append((name, rows, alike, alike / rows, float(low), float(high)))
    kinds = (pl.String, pl.Int64, pl.Int64, *(pl.Float64,) * 3)
    names = ("group", "rows", "alike", "agreement", "low", "high")
    return pl.DataFrame(lines, schema=dict(zip(names, kinds, strict=True)), orient="row")


def _difference(
    name: str, was: NDArray[np.bool_], now: NDArray[np.bool_]
) -> tuple[str, int, int, int, float, float, float, float]:
    both, fixed = int((was & now).sum()), int((~was & now).sum())
    broken, neither = int((was & ~now).sum()), int((~was & ~now).sum())
    low, high = newcombe_paired(both, fixed, broken, neither)
    return name, len(was), fixed, broken, (fixed - broken) / len(was), low, high, mcnemar(broken, fixed).p_value


def models(named: Mapping[str, Predictions]) -> pl.DataFrame:
    """Several models beside the first, and what their majority and the mean of their probabilities give.

    Columns: model, accuracy with its 95 % Wilson interval, difference to the first model with its 95 % interval
    (Newcombe, paired), p_value (exact McNemar) and adjusted_p_value (Benjamini-Hochberg over the comparisons). Of a
    majority, among equals the first model that answers one of them decides; two models have none.

    Raises
    ------
    DataError
        As `compare.pair_rows`, or if there is only one model.
    """
    if len(named) < 2:
        raise DataError(f"models: expected at least two, not {len(named)}")
    first = next(iter(named.values()))
    every = [_aligned(first, other) for other in named.values()]
    answers = {name: one.predicted for name, one in zip(named, every, strict=True)}
    if len(every) > 2:
        answers[MAJORITY] = majority(np.stack(list(answers.values()), 1), len(first.classes))
    if all(one.has_probabilities for one in every):
        answers[ENSEMBLE] = np.mean([one.probability for one in every], 0).argmax(1)
    label, base = first.label, first.correct
    rows = []
    for name, answer in answers.items():
        correct = answer == label
        low, high = wilson_interval(int(correct.sum()), len(label))
        _, _, _, _, *rest = _difference(name, base, correct)
        rows.append((name, float(correct.mean()), float(low), float(high), *rest))
    names = ("model", "accuracy", "low", "high", "difference", "difference_low", "difference_high", "p_value")
    table = pl.DataFrame(rows, schema=dict(zip(names, (pl.String, *(pl.Float64,) * 7), strict=True)), orient="row")
    adjusted = np.append(np.nan, benjamini_hochberg(table["p_value"].to_numpy()[1:]))
    return table.with_columns(adjusted_p_value=pl.Series(adjusted, dtype=pl.Float64).fill_nan(None))


def _aligned(first: Predictions, other: Predictions) -> Predictions:
    pair_rows(first, other)  # refuses other rows and labels
    return Predictions(other.take(np.argsort(other.index)[np.argsort(np.argsort(first.index))]).lazy(), other.classes)


def mean_answers(models: Sequence[Predictions]) -> IntArray:
    """The answers of the mean of models' probabilities, int64 ``(N,)``, on the same rows in the same order.

    If one has no probabilities, those of the majority. Of two classes the threshold is that of the first model.
    """
    if all(model.has_probabilities for model in models):
        mean, threshold = np.mean([model.probability for model in models], 0), models[0].provenance.threshold
        return np.asarray(mean.argmax(1) if threshold is None else mean[:, 1] >= threshold, np.int64)
    return majority(np.stack([model.predicted for model in models], 1), len(models[0].classes))


def majority(answers: IntArray, classes: int) -> IntArray:
    """The most frequent class of each row of answers ``(N, n)``, int64 ``(N,)``; among equals the first answer."""
    counts = np.zeros((len(answers), classes))
    rows = np.arange(len(answers))
    for place, column in enumerate(answers.T):
        counts[rows, column] += 1 - place * 1e-6
    return np.asarray(counts.argmax(1), np.int64)
