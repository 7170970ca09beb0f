"""A temperature of the logits: fitted on some rows, judged on others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from workbench.analysis.calibration import proper_scores, reliability
from workbench.analysis.gaps import Gap, signed_gap
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.errors import DataError

SAMPLE = 100_000
CELLS = 2**24
TEMPERATURES = (0.05, 20.0)


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


def losses(log_probability: FloatArray, label: IntArray, temperature: float) -> FloatArray:
    """The NLL of each row's label under ``softmax(log P / T)``, float64 ``(n,)``."""
    scaled = log_probability / temperature
    top = scaled.max(1)
    whole = top + np.log(np.exp(scaled - top[:, None]).sum(1))
    return np.asarray(whole - np.take_along_axis(scaled, label[:, None], 1)[:, 0])


def fit_temperature(log_probability: FloatArray, label: IntArray) -> float:
    """The T that minimises the mean NLL of ``softmax(log P / T)``, from 0.05 to 20; a bound stands for values beyond.

    Guo et al. 2017 (arXiv 1706.04599, section 4.2): log probabilities are logits up to a constant of each row,
    which softmax ignores.
    """

    def loss(log_t: float) -> float:
        return float(losses(log_probability, label, float(np.exp(log_t))).mean())

    found = scipy.optimize.minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def scale(probability: ProbabilityArray, temperature: float) -> ProbabilityArray:
    """``softmax(log P / T)``, float32 ``(n, K)``."""
    scaled = log_probabilities(probability) / temperature
    shares = np.exp(scaled - scaled.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def log_probabilities(probability: ProbabilityArray) -> FloatArray:
    """Natural logarithms, float64 ``(n, K)``; of 0, that of the smallest float32 above it."""
    return np.log(np.maximum(probability, np.finfo(np.float32).smallest_subnormal).astype(np.float64))


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
