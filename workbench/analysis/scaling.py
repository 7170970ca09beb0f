"""A temperature of the logits: the loss under it, the one that fits rows best, and probabilities after it."""

from __future__ import annotations

import numpy as np
import scipy

from workbench.core.records import FloatArray, IntArray, ProbabilityArray

TEMPERATURES = (0.05, 20.0)


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
