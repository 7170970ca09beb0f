"""Intervals and tests that the other analyses share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from workbench.core.records import FloatArray, IntArray, Rate
from workbench.errors import DataError

Z_95 = 1.959963984540054
RESAMPLES = 2000
LEAST, BOOTSTRAPPED = 5, 20  # values of which a mean has an interval, and one by bootstrap


def wilson_interval(successes: ArrayLike, trials: ArrayLike, z: float = Z_95) -> tuple[FloatArray, FloatArray]:
    """Lower and upper bound float64 of the Wilson score interval, 95 % by default.

    Wilson 1927, doi 10.1080/01621459.1927.10502953, without continuity correction. Zero trials give 0 to 1.

    Raises
    ------
    DataError
        If successes are not between 0 and trials.
    """
    k, n = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    if np.any((k < 0) | (k > n)):
        raise DataError("Wilson interval: expected 0 <= successes <= trials")
    safe = np.maximum(n, 1)
    rate = k / safe
    centre = (rate + z**2 / (2 * safe)) / (1 + z**2 / safe)
    half = z / (1 + z**2 / safe) * np.sqrt(rate * (1 - rate) / safe + z**2 / (4 * safe**2))
    low = np.where((n == 0) | (k == 0), 0.0, centre - half)
    high = np.where((n == 0) | (k == n), 1.0, centre + half)
    return low, high


def proportion(successes: IntArray, trials: IntArray) -> Rate:
    """Shares with their 95 % Wilson intervals; nan with 0 to 1 where there are no trials."""
    value = np.divide(successes, trials, out=np.full(np.shape(trials), np.nan), where=np.asarray(trials) > 0)
    return Rate(value, *wilson_interval(successes, trials))


def newcombe(first: int, of_first: int, second: int, of_second: int) -> tuple[float, float, float]:
    """The difference of two independent shares, first less second, and its 95 % interval.

    Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I, method 10: Wilson's intervals
    of both, brought together; without continuity correction.

    Raises
    ------
    DataError
        If a share is of no rows, or a count lies beyond its rows.
    """
    if min(of_first, of_second) < 1:
        raise DataError("difference of shares: expected at least one row on both sides")
    p, q = first / of_first, second / of_second
    (p_low, q_low), (p_high, q_high) = wilson_interval([first, second], [of_first, of_second])
    low = p - q - np.hypot(p - p_low, q_high - q)
    high = p - q + np.hypot(p_high - p, q - q_low)
    return p - q, float(low), float(high)


def percentile_interval(samples: FloatArray, axis: int = 0) -> tuple[FloatArray, FloatArray]:
    """The 2.5th and 97.5th percentile over ``axis``: Efron's percentile bootstrap interval at 95 %.

    Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13. Values that are nan (a statistic
    that a resample leaves undefined) are omitted; where all are nan, so are the bounds.
    """
    defined = ~np.isnan(samples).all(axis=axis)
    filled = np.where(np.expand_dims(defined, axis), samples, 0.0)
    low, high = np.nanpercentile(filled, [2.5, 97.5], axis=axis)
    return np.where(defined, low, np.nan), np.where(defined, high, np.nan)


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray:
    """P-values adjusted for the false discovery rate, of the same shape; nan (no test made) stays nan.

    Benjamini & Hochberg 1995, doi 10.1111/j.2517-6161.1995.tb02031.x, by SciPy.
    """
    values = np.asarray(p_values, np.float64)
    adjusted = np.full(values.shape, np.nan)
    tested = ~np.isnan(values)
    if tested.any():
        adjusted[tested] = scipy.stats.false_discovery_control(values[tested], method="bh")
    return adjusted


def sign_test(first: int, second: int) -> float:
    """Two-sided exact p-value that two counts come from an even split; 1 if both are 0.

    The binomial test of ``first`` in ``first + second`` at one half (Conover 1999, section 3.4).
    """
    total = first + second
    return 1.0 if total == 0 else float(scipy.stats.binomtest(first, total, 0.5).pvalue)


@dataclass(frozen=True)
class McNemar:
    """McNemar's test: discordant counts and p-values.

    ``exact`` is the binomial one; ``corrected`` and ``uncorrected`` come from chi-square with and without
    Edwards' continuity correction and are nan if no pair is discordant. ``p_value`` is the one to read.
    """

    first_only: int
    second_only: int
    exact: float
    chi2_corrected: float
    corrected: float
    chi2_uncorrected: float
    uncorrected: float

    @property
    def p_value(self) -> float:
        """The exact p-value, which holds for any number of discordant pairs."""
        return self.exact


def mcnemar(first_only: int, second_only: int) -> McNemar:
    """McNemar's test of two counts of discordant pairs, such as rows for which only one of two models is correct.

    McNemar 1947, doi 10.1007/BF02295996; correction of Edwards 1948, doi 10.1007/BF02289261.

    Raises
    ------
    DataError
        If a count is negative.
    """
    if min(first_only, second_only) < 0:
        raise DataError(f"McNemar: expected counts of at least 0, not {first_only} and {second_only}")
    total, gap = first_only + second_only, abs(first_only - second_only)
    corrected = max(gap - 1, 0) ** 2 / total if total else np.nan
    uncorrected = gap**2 / total if total else np.nan
    return McNemar(
        first_only,
        second_only,
        sign_test(first_only, second_only),
        float(corrected),
        float(scipy.stats.chi2.sf(corrected, 1)),
        float(uncorrected),
        float(scipy.stats.chi2.sf(uncorrected, 1)),
    )


def paired_interval(values: FloatArray, *, seed: int = 0, resamples: int = 2000) -> tuple[float, float, float]:
    """Mean of paired differences ``(n,)`` with its 95 % interval over the images; nan is omitted.

    From 20 images on, it is the percentile bootstrap (Efron 1979, doi 10.1214/aos/1176344552); for fewer, where that is
    too narrow, Student's t; for fewer than five the interval is nan, as nothing can be said.
    """
    kept = values[np.isfinite(values)]
    nothing = float("nan")
    if len(kept) == 0:
        return nothing, nothing, nothing
    mean = float(kept.mean())
    if len(kept) < LEAST:
        return mean, nothing, nothing
    if len(kept) < BOOTSTRAPPED:
        half = float(scipy.stats.t.ppf(0.975, len(kept) - 1) * kept.std(ddof=1) / np.sqrt(len(kept)))
        return mean, mean - half, mean + half
    drawn = np.random.default_rng(seed).integers(0, len(kept), (resamples, len(kept)))
    low, high = np.percentile(kept[drawn].mean(1), [2.5, 97.5])
    return mean, float(low), float(high)
