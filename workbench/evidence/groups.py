"""What a group of images has in common: the mean map, and whether the model needs what it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.statistics import LEAST, paired_interval
from workbench.attribution import guards
from workbench.attribution.targets import Targets, score
from workbench.core.records import Attribution, FloatArray, ImageArray, ProbabilityArray
from workbench.errors import AttributionError
from workbench.evidence import imputation
from workbench.evidence.pixels import scaled
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve

RANDOM_REGIONS = 5


def mean_map(attribution: Attribution) -> ProbabilityArray:
    """The mean of the maps ``(h, w)``, each divided by its largest magnitude so that no image dominates the others.

    Maps of zeros count as zeros.
    """
    mean: ProbabilityArray = scaled(attribution.values).mean(0).astype(np.float32)
    return mean


@dataclass(frozen=True)
class Effect:
    """What masking a region does to the explained output, compared with random regions of the same area.

    ``drop`` and ``control`` float64 ``(n,)``: fall of the output (logits) when the region, and when a random one of
    equal area and shape, is imputed. ``difference`` is the mean of drop less control with its 95 % interval ``low`` to
    ``high`` (`statistics.paired_interval`); ``share`` is the share of the area masked.
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
    mask: NDArray[np.bool_] = imputation.ranks(values[None], (side, side), (0,))[0] < count
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


@dataclass(frozen=True)
class SharedPlace:
    """Where a group's maps lie on average, and whether the model needs that place in images that did not find it.

    ``mean``: the mean map ``(h, w)`` of one half of the group; ``region`` bool ``(side, side)``: its highest values;
    ``effect``: masking that region in the other half; ``others``: in images beside the group, None without such.
    ``excess`` is how much larger the group's mean difference is than theirs, with its 95 % interval ``low`` to ``high``
    (Welch 1947, doi 10.1093/biomet/34.1-2.28); nan without others.
    """

    mean: ProbabilityArray
    region: NDArray[np.bool_]
    effect: Effect
    others: Effect | None
    excess: float
    low: float
    high: float

    @property
    def special(self) -> bool:
        """Whether the group relies on the place more than the images beside it do."""
        return self.effect.shown and self.low > 0


def shared_place(
    classifier: Classifier,
    maps: Attribution,
    images: ImageArray,
    others: tuple[ImageArray, Targets] | None = None,
    *,
    share: float = 0.15,
    seed: int = 0,
) -> SharedPlace:
    """The causal check of a group, with the place found on one half of its images and tested on the other.

    Testing the place on the images that found it would favour it; images beside the group are tested alike, since most
    objects lie in the middle and a model relies on that place for most images.

    Parameters
    ----------
    maps : Attribution
        A map of each of the group's ``n`` images, in an order that is random.
    images : uint8 array (n, side, side, 3)
    others : images uint8 (m, side, side, 3) and what is explained of them, optional
        Images beside the group, such as other errors, with targets of the same kind as the maps'.
    share : float
        Of the area that is masked.

    Raises
    ------
    AttributionError
        If there are fewer than ten images, or as `masking_effect`.
    """
    from scipy import stats

    if len(images) < 2 * LEAST:
        raise AttributionError(f"group: expected at least {2 * LEAST} images, not {len(images)}")
    half = len(images) // 2
    mean = mean_map(maps.part(slice(0, half)))
    region = region_of(mean, images.shape[1], share)
    against = None if maps.against is None else maps.against[half:]
    effect = masking_effect(classifier, images[half:], Targets(maps.targets[half:], against), region, seed=seed)
    if others is None or len(others[0]) < LEAST:
        return SharedPlace(mean, region, effect, None, float("nan"), float("nan"), float("nan"))
    beside = masking_effect(classifier, *others, region, seed=seed)
    test = stats.ttest_ind(effect.drop - effect.control, beside.drop - beside.control, equal_var=False)
    between = test.confidence_interval(0.95)
    excess = effect.difference - beside.difference
    return SharedPlace(mean, region, effect, beside, excess, float(between.low), float(between.high))


def _output(
    classifier: Classifier,
    images: ImageArray,
    targets: Targets,
    masks: NDArray[np.bool_] | None,
    seeds: tuple[int, ...],
) -> FloatArray:
    import torch

    from workbench.models.execution import products

    x = classifier.prepare(images)
    if masks is not None:
        x = imputation.impute(x, masks, seeds)
    of, against = targets.tensors(x.device)
    with preserve(classifier.module), torch.no_grad(), products(classifier.device, "float32"):
        parts = [
            score(classifier.module(part).float(), o, a)
            for part, o, a in zip(*(torch.split(values, 128) for values in (x, of, against)), strict=True)
        ]
    return np.asarray(torch.cat(parts).double().cpu().numpy())
