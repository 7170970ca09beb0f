"""What a group of images has in common: the mean map, and whether the model needs what it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.attribution import guards
from workbench.attribution.targets import Targets, score
from workbench.core.records import Attribution, FloatArray, ImageArray, ProbabilityArray
from workbench.errors import AttributionError
from workbench.evidence import imputation
from workbench.evidence.faithfulness import paired_interval
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve

RANDOM_REGIONS = 5


def mean_map(attribution: Attribution) -> ProbabilityArray:
    """The mean of the maps ``(h, w)``, each divided by its largest magnitude so that no image dominates the others.

    Maps of zeros count as zeros.
    """
    top = np.abs(attribution.values).max((1, 2), keepdims=True)
    scaled = np.divide(attribution.values, top, out=np.zeros_like(attribution.values), where=top > 0)
    mean: ProbabilityArray = scaled.mean(0).astype(np.float32)
    return mean


@dataclass(frozen=True)
class Effect:
    """What masking a region does to the explained output, compared with random regions of the same area.

    ``drop`` and ``control`` float64 ``(n,)``: fall of the output (logits) when the region, and when a random one of
    equal area and shape, is imputed. ``difference`` is the mean of drop less control with its 95 % interval ``low`` to
    ``high`` (`faithfulness.paired_interval`); ``share`` is the share of the area masked.
    """

    drop: FloatArray
    control: FloatArray
    difference: float
    low: float
    high: float
    share: float

    @property
    def shown(self) -> bool:
        """Whether the model relies on the region more than on others: the interval lies above 0."""
        return self.low > 0


def region_of(values: ProbabilityArray, side: int, share: float) -> NDArray[np.bool_]:
    """The ``share`` of pixels with the highest values of a map ``(h, w)``, bool ``(side, side)``; ties by `ranks`."""
    count = round(share * side * side)
    mask: NDArray[np.bool_] = imputation.ranks(values[None], side, (0,))[0] < count
    return mask


def masking_effect(
    classifier: Classifier,
    images: ImageArray,
    targets: Targets,
    region: NDArray[np.bool_],
    *,
    seed: int = 0,
) -> Effect:
    """The causal check of a group: whether the model needs the region ``(side, side)`` for its output.

    Masked pixels are filled by noisy linear imputation (see `imputation.impute`). The control is the same region moved
    to random places, wrapped at the edges, so that its area and shape are equal; the mean over five of them.

    Raises
    ------
    AttributionError
        If the region is empty, everything, or not of the images' size, or a target is missing or out of range.
    """
    guards.check_request(classifier, images, np.arange(len(images)), targets)
    if region.shape != images.shape[1:3]:
        raise AttributionError(f"region: expected {images.shape[1:3]} as the images, not {region.shape}")
    if not 0 < region.mean() < 1:
        raise AttributionError("region: expected some of the pixels, not none or all")
    generator = np.random.default_rng(seed)
    seeds = tuple(range(len(images)))
    whole = _output(classifier, images, targets, None, seeds)
    drop = whole - _output(classifier, images, targets, np.repeat(region[None], len(images), axis=0), seeds)
    controls = []
    for _ in range(RANDOM_REGIONS):
        moved = np.stack([np.roll(region, generator.integers(0, region.shape, 2), (0, 1)) for _ in images])
        controls.append(whole - _output(classifier, images, targets, moved, seeds))
    control: FloatArray = np.mean(controls, axis=0)
    return Effect(drop, control, *paired_interval(drop - control, seed=seed), float(region.mean()))


def _output(
    classifier: Classifier,
    images: ImageArray,
    targets: Targets,
    masks: NDArray[np.bool_] | None,
    seeds: tuple[int, ...],
) -> FloatArray:
    import torch

    x = classifier.prepare(images)
    if masks is not None:
        x = imputation.impute(x, masks, seeds)
    of, against = targets.tensors(x.device)
    with preserve(classifier.module), torch.no_grad():
        parts = [
            score(classifier.module(part).float(), o, a)
            for part, o, a in zip(*(torch.split(values, 128) for values in (x, of, against)), strict=True)
        ]
    return np.asarray(torch.cat(parts).double().cpu().numpy())
