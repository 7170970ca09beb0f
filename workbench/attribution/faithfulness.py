"""Does the output follow the map? Deletion, insertion and ROAD, each beside a random and a blurred-random control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.attribution import imputation
from workbench.attribution.targets import Targets
from workbench.classifier import Classifier, untouched
from workbench.records import Attribution, FloatArray, ImageArray, ProbabilityArray

STEPS = 16
REMOVED = (0.1, 0.2, 0.3, 0.5, 0.7)
BATCH = 128
CONTROLS = ("random", "blurred random")


@dataclass(frozen=True)
class Faithfulness:
    """Three measures of each of ``n`` maps, float64 ``(n,)``, and of the two controls by name.

    ``deletion``: area under the target's probability while the most relevant pixels are blurred first, lower is better;
    ``insertion``: while they are the first to be restored into the blurred image, higher is better (Petsiuk et al. 2018,
    arXiv 1806.07421; the substrate is the image under a Gaussian of an eighth of its side, in 16 steps). ``road``: the
    mean over 10, 20, 30, 50 and 70 % removed of the probability with the least relevant pixels removed less that with
    the most relevant ones removed, higher is better (Rong et al. 2022, arXiv 2202.00449, both orders in one figure).
    """

    deletion: FloatArray
    insertion: FloatArray
    road: FloatArray
    controls: dict[str, Faithfulness]

    def gain(self, measure: str, control: str) -> FloatArray:
        """How much better each map does than its control, float64 ``(n,)``, positive for better."""
        mine, other = getattr(self, measure), getattr(self.controls[control], measure)
        difference: FloatArray = (other - mine) if measure == "deletion" else (mine - other)
        return difference


def faithfulness(classifier: Classifier, images: ImageArray, attribution: Attribution) -> Faithfulness:
    """`Faithfulness` of maps of the images uint8 ``(n, s, s, 3)`` they were made of.

    The probability is that of the target; for a contrast that of the target among the two classes alone.
    """
    side, seeds = images.shape[1], tuple(int(row) & 0x7FFFFFFF for row in attribution.rows)
    controls = {
        "random": imputation.random_maps(len(images), side, seeds),
        "blurred random": imputation.random_maps(
            len(images), side, seeds, sigma=imputation.smoothness(attribution, side)
        ),
    }
    targets = Targets(attribution.targets, attribution.against)
    measured = {name: _measures(classifier, images, maps, targets, seeds) for name, maps in controls.items()}
    return Faithfulness(
        *_measures(classifier, images, attribution.values, targets, seeds),
        {name: Faithfulness(*values, {}) for name, values in measured.items()},
    )


def _measures(
    classifier: Classifier, images: ImageArray, maps: ProbabilityArray, targets: Targets, seeds: tuple[int, ...]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    order = imputation.ranks(maps, images.shape[1], seeds)
    soft = imputation.blurred(images)
    pixels = images.shape[1] * images.shape[2]
    shares = imputation.shares(STEPS)

    def mixed(share: float, front: ImageArray, back: ImageArray) -> ImageArray:
        return np.where((order < round(share * pixels))[..., None], front, back)

    deletion = np.stack([_probability(classifier, mixed(s, soft, images), targets) for s in shares])
    insertion = np.stack([_probability(classifier, mixed(s, images, soft), targets) for s in shares])
    x = classifier.prepare(images)
    gaps = []
    for share in REMOVED:
        count = round(share * pixels)
        most, least = order < count, order >= pixels - count
        kept, lost = (_of_tensor(classifier, imputation.imputed(x, mask, seeds), targets) for mask in (least, most))
        gaps.append(kept - lost)
    return _area(deletion), _area(insertion), np.mean(gaps, axis=0)


def _area(curve: FloatArray) -> FloatArray:
    """Area under curves ``(steps + 1, n)`` over shares from 0 to 1, by trapezoids."""
    area: FloatArray = np.trapezoid(curve, dx=1 / (len(curve) - 1), axis=0)
    return area


def _probability(classifier: Classifier, images: ImageArray, targets: Targets) -> FloatArray:
    return _of_tensor(classifier, classifier.prepare(images), targets)


def _of_tensor(classifier: Classifier, x: Tensor, targets: Targets) -> FloatArray:
    """The target's probability of each image, float64 ``(n,)``; of a contrast, among its two classes."""
    of, against = targets.tensors(x.device)
    found = []
    with untouched(classifier.module), torch.no_grad():
        for first in range(0, len(x), BATCH):
            part = slice(first, first + BATCH)
            logits = classifier.module(x[part]).double()
            own = logits.gather(1, of[part, None])[:, 0]
            if targets.against is None:
                found.append((own - logits.logsumexp(1)).exp())
            else:
                found.append((own - logits.gather(1, against[part, None])[:, 0]).sigmoid())
    return np.asarray(torch.cat(found).cpu().numpy())


Attribute = Callable[[ImageArray], Attribution]


def stability(classifier: Classifier, images: ImageArray, compute: Attribute, *, noise: float = 2.0) -> FloatArray:
    """Spearman's correlation of each map with that of the image under tiny noise, float64 ``(n,)``.

    Gaussian noise of ``noise`` grey levels of 255 on every pixel, mean of three draws: under it the picture is the same to
    the eye, and an explanation should be too (the question of Alvarez-Melis & Jaakkola 2018, arXiv 1806.08049).
    A map of one value only has no order: nan.
    """
    base = compute(images)
    found = []
    for draw in range(3):
        moved = np.empty_like(images)
        for k, row in enumerate(base.rows):
            drawn = np.random.default_rng((int(row), draw)).normal(0, noise, images[k].shape)
            moved[k] = np.clip(np.rint(images[k] + drawn), 0, 255).astype(np.uint8)
        found.append(rank_correlation(base.values, compute(moved).values))
    return np.asarray(np.mean(found, axis=0))


def rank_correlation(first: ProbabilityArray, second: ProbabilityArray, *, absolute: bool = False) -> FloatArray:
    """Spearman's rank correlation of maps ``(n, h, w)``, pair by pair, float64 ``(n,)``; nan for a map of one value."""
    from scipy import stats

    a, b = (np.abs(v) if absolute else v for v in (first, second))
    ranked = [stats.rankdata(v.reshape(len(v), -1), axis=1) for v in (a, b)]
    centred = [r - r.mean(1, keepdims=True) for r in ranked]
    lengths = [np.linalg.norm(c, axis=1) for c in centred]
    product = lengths[0] * lengths[1]
    dots = (centred[0] * centred[1]).sum(1)
    return np.divide(dots, product, out=np.full(len(dots), np.nan), where=product > 0)


def paired_interval(values: NDArray[np.float64], *, seed: int = 0, resamples: int = 2000) -> tuple[float, float, float]:
    """Mean of paired differences ``(n,)`` with its 95 % percentile bootstrap interval over the images; nan left out."""
    kept = values[np.isfinite(values)]
    if len(kept) == 0:
        return float("nan"), float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(0, len(kept), (resamples, len(kept)))
    low, high = np.percentile(kept[drawn].mean(1), [2.5, 97.5])
    return float(kept.mean()), float(low), float(high)
