"""How the output follows maps pixel by pixel: deletion, insertion and ROAD, beside maps of other images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.attribution.targets import Targets
from workbench.core.records import FloatArray, ImageArray, Precision, ProbabilityArray
from workbench.evidence import imputation
from workbench.models.classifier import Classifier
from workbench.models.execution import products
from workbench.models.hooks import preserve

STEPS = 16
REMOVED = (0.1, 0.2, 0.3, 0.5, 0.7)
BATCH = 128
MEASURES = ("deletion", "insertion", "road")


@dataclass(frozen=True)
class Measures:
    """Three measures of maps, float64 ``(n,)``.

    ``deletion``: area under the target's probability while the most relevant pixels are blurred first, lower is
    better; ``insertion``: while they are the first to be restored into the blurred image, higher is better (Petsiuk
    et al. 2018, arXiv 1806.07421; the substrate is the image under a Gaussian of an eighth of its side, in 16
    steps). ``road``: the mean over 10, 20, 30, 50 and 70 % removed of the probability with the least relevant
    pixels removed less that with the most relevant ones removed, higher is better (Rong et al. 2022, arXiv
    2202.00449, both orders in one figure).
    """

    deletion: FloatArray
    insertion: FloatArray
    road: FloatArray

    def goodness(self, measure: str) -> FloatArray:
        """A measure with its sign turned so that higher is better."""
        values: FloatArray = getattr(self, measure)
        return -values if measure == "deletion" else values


@dataclass(frozen=True)
class Faithfulness:
    """The measures of ``n`` maps, and of maps of the same method that are not of these images.

    ``other``: the map of another of the images in place of each one's own; ``mean_map``: the mean of all the maps. Both
    have the method's spectrum and its bias towards the middle; of one image alone they are nan.
    """

    own: Measures
    other: Measures
    mean_map: Measures

    def gain(self, measure: str, control: str = "other") -> FloatArray:
        """How much better each map does than its control, ``other`` or ``mean_map``, float64 ``(n,)``."""
        difference: FloatArray = self.own.goodness(measure) - getattr(self, control).goodness(measure)
        return difference


def faithfulness(
    classifier: Classifier,
    images: ImageArray,
    maps: ProbabilityArray,
    targets: Targets,
    seeds: tuple[int, ...],
    precision: Precision = "float32",
) -> Faithfulness:
    """`Faithfulness` of maps ``(n, h, w)`` of images for targets; ``seeds`` of ties and noise.

    The probability is that of the target; for a contrast that of the target among the two classes alone.
    """

    def measured(values: ProbabilityArray) -> Measures:
        return Measures(*_measures(classifier, images, values, targets, seeds, precision))

    own = measured(maps)
    if len(maps) == 1:
        nothing = Measures(*(np.full(1, np.nan) for _ in MEASURES))
        return Faithfulness(own, nothing, nothing)
    mean = np.repeat(scaled(maps).mean(0, keepdims=True), len(maps), axis=0)
    return Faithfulness(own, measured(np.roll(maps, 1, axis=0)), measured(mean))


def scaled(maps: ProbabilityArray) -> ProbabilityArray:
    """Maps ``(n, h, w)``, each divided by its largest magnitude; maps of zeros stay zeros."""
    top = np.abs(maps).max((1, 2), keepdims=True)
    return np.asarray(np.divide(maps, top, out=np.zeros_like(maps), where=top > 0))


def _measures(
    classifier: Classifier,
    images: ImageArray,
    maps: ProbabilityArray,
    targets: Targets,
    seeds: tuple[int, ...],
    precision: Precision,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    order = imputation.ranks(maps, images.shape[1:3], seeds)
    soft = imputation.blur(images)
    pixels = images.shape[1] * images.shape[2]
    shares = imputation.shares(STEPS)

    def probability(x: Tensor) -> FloatArray:
        return probability_of(classifier, x, targets, precision)

    def mixed(share: float, front: ImageArray, back: ImageArray) -> FloatArray:
        return probability(classifier.prepare(np.where((order < round(share * pixels))[..., None], front, back)))

    deletion = np.stack([mixed(s, soft, images) for s in shares])
    insertion = np.stack([mixed(s, images, soft) for s in shares])
    x = classifier.prepare(images)
    gaps = []
    for share in REMOVED:
        count = round(share * pixels)
        most, least = order < count, order >= pixels - count
        kept, lost = (probability(imputation.impute(x, mask, seeds)) for mask in (least, most))
        gaps.append(kept - lost)
    return _area(deletion), _area(insertion), np.mean(gaps, axis=0)


def _area(curve: FloatArray) -> FloatArray:
    """Area under curves ``(steps + 1, n)`` over shares from 0 to 1, by trapezoids."""
    return np.asarray(np.trapezoid(curve, dx=1 / (len(curve) - 1), axis=0))


def probability_of(classifier: Classifier, x: Tensor, targets: Targets, precision: Precision = "float32") -> FloatArray:
    """The target's probability of each prepared image, float64 ``(n,)``; of a contrast, among its two classes."""
    return probability_in(logits_of(classifier, x, precision), targets)


def logits_of(classifier: Classifier, x: Tensor, precision: Precision = "float32") -> Tensor:
    """The logits float64 ``(n, K)`` of prepared images, batch by batch."""
    with preserve(classifier.module), torch.no_grad(), products(x.device, precision):
        return torch.cat([classifier.module(part).double() for part in torch.split(x, BATCH)])


def probability_in(logits: Tensor, targets: Targets) -> FloatArray:
    """As `probability_of`, of logits ``(n, K)``."""
    of, against = targets.tensors(logits.device)
    own = logits.gather(1, of[:, None])[:, 0]
    if targets.against is None:
        return np.asarray((own - logits.logsumexp(1)).exp().cpu().numpy())
    return np.asarray((own - logits.gather(1, against[:, None])[:, 0]).sigmoid().cpu().numpy())
