"""Calibration in numbers: its direction, and its size without the bias of noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from workbench.analysis.statistics import Z_95, wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray
from workbench.errors import DataError

CELLS = 4096  # of confidence, in which rows are gathered before they are smoothed
LEAST_WIDTH = 1e-3
EXACT_BELOW, MOST_EXACT = 25.0, 20_000


@dataclass(frozen=True)
class CalibrationError:
    """Root mean square of the bins' gaps between accuracy and confidence, without the part that noise adds.

    ``value`` 0 to 1 with a 95 % interval; ``p_value``: of the test that the model is calibrated in these bins.
    """

    value: float
    low: float
    high: float
    p_value: float


def debiased(
    rows: FloatArray, correct: FloatArray, confidence: FloatArray, confidence_correct: FloatArray, squares: FloatArray
) -> CalibrationError:
    """The debiased l2 calibration error of B bins, from sums over their rows, ``(B,)`` each.

    The sums: rows, correct rows, confidence, confidence of the correct rows, and squared confidence.

    With ``d`` the mean of correctness less confidence in a bin and ``s²`` the variance of it, ``sum w (d² − s²)`` is
    an unbiased estimate of the mean squared gap (Kumar, Liang & Ma 2019, arXiv 1909.10155, section 5, with rows'
    own confidences). Its variance is ``sum w² (4 d² s² + 2 s⁴)``: where the model is calibrated the first term is gone
    and the estimate has another rate (arXiv 2408.08998). The interval holds all errors θ at which
    the estimate is within 1.96 standard deviations, with the first term in proportion to θ, so that it covers in both
    cases; 0 is the lowest. The test of calibration adds up the bins' standardised gaps given their rows' confidences,
    which follow chi-square (Hosmer & Lemeshow 1980, doi 10.1080/03610928008827941, with confidences that were not
    fitted to these rows).
    """
    some = rows > 1
    n, weight = rows[some], rows[some] / max(rows.sum(), 1.0)
    if not some.any():
        return CalibrationError(np.nan, 0.0, 1.0, 1.0)
    hits, total, both, square = (x[some] for x in (correct, confidence, confidence_correct, squares))
    gap = (hits - total) / n
    spread = np.maximum((hits - 2 * both + square) / n - gap**2, 0.0) / (n - 1)
    found = float((weight * (gap**2 - spread)).sum())
    fixed = float(2 * (weight**2 * spread**2).sum())
    size = float((weight * gap**2).sum())
    slope = 4 * float((weight**2 * gap**2 * spread).sum()) / size if size > 0 else 0.0
    # (found − θ)² = z² (fixed + slope θ)
    half = found + Z_95**2 * slope / 2
    reach = np.sqrt(max(half**2 - found**2 + Z_95**2 * fixed, 0.0))
    low, high = max(half - reach, 0.0), max(half + reach, 0.0)
    chance = np.maximum(total - square, 1e-12)
    statistic = float(((hits - total) ** 2 / chance).sum())
    p_value = float(scipy.special.chdtrc(int(some.sum()), statistic))  # without importing scipy.stats
    return CalibrationError(float(np.sqrt(max(found, 0.0))), float(np.sqrt(low)), float(np.sqrt(high)), p_value)


def calibration_p_value(confidence: FloatArray, correct: NDArray[np.bool_]) -> float:
    """Two-sided p-value of the number of correct rows if each is correct with its own confidence, ``(n,)`` both.

    That number is Poisson-binomial. From a variance of 25 on its normal distribution is used, with continuity
    correction; below it the exact one of up to 20,000 rows, and beyond them Poisson's of the errors, which are rare
    then (Le Cam 1960, doi 10.2140/pjm.1960.10.1181). The smaller tail counts twice.
    """
    wrong = 1 - confidence
    mean, variance, seen = float(wrong.sum()), float((wrong * confidence).sum()), int((~correct).sum())
    if variance >= EXACT_BELOW:
        return float(min(1.0, 2 * scipy.stats.norm.sf(max(abs(seen - mean) - 0.5, 0.0) / np.sqrt(variance))))
    if len(wrong) > MOST_EXACT:
        below, above = scipy.stats.poisson.cdf(seen, mean), scipy.stats.poisson.sf(seen - 1, mean)
    else:
        size = int(max(seen, mean + 12 * np.sqrt(variance + 1))) + 2
        chance = np.zeros(size)
        chance[0] = 1.0
        for share in wrong.tolist():
            chance[1:] = chance[1:] * (1 - share) + chance[:-1] * share
            chance[0] *= 1 - share
        below, above = chance[: seen + 1].sum(), 1 - chance[:seen].sum()
    return float(min(1.0, 2 * min(below, above)))


def smooth_ece(predictions: Predictions) -> float:
    """The smooth calibration error, 0 to 1.

    Błasiok & Nakkiran 2023 (arXiv 2309.12236): the integral over confidence of the absolute residuals smoothed by a
    Gaussian kernel that is reflected at 0 and 1, at the one width which equals the error itself. Rows are gathered in
    4,096 cells of confidence first.

    Raises
    ------
    DataError
        If there are no probabilities.
    """
    predictions.require_probabilities("calibration")
    frame = predictions.columns("confidence", "correct")
    confidence = frame["confidence"].to_numpy().astype(np.float64)
    residual = frame["correct"].to_numpy() - confidence
    place = np.minimum((confidence * CELLS).astype(np.int64), CELLS - 1)
    sums = np.bincount(place, residual, CELLS) / max(len(residual), 1)

    def error(width: float) -> float:
        return float(np.abs(scipy.ndimage.gaussian_filter1d(sums, width * CELLS, mode="reflect", truncate=8.0)).sum())

    if error(LEAST_WIDTH) <= LEAST_WIDTH:
        return error(LEAST_WIDTH)
    return float(scipy.optimize.brentq(lambda width: error(width) - width, LEAST_WIDTH, 1.0, xtol=1e-5))


@dataclass(frozen=True)
class Gap:
    """Accuracy less mean confidence of some rows, -1 to 1, with a 95 % interval; above 0 they are underconfident."""

    accuracy: float
    confidence: float
    value: float
    low: float
    high: float

    @property
    def words(self) -> str:
        """The gap and its interval in words, such as "confidence is 4.9 points below accuracy (4.4 to 5.3)"."""
        if self.low <= 0 <= self.high:
            ends = f"{100 * self.low:+.1f} to {100 * self.high:+.1f} points".replace("-", "−")
            return f"confidence and accuracy do not differ beyond chance (accuracy less confidence: {ends})"
        size = 100 * abs(self.value)
        low, high = sorted(100 * (end if self.value > 0 else -end) for end in (self.low, self.high))
        side = "below" if self.value > 0 else "above"
        return f"confidence is {size:.1f} points {side} accuracy ({low:.1f} to {high:.1f})"


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
