"""More errors in a group than among comparable rows: counts within strata, brought together by Mantel and Haenszel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from workbench.analysis.statistics import wilson_interval
from workbench.core.records import FloatArray, IntArray
from workbench.errors import DataError

Mask = NDArray[np.bool_]
EXACT_BELOW = 25.0  # variance of the count from which the normal approximation is used


@dataclass(frozen=True)
class Strata:
    """Counts within S strata, int64 ``(S,)``: errors and rows inside of a group, and of the other rows."""

    errors: IntArray
    rows: IntArray
    other_errors: IntArray
    other_rows: IntArray

    @classmethod
    def of(cls, inside: Mask, wrong: Mask, strata: IntArray) -> Strata:
        """Counts of the rows ``(N,)`` by the number of their stratum, such as their class."""
        size = int(strata.max(initial=-1)) + 1

        def counts(mask: Mask) -> IntArray:
            return np.bincount(strata[mask], minlength=size)

        return cls(counts(inside & wrong), counts(inside), counts(~inside & wrong), counts(~inside))


@dataclass(frozen=True)
class Excess:
    """How much more often a group's rows are misclassified than comparable ones.

    ``rate`` and ``like_rate``: error rates of the group and of the other rows, both weighted over the strata by
    Mantel and Haenszel; ``difference`` is ``rate - like_rate`` with its 95 % interval; ``p_value`` is one-sided, for
    more errors in the group. ``rows`` and ``errors``: the group's own, as they are.
    """

    rows: int
    errors: int
    rate: float
    like_rate: float
    difference: float
    low: float
    high: float
    p_value: float


def excess(counts: Strata) -> Excess:
    """The Mantel-Haenszel risk difference of errors, and the conditional test that it is above 0.

    The difference weights each stratum with ``n1 n0 / n`` (Greenland & Robins 1985, doi 10.2307/2530643). Its interval
    is the stratified one of Newcombe (Yan & Su 2010, doi 10.1198/sbr.2009.0049, with these weights): Wilson's
    of both weighted rates, each with the number of rows that gives it its variance, brought together as Newcombe does
    for a difference. It covers for rare errors, where one from the variance of the difference does not. The test is
    that of Mantel & Haenszel 1959 (doi 10.1093/jnci/22.4.719): given the margins of each stratum the group's errors are
    a sum of hypergeometric counts; their exact distribution counts up to a variance of 25, and beyond it the normal one
    with continuity correction. Strata without rows on one side tell nothing and do not count. Without any stratum to
    compare in, rates are nan, the interval -1 to 1 and p is 1.

    Raises
    ------
    DataError
        If a count is negative, or there are more errors than rows.
    """
    given = (counts.errors, counts.rows, counts.other_errors, counts.other_rows)
    if min(x.min(initial=0) for x in given) < 0 or (given[0] > given[1]).any() or (given[2] > given[3]).any():
        raise DataError("strata: expected 0 <= errors <= rows in each")
    rows, errors = int(counts.rows.sum()), int(counts.errors.sum())
    both = (counts.rows > 0) & (counts.other_rows > 0)
    if not both.any():
        return Excess(rows, errors, np.nan, np.nan, np.nan, -1.0, 1.0, 1.0)
    a, n1, b, n0 = (x[both].astype(np.float64) for x in given)
    n = n1 + n0
    weight = n1 * n0 / n
    weight /= weight.sum()
    rate, rate_low, rate_high = _weighted(a, n1, weight)
    like, like_low, like_high = _weighted(b, n0, weight)
    low = rate - like - np.hypot(rate - rate_low, like_high - like)
    high = rate - like + np.hypot(rate_high - rate, like - like_low)
    return Excess(rows, errors, rate, like, rate - like, float(low), float(high), more_errors(a, n1, b, n0))


def _weighted(hits: FloatArray, rows: FloatArray, weight: FloatArray) -> tuple[float, float, float]:
    """A weighted rate over strata and Wilson's interval for as many rows as have its variance."""
    value, size = float((weight * hits / rows).sum()), float(1 / (weight**2 / rows).sum())
    low, high = wilson_interval(min(value, 1.0) * size, size)
    return value, float(low), float(high)


def more_errors(a: FloatArray, n1: FloatArray, b: FloatArray, n0: FloatArray) -> float:
    """One-sided p-value that a group has as many errors, or more, given each stratum's margins; see `excess`."""
    n, m = n1 + n0, a + b
    expected = (n1 * m / n).sum()
    variance = float((n1 * n0 * m * (n - m) / (n**2 * np.maximum(n - 1, 1))).sum())
    if variance == 0:
        return 1.0
    if variance >= EXACT_BELOW:
        return float(scipy.stats.norm.sf((a.sum() - expected - 0.5) / np.sqrt(variance)))
    lowest, whole = 0, np.ones(1)
    for total, hits, drawn in zip(n.astype(int), m.astype(int), n1.astype(int), strict=True):
        first, last = max(0, drawn + hits - total), min(hits, drawn)
        whole = np.convolve(whole, scipy.stats.hypergeom.pmf(np.arange(first, last + 1), total, hits, drawn))
        lowest += first
    return float(min(1.0, whole[max(0, round(float(a.sum())) - lowest) :].sum()))
