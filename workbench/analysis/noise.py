"""How many labels a model's probabilities contradict beyond what its own uncertainty allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.errors import DataError

LOWEST, HIGHEST = -12.0, 3.0  # of the logit of the share
OWN = 200  # rows from which a predicted class has a separate temperature
TEMPERATURES = (0.05, 20.0)
GRID, REACH = 25, 1.0  # temperatures that are tried first, and how far the search goes from the best (log)
TINY = np.finfo(np.float32).smallest_subnormal


@dataclass(frozen=True)
class Exchanged:
    """Labels that look exchanged.

    ``share``: estimated share of rows whose label was exchanged for another class, with its 95 % interval ``low`` to
    ``high``; ``p_value``: of the test that there are none; ``posterior`` float64 ``(N,)``: for each row the probability
    that its label was exchanged.
    """

    share: float
    low: float
    high: float
    p_value: float
    posterior: FloatArray


def exchanged_labels(probability: ProbabilityArray, label: IntArray) -> Exchanged:
    """The share of labels that were exchanged, by maximum likelihood, from probabilities ``(N, K)`` and labels.

    The model: a label is drawn from the model's probabilities, softened or sharpened by a temperature, but with
    probability ε from all classes alike (symmetric noise; Angluin & Laird 1988, doi 10.1023/A:1022873112823). They
    are fitted together, with a temperature for each predicted class of at least 200 rows, so that miscalibration, even
    that of one class, is not taken up as noise. The test is the likelihood ratio of ε = 0, whose distribution at the
    bound is half a chi-square with one degree of freedom (Self & Liang 1987, doi 10.1080/01621459.1987.10478472); the
    interval is that of the profile likelihood. The posterior is a local false discovery rate turned around (Efron
    2004, doi 10.1198/016214504000000089).

    It is an upper limit where the model is confidently wrong more often than temperatures can express. A model that
    was trained with label smoothing expects such rows itself: then few or none are found.

    Raises
    ------
    DataError
        If there are no rows.
    """
    if len(label) == 0:
        raise DataError("labels: expected at least one row")
    logs = np.log(np.maximum(probability, TINY).astype(np.float64))
    classes = logs.shape[1]
    alike = _alike(logs.argmax(1))
    parts = [_Part(logs[rows], label[rows]) for rows in alike]

    def profile(logit: float) -> float:
        return sum(part.fit(float(scipy.special.expit(logit)))[0] for part in parts)

    none = sum(part.fit(0.0)[0] for part in parts)
    found = scipy.optimize.minimize_scalar(profile, bounds=(LOWEST, HIGHEST), method="bounded", options={"xatol": 1e-2})
    lowest, noise = float(found.fun), float(scipy.special.expit(found.x))
    if lowest >= none:
        lowest, noise = none, 0.0
    posterior = np.empty(len(label))
    for rows, part in zip(alike, parts, strict=True):
        chance = part.of_label(part.fit(noise)[1])
        drawn = (noise / classes) / np.maximum((1 - noise) * chance + noise / classes, 1e-300)
        posterior[rows] = drawn * (1 - chance)  # a label that was drawn anew may be the true one
    ratio = 2 * (none - lowest)
    p_value = float(scipy.stats.chi2.sf(ratio, 1) / 2) if ratio > 0 else 1.0
    off = (classes - 1) / classes  # drawn from all classes alike, so that a K-th keeps its label
    low, high = _bounds(profile, lowest, noise, none)
    return Exchanged(off * noise, off * low, off * high, p_value, posterior)


def _alike(predicted: IntArray) -> list[IntArray]:
    """Positions of the rows of each predicted class with `OWN` rows or more, and of all others together."""
    counts = np.bincount(predicted)
    parts = [np.flatnonzero(predicted == k) for k in np.flatnonzero(counts >= OWN)]
    rest = np.flatnonzero(counts[predicted] < OWN)
    return [*parts, rest] if len(rest) else parts


class _Part:
    """Rows that share a temperature: log probabilities ``(n, K)`` and labels ``(n,)``."""

    def __init__(self, logs: FloatArray, label: IntArray) -> None:
        self.logs, self.label, self.classes = logs, label, logs.shape[1]
        low, high = (float(bound) for bound in np.log(TEMPERATURES))
        grid = np.linspace(low, high, GRID)
        best = float(grid[int(np.argmin([self._loss(t, 0.0) for t in grid]))])
        # the loss has several hollows for a small share: it is followed from the best one without any
        self.bounds = max(low, best - REACH), min(high, best + REACH)

    def of_label(self, log_t: float) -> FloatArray:
        """The probability of each row's label at a temperature."""
        scaled = self.logs / np.exp(log_t)
        own = scaled[np.arange(len(self.label)), self.label]
        return np.asarray(np.exp(own - scipy.special.logsumexp(scaled, axis=1)))

    def _loss(self, log_t: float, noise: float) -> float:
        chance = (1 - noise) * self.of_label(log_t) + noise / self.classes
        return -float(np.log(np.maximum(chance, 1e-300)).sum())

    def fit(self, noise: float) -> tuple[float, float]:
        """The least negative log-likelihood over temperatures, and the logarithm of that temperature."""
        found = scipy.optimize.minimize_scalar(
            lambda t: self._loss(t, noise), bounds=self.bounds, method="bounded", options={"xatol": 1e-3}
        )
        return float(found.fun), float(found.x)


def _bounds(profile: Callable[[float], float], lowest: float, noise: float, none: float) -> tuple[float, float]:
    """Where twice the profile of the loss lies 3.84 above its lowest point, as shares."""
    allowed = lowest + float(scipy.stats.chi2.ppf(0.95, 1)) / 2

    def above(logit: float) -> float:
        return profile(logit) - allowed

    middle = float(np.clip(scipy.special.logit(noise), LOWEST, HIGHEST)) if noise else LOWEST
    low = 0.0
    if none > allowed and above(LOWEST) > 0 > above(middle):
        low = float(scipy.special.expit(scipy.optimize.brentq(above, LOWEST, middle, xtol=1e-2)))
    if above(HIGHEST) <= 0 or above(middle) >= 0:
        return low, 1.0
    return low, float(scipy.special.expit(scipy.optimize.brentq(above, middle, HIGHEST, xtol=1e-2)))
