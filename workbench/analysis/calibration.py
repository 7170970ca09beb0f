"""Whether 90 % confidence means nine correct in ten: reliability, its summary numbers, temperature, risk, coverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize

from workbench.analysis.statistics import RESAMPLES, percentile_interval, wilson_interval
from workbench.core.predictions import DERIVED, Predictions
from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.errors import DataError

Binning = Literal["equal width", "equal mass"]
SAMPLE = 100_000
CELLS = 2**24
TEMPERATURES = (0.05, 20.0)
_SQUARES = (pl.col("probability") * pl.col("probability")).arr.sum().cast(pl.Float64)


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: for each of B bins its edges, rows, mean confidence and accuracy, and the ECE.

    ``edges`` ``(B + 1,)``; a bin holds its lower edge but not its upper one, except that the last is closed at 1.
    ``low`` and ``high`` bound the accuracy of each bin (Wilson 95 %), ``ece_low`` and ``ece_high`` the ECE
    (basic bootstrap, 95 %, at least 0). Empty bins have nan.
    """

    binning: Binning
    edges: FloatArray
    counts: IntArray
    confidence: FloatArray
    accuracy: FloatArray
    low: FloatArray
    high: FloatArray
    ece: float
    ece_low: float
    ece_high: float


def reliability(predictions: Predictions, *, bins: int = 15, binning: Binning = "equal width") -> Reliability:
    """Confidence against accuracy in ``bins`` bins, and the expected calibration error.

    ECE is ``sum over bins of |B_m|/n · |accuracy − confidence|`` (Guo et al. 2017, arXiv 1706.04599, equation
    3). Equal mass: the bins hold equally many rows (Nguyen & O'Connor 2015, arXiv 1508.05154); rows of equal
    confidence share a bin, so that bins may differ and there may be fewer.

    The bootstrap resamples rows: counts of correct and misclassified rows in each bin are multinomial; the mean
    confidence within such a cell is drawn as normal with the cell's own variance, which for cells of many rows is
    what resampling gives, so that the cost does not grow with the rows. The interval is the basic one, 2·ECE less
    the upper and lower percentile (Davison & Hinkley 1997, section 5.2): the ECE of a resample is biased upwards,
    as noise cannot cancel between absolute gaps. The estimate itself is biased the same way for few rows.

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
        predictions.table.select(bin=place.cast(pl.Int64), right=right, c=confidence.cast(pl.Float64))
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
    values = predictions.table.select(confidence).collect(engine="streaming").to_series().to_numpy()
    inner = np.partition(values, [len(values) * k // bins for k in range(1, bins)])
    edges = [float(inner[len(values) * k // bins]) for k in range(1, bins)]
    return np.concatenate([[0.0], np.unique(edges), [1.0]])


def _ece(counts: FloatArray, totals: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """ECE, mean confidence and accuracy of bins, from counts and confidence sums ``(..., B, 2)``, errors first."""
    rows = counts.sum(-1)
    blank = np.full(rows.shape, np.nan)
    confidence = np.divide(totals.sum(-1), rows, out=blank.copy(), where=rows > 0)
    accuracy = np.divide(counts[..., 1], rows, out=blank.copy(), where=rows > 0)
    gaps = np.abs(counts[..., 1] - totals.sum(-1)).sum(-1) / rows.sum(-1)
    return gaps, confidence, accuracy


def _summarise(binning: Binning, edges: FloatArray, sums: FloatArray) -> Reliability:
    counts, totals, squares = sums
    n = int(counts.sum())
    ece, confidence, accuracy = _ece(counts, totals)
    mean = np.divide(totals, counts, out=np.zeros_like(totals), where=counts > 0)
    variance = np.divide(squares, counts, out=np.zeros_like(totals), where=counts > 0) - mean**2
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(n, (counts / n).ravel(), RESAMPLES).reshape(RESAMPLES, *counts.shape).astype(float)
    noise = generator.standard_normal(drawn.shape) * np.sqrt(drawn * np.maximum(variance, 0))
    eces, _, _ = _ece(drawn, drawn * mean + noise)
    low, high = wilson_interval(counts[:, 1], counts.sum(1))
    # gaps are absolute values, so a resample adds its noise to theirs: the basic interval reflects that away
    upper, lower = percentile_interval(eces)
    ece_low = max(0.0, min(float(ece), float(2 * ece - lower)))
    ece_high = max(float(ece), float(2 * ece - upper))
    return Reliability(
        binning,
        edges,
        counts.sum(1).astype(np.int64),
        confidence,
        accuracy,
        low,
        high,
        float(ece),
        ece_low,
        ece_high,
    )


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
    """A fitted temperature, and NLL and ECE (15 bins) before and after on rows it was not fitted on."""

    temperature: float
    fitted_rows: int
    judged_rows: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float

    @property
    def at_bound(self) -> bool:
        """Whether the search ended at one of its bounds."""
        low, high = TEMPERATURES
        return not low * 1.001 < self.temperature < high / 1.001


def fit_temperature(log_probability: FloatArray, label: IntArray) -> float:
    """The T that minimises the mean NLL of ``softmax(log P / T)``, from 0.05 to 20; a bound stands for values beyond.

    Guo et al. 2017 (arXiv 1706.04599, section 4.2): log probabilities are logits up to a constant of each row,
    which softmax ignores.
    """

    def loss(log_t: float) -> float:
        scaled = log_probability / np.exp(log_t)
        top = scaled.max(1)
        whole = top + np.log(np.exp(scaled - top[:, None]).sum(1))
        return float((whole - np.take_along_axis(scaled, label[:, None], 1)[:, 0]).mean())

    found = optimize.minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def scale(probability: ProbabilityArray, temperature: float) -> ProbabilityArray:
    """``softmax(log P / T)``, float32 ``(n, K)``."""
    scaled = _logs(probability) / temperature
    shares = np.exp(scaled - scaled.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def _logs(probability: ProbabilityArray) -> FloatArray:
    return np.log(np.maximum(probability, np.finfo(np.float32).smallest_subnormal).astype(np.float64))


def temperature(predictions: Predictions, *, seed: int = 0) -> Temperature:
    """A temperature fitted on a random half of the rows and judged on the other half.

    Beyond 200,000 rows (fewer for many classes), a random sample of that size is used.

    Raises
    ------
    DataError
        If there are fewer than two rows.
    """
    if len(predictions) < 2:
        raise DataError("temperature: expected at least 2 rows, one to fit on and one to judge")
    most = 2 * min(SAMPLE, max(1, CELLS // len(predictions.classes)))
    drawn = np.random.default_rng(seed).permutation(len(predictions))[:most]
    part = predictions.take(drawn)
    half = len(drawn) // 2
    label, probability = part["label"].to_numpy(), part["probability"].to_numpy()
    found = fit_temperature(_logs(probability[:half]), label[:half])
    before = Predictions.from_arrays(label[half:], probability[half:], predictions.classes)
    after = Predictions.from_arrays(label[half:], scale(probability[half:], found), predictions.classes)
    return Temperature(
        found,
        half,
        len(drawn) - half,
        proper_scores(before).nll,
        proper_scores(after).nll,
        reliability(before).ece,
        reliability(after).ece,
    )


@dataclass(frozen=True)
class Gap:
    """Accuracy less mean confidence of some rows, -1 to 1, with a 95 % interval; above 0 they are underconfident."""

    accuracy: float
    confidence: float
    value: float
    low: float
    high: float


def signed_gap(confidence: FloatArray, correct: NDArray[np.bool_]) -> Gap:
    """The signed calibration gap of rows, given their confidences ``(n,)`` and whether they are correct.

    Calibration in the large (Van Calster et al. 2016, doi 10.1016/j.jclinepi.2015.12.005), as a difference. The
    confidences are known, so that only accuracy is uncertain: the interval is Wilson's of the accuracy, less the mean
    confidence.

    Raises
    ------
    DataError
        If there are no rows.
    """
    if len(confidence) == 0:
        raise DataError("calibration: expected at least one row")
    accuracy, mean = float(correct.mean()), float(confidence.mean())
    low, high = wilson_interval(int(correct.sum()), len(correct))
    return Gap(accuracy, mean, accuracy - mean, float(low) - mean, float(high) - mean)
