"""Scores of how foreign rows are to a model, and how well they tell foreign rows from its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from workbench.analysis.baselines import roc_auc
from workbench.analysis.neighbours import nearest
from workbench.core.records import FloatArray, ImageArray, ProbabilityArray
from workbench.errors import DataError

NEAREST, PROMISE = 10, 0.95


def energy(logits: ArrayLike) -> FloatArray:
    """The free energy ``-log sum_k exp(logit_k)`` of logits ``(n, K)``, float64 ``(n,)``; higher is more foreign.

    Liu et al. 2020, arXiv 2010.03759, equation 4 at temperature 1. Probabilities do not hold it: softmax removes what
    is common to all logits.
    """
    return np.asarray(-scipy.special.logsumexp(np.asarray(logits, np.float64), axis=1))


def distance(query: ProbabilityArray, reference: ProbabilityArray, *, k: int = NEAREST) -> FloatArray:
    """1 less the mean cosine similarity to the ``k`` nearest reference rows, float64 ``(n,)``; higher is more foreign.

    After the distance to the k-th neighbour of normalised features of Sun et al. 2022 (arXiv 2204.06507), as a mean.

    Raises
    ------
    DataError
        If the widths differ or there are no reference rows.
    """
    if len(reference) < 1:
        raise DataError("foreign rows: expected reference rows with embeddings")
    return np.asarray(1 - nearest(query, reference, min(k, len(reference))).similarity.mean(1), np.float64)


def ranks(scores: FloatArray, own: FloatArray) -> FloatArray:
    """The share of the model's own rows that are at least as foreign, float64 ``(n,)``, above 0 up to 1.

    The p-value of a conformal test that a row is one more of them (Bates et al. 2023, doi 10.1214/22-AOS2244).
    """
    below = np.searchsorted(np.sort(own), scores, side="left")
    return np.asarray((len(own) - below + 1) / (len(own) + 1))


@dataclass(frozen=True)
class Separation:
    """How well a score tells foreign rows from own ones.

    ``auc`` with its 95 % interval (DeLong): the chance that a foreign row scores above an own one; ``missed``: share of
    foreign rows among those that are accepted where 95 % of the own rows are (the false positive rate at 95 % true
    positives of the literature).
    """

    auc: float
    low: float
    high: float
    missed: float


def separation(own: FloatArray, foreign: FloatArray) -> Separation:
    """How well scores ``(n,)`` of own and ``(m,)`` of foreign rows are told apart; higher scores are more foreign."""
    value, low, high = roc_auc(foreign, own)
    return Separation(value, low, high, float((foreign <= np.quantile(own, PROMISE)).mean()))


def shuffled(image: ImageArray, generator: np.random.Generator, *, cells: int = 4) -> ImageArray:
    """An image, uint8 ``(H, W, 3)``, whose cells of a 4×4 grid change places: its parts without their arrangement."""
    height, width = (side // cells for side in image.shape[:2])
    if not height or not width:
        raise DataError(f"shuffled: expected at least {cells} pixels a side, not {image.shape[1]}×{image.shape[0]}")
    parts = image[: height * cells, : width * cells].reshape(cells, height, cells, width, 3).swapaxes(1, 2)
    mixed = parts.reshape(cells * cells, height, width, 3)[generator.permutation(cells * cells)]
    made = image.copy()
    made[: height * cells, : width * cells] = (
        mixed.reshape(cells, cells, height, width, 3).swapaxes(1, 2).reshape(height * cells, width * cells, 3)
    )
    return made


def scrambled(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    """An image, uint8 ``(H, W, 3)``, whose Fourier phases are random: its colours and spectrum without any shape.

    The same random phases are added in all channels, so that colours go on being related.
    """
    spectrum = np.fft.fft2(image.astype(np.float64), axes=(0, 1))
    turned = np.angle(np.fft.fft2(generator.normal(size=image.shape[:2])))[..., None]
    turned[0, 0] = 0  # the mean
    mixed = np.fft.ifft2(spectrum * np.exp(1j * turned), axes=(0, 1)).real
    return np.asarray(np.clip(np.round(mixed), 0, 255), np.uint8)
