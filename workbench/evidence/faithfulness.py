"""Whether the output follows the map: deletion, insertion and ROAD against random and blurred-random controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.attribution import guards
from workbench.attribution.targets import Targets, seeds_of
from workbench.core.records import Attribution, FloatArray, ImageArray, IntArray, Precision, ProbabilityArray
from workbench.evidence import imputation
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve

STEPS = 16
REMOVED = (0.1, 0.2, 0.3, 0.5, 0.7)
BATCH = 128
DRAWS = 3
MEASURES = ("deletion", "insertion", "road")


@dataclass(frozen=True)
class Measures:
    """Three measures of maps, float64 ``(n,)``, or ``(draws, n)`` for controls.

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
    """The measures of ``n`` maps, and of three random and three blurred-random maps of each image."""

    measures: Measures
    controls: Mapping[str, Measures]

    def gain(self, measure: str, control: str) -> FloatArray:
        """How much better each map does than the mean of its controls, float64 ``(n,)``, positive for better."""
        difference: FloatArray = self.measures.goodness(measure) - self.controls[control].goodness(measure).mean(0)
        return difference

    def beats(self, measure: str) -> NDArray[np.bool_]:
        """Whether each map does better than all of its controls, bool ``(n,)``.

        With three draws of each of two controls, a map that is no better passes about one time in seven.
        """
        best = np.max([c.goodness(measure).max(0) for c in self.controls.values()], axis=0)
        passed: NDArray[np.bool_] = self.measures.goodness(measure) > best
        return passed


class Bench:
    """Images and what is explained of them, on which maps are tested; each control is measured once.

    Parameters
    ----------
    images : uint8 array (n, s, s, 3)
    rows : int64 array (n,)
        Row ids: they seed ties, noise and controls.
    precision : "float32" or "bfloat16"
        Of the model's products, for the maps and for their measures.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: ImageArray,
        rows: IntArray,
        targets: Targets,
        precision: Precision = "float32",
    ) -> None:
        guards.check_request(classifier, images, rows, targets)
        self.classifier, self.images, self.rows, self.targets = classifier, images, rows, targets
        self.precision, self.seeds = precision, seeds_of(rows)
        self._controls: dict[float, Measures] = {}

    def faithfulness(self, attribution: Attribution) -> Faithfulness:
        """`Faithfulness` of maps of these images for these targets.

        The probability is that of the target; for a contrast that of the target among the two classes alone.
        """
        sigma = imputation.smoothness(attribution.values, self.images.shape[1])
        return Faithfulness(
            self._measured(attribution.values), {"random": self._control(0), "blurred random": self._control(sigma)}
        )

    def _control(self, sigma: float) -> Measures:
        if sigma not in self._controls:
            side = self.images.shape[1]
            draws = [
                self._measured(imputation.random_maps(side, self.seeds, draw, sigma=sigma)) for draw in range(DRAWS)
            ]
            self._controls[sigma] = Measures(*(np.stack([getattr(d, name) for d in draws]) for name in MEASURES))
        return self._controls[sigma]

    def _measured(self, maps: ProbabilityArray) -> Measures:
        device = self.classifier.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return Measures(*_measures(self.classifier, self.images, maps, self.targets, self.seeds))


def _measures(
    classifier: Classifier, images: ImageArray, maps: ProbabilityArray, targets: Targets, seeds: tuple[int, ...]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    order = imputation.ranks(maps, images.shape[1], seeds)
    soft = imputation.blur(images)
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
        kept, lost = (_of_tensor(classifier, imputation.impute(x, mask, seeds), targets) for mask in (least, most))
        gaps.append(kept - lost)
    return _area(deletion), _area(insertion), np.mean(gaps, axis=0)


def _area(curve: FloatArray) -> FloatArray:
    """Area under curves ``(steps + 1, n)`` over shares from 0 to 1, by trapezoids."""
    return np.asarray(np.trapezoid(curve, dx=1 / (len(curve) - 1), axis=0))


def _probability(classifier: Classifier, images: ImageArray, targets: Targets) -> FloatArray:
    return _of_tensor(classifier, classifier.prepare(images), targets)


def _of_tensor(classifier: Classifier, x: Tensor, targets: Targets) -> FloatArray:
    """The target's probability of each image, float64 ``(n,)``; of a contrast, among its two classes."""
    of, against = targets.tensors(x.device)
    found = []
    with preserve(classifier.module), torch.no_grad():
        for first in range(0, len(x), BATCH):
            part = slice(first, first + BATCH)
            logits = classifier.module(x[part]).double()
            own = logits.gather(1, of[part, None])[:, 0]
            if targets.against is None:
                found.append((own - logits.logsumexp(1)).exp())
            else:
                found.append((own - logits.gather(1, against[part, None])[:, 0]).sigmoid())
    return np.asarray(torch.cat(found).cpu().numpy())
