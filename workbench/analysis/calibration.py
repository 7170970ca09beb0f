"""Whether 90 % confidence means nine correct in ten: reliability, its summary numbers, temperature, risk, coverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from workbench.analysis.gaps import CalibrationError, Gap, debiased, signed_gap
from workbench.analysis.scaling import TEMPERATURES, fit_temperature, log_probabilities, scale
from workbench.analysis.statistics import wilson_interval
from workbench.core.predictions import DERIVED, Predictions
from workbench.core.records import FloatArray, IntArray
from workbench.errors import DataError

Binning = Literal["equal width", "equal mass"]
SAMPLE = 100_000
CELLS = 2**24
_SQUARES = (pl.col("probability") * pl.col("probability")).arr.sum().cast(pl.Float64)


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: for each of B bins its edges, rows, mean confidence and accuracy, and the ECE.

    ``edges`` ``(B + 1,)``; a bin holds its lower edge but not its upper one, except that the last is closed at 1.
    ``low`` and ``high`` bound the accuracy of each bin (Wilson 95 %). ``error`` is the calibration error freed of its
    bias, with an interval, of the same bins (`gaps.debiased`). Empty bins have nan.
    """

    binning: Binning
    edges: FloatArray
    counts: IntArray
    confidence: FloatArray
    accuracy: FloatArray
    low: FloatArray
    high: FloatArray
    ece: float
    error: CalibrationError

    @property
    def gap(self) -> float:
        """Accuracy less mean confidence over all rows; above 0 the model is underconfident."""
        there = self.counts > 0
        return float(np.average((self.accuracy - self.confidence)[there], weights=self.counts[there]))

    @property
    def direction(self) -> str:
        """The gap in words, such as "confidence is 4.9 points below accuracy"."""
        return f"confidence is {abs(100 * self.gap):.1f} points {'below' if self.gap > 0 else 'above'} accuracy"


def reliability(predictions: Predictions, *, bins: int = 15, binning: Binning = "equal width") -> Reliability:
    """Confidence against accuracy in ``bins`` bins, and the expected calibration error.

    ECE is ``sum over bins of |B_m|/n · |accuracy − confidence|`` (Guo et al. 2017, arXiv 1706.04599, equation
    3). Equal mass: the bins hold equally many rows (Nguyen & O'Connor 2015, arXiv 1508.05154); rows of equal
    confidence share a bin, so that bins may differ and there may be fewer.

    It is biased upwards, as noise cannot cancel between absolute gaps: for few rows, or a model that is calibrated,
    most of it is noise, and no bootstrap interval of it covers. ``error`` is free of that bias.

    Raises
    ------
    DataError
        If ``bins`` is less than 1, or there are no probabilities.
    """
    _check_bins(bins)
    predictions.require_probabilities("calibration")
    confidence, right = DERIVED["confidence"], DERIVED["correct"]
    if binning == "equal width":
        edges = np.linspace(0, 1, bins + 1)
        place = (confidence.cast(pl.Float64) * bins).floor().clip(0, bins - 1)
    else:
        edges = _mass_edges(predictions, confidence, bins)
        place = pl.sum_horizontal(pl.lit(0), *(confidence.cast(pl.Float64) >= edge for edge in edges[1:-1]))
    cells = (
        predictions.scan()
        .select(bin=place.cast(pl.Int64), right=right, c=confidence.cast(pl.Float64))
        .group_by("bin", "right")
        .agg(n=pl.len(), total=pl.col("c").sum(), squares=(pl.col("c") ** 2).sum())
        .collect(engine="streaming")
    )
    sums = np.zeros((3, len(edges) - 1, 2))
    where = (cells["bin"].to_numpy(), cells["right"].to_numpy().astype(int))
    for k, name in enumerate(("n", "total", "squares")):
        sums[k][where] = cells[name].to_numpy()
    return _summarise(binning, edges, sums)


def class_reliability(predictions: Predictions, *, bins: int = 15) -> list[Reliability]:
    """`reliability` of each class, in bins of equal width and over all rows.

    The event is "the label is this class" and the confidence the class's probability (classwise calibration, Kull et
    al. 2019, arXiv 1910.12656).

    Raises
    ------
    DataError
        If ``bins`` is less than 1.
    """
    _check_bins(bins)
    classes = len(predictions.classes)
    sums = np.zeros((3, classes * bins * 2))
    for part in predictions.batches("label", "probability", cells=2**22):
        probability = part["probability"].to_numpy().astype(np.float64)
        place = np.clip(np.floor(probability * bins), 0, bins - 1).astype(np.int64)
        right = part["label"].to_numpy()[:, None] == np.arange(classes)
        cell = ((np.arange(classes) * bins + place) * 2 + right).ravel()
        for k, weights in enumerate((None, probability.ravel(), probability.ravel() ** 2)):
            sums[k] += np.bincount(cell, weights, minlength=sums.shape[1])
    edges, shaped = np.linspace(0, 1, bins + 1), sums.reshape(3, classes, bins, 2)
    return [_summarise("equal width", edges, shaped[:, k]) for k in range(classes)]


def _check_bins(bins: int) -> None:
    if bins < 1:
        raise DataError(f"bins: expected at least 1, not {bins}")


def _mass_edges(predictions: Predictions, confidence: pl.Expr, bins: int) -> FloatArray:
    values = predictions.scan().select(confidence).collect(engine="streaming").to_series().to_numpy()
    inner = np.partition(values, [len(values) * k // bins for k in range(1, bins)])
    edges = [float(inner[len(values) * k // bins]) for k in range(1, bins)]
    return np.concatenate([[0.0], np.unique(edges), [1.0]])


def _summarise(binning: Binning, edges: FloatArray, sums: FloatArray) -> Reliability:
    counts, totals, squares = sums
    rows = counts.sum(1)
    blank = np.full(rows.shape, np.nan)
    confidence = np.divide(totals.sum(1), rows, out=blank.copy(), where=rows > 0)
    accuracy = np.divide(counts[:, 1], rows, out=blank.copy(), where=rows > 0)
    ece = float(np.abs(counts[:, 1] - totals.sum(1)).sum() / rows.sum())
    low, high = wilson_interval(counts[:, 1], rows)
    error = debiased(rows, counts[:, 1], totals.sum(1), totals[:, 1], squares.sum(1))
    return Reliability(binning, edges, rows.astype(np.int64), confidence, accuracy, low, high, ece, error)


@dataclass(frozen=True)
class Scores:
    """Proper scores: mean negative log-likelihood in nats, and the multi-class Brier score, 0 to 2."""

    nll: float
    brier: float


def proper_scores(predictions: Predictions) -> Scores:
    """NLL ``mean(-log P[label])`` and Brier score ``mean(sum_k (P[k] - y[k])²)``.

    Brier 1950, doi 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2, in its original form over all classes.
    """
    predictions.require_probabilities("a proper score")
    brier = _SQUARES - 2 * pl.col("label_probability").cast(pl.Float64) + 1
    row = predictions.scan().select(nll=pl.col("loss").mean(), brier=brier.mean()).collect(engine="streaming")
    return Scores(*row.row(0))


@dataclass(frozen=True)
class RiskCoverage:
    """Error rate among the most confident share of rows.

    ``coverage`` and ``risk`` float64 ``(m,)``: at most 2,000 points, the last at full coverage; ``aurc`` the area
    under the whole curve, ``best_aurc`` that of an order that puts every correct row first; both are error rates.
    """

    coverage: FloatArray
    risk: FloatArray
    aurc: float
    best_aurc: float


def risk_coverage(predictions: Predictions, *, points: int = 2000) -> RiskCoverage:
    """Selective risk over coverage when the least confident rows are rejected first.

    AURC is the mean of the risk over coverages 1/n to 1 (Geifman & El-Yaniv 2017, arXiv 1705.08500; Geifman et al.
    2019, arXiv 1805.08206). Rows of equal confidence are rejected together: each gets the risk expected of a
    random order among them, so that the order of the table does not matter.
    """
    frame = predictions.columns("confidence", "correct")
    order = np.argsort(-frame["confidence"].to_numpy(), kind="stable")
    confidence, wrong = frame["confidence"].to_numpy()[order], ~frame["correct"].to_numpy()[order]
    total, rows = len(order), np.arange(1, len(order) + 1)
    # expected errors among the first i rows: those of the ties before, and a share of the tie that i falls in
    ends = np.concatenate([[0], np.flatnonzero(np.diff(confidence)) + 1, [total]])
    errors = np.interp(rows, ends, np.concatenate([[0], np.cumsum(wrong)])[ends])
    risk = errors / rows
    error_count = int(wrong.sum())
    best = np.maximum(rows - (total - error_count), 0) / rows
    kept = np.unique(np.linspace(0, total - 1, min(points, total)).astype(np.int64))
    return RiskCoverage((rows / total)[kept], risk[kept], float(risk.mean()), float(best.mean()))


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature; NLL and ECE (15 bins) before and after, and the gap after, on rows it was not fitted on."""

    temperature: float
    fitted_rows: int
    judged_rows: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    gap_after: Gap

    @property
    def at_bound(self) -> bool:
        """Whether the search ended at one of its bounds."""
        low, high = TEMPERATURES
        return not low * 1.001 < self.temperature < high / 1.001


def temperature(predictions: Predictions, *, fitted_on: Predictions | None = None, seed: int = 0) -> Temperature:
    """A temperature fitted on rows that it is not judged on.

    ``fitted_on``: predictions of the same model on other rows, such as a validation split; without them it is fitted on
    a random half of the rows and judged on the other. Beyond 200,000 rows (fewer for many classes), a random sample of
    that size is used.

    Raises
    ------
    DataError
        If there are fewer than two rows, or ``fitted_on`` has other classes, no probabilities or rows of the
        predictions.
    """
    if len(predictions) < 2:
        raise DataError("temperature: expected at least 2 rows, one to fit on and one to judge")
    most = min(SAMPLE, max(1, CELLS // len(predictions.classes)))
    drawn = np.random.default_rng(seed).permutation(len(predictions))[: 2 * most]
    if fitted_on is None:
        half = len(drawn) // 2
        fitted, judged = predictions.take(drawn[:half]), predictions.take(drawn[half:])
    else:
        check_other_rows(predictions, fitted_on)
        fitted = fitted_on.take(np.random.default_rng(seed).permutation(len(fitted_on))[:most])
        judged = predictions.take(drawn)
    found = fit_temperature(log_probabilities(fitted["probability"].to_numpy()), fitted["label"].to_numpy())
    label, probability = judged["label"].to_numpy(), judged["probability"].to_numpy()
    before = Predictions.from_arrays(label, probability, predictions.classes)
    after = Predictions.from_arrays(label, scale(probability, found), predictions.classes)
    return Temperature(
        found,
        len(fitted),
        len(judged),
        proper_scores(before).nll,
        proper_scores(after).nll,
        reliability(before).ece,
        reliability(after).ece,
        signed_gap(after.confidence.astype(np.float64), after.correct),
    )


def check_other_rows(predictions: Predictions, other: Predictions) -> None:
    """Check that ``other`` are predictions of the same model on rows that ``predictions`` does not hold.

    Raises
    ------
    DataError
        If the classes differ, there are no probabilities, or both are of one split of the same data.
    """
    other.require_probabilities("a temperature")
    if other.classes != predictions.classes:
        raise DataError("validation: expected the classes of the predictions, in their order")
    here, there = predictions.provenance, other.provenance
    if here.checkpoint and there.checkpoint and here.checkpoint != there.checkpoint:
        raise DataError("validation: its rows were predicted with other weights: predict them with the same")
    if here.data is not None and here.data == there.data and np.isin(other.index, predictions.index).any():
        raise DataError("validation: its rows are among the predictions: give rows that are not judged")
