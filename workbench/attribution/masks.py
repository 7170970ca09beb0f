"""Attributions by many random masks: RISE, and Shapley values of superpixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.attribution.batch import Batch, Scored
from workbench.attribution.gradient import PASSES_AT_ONCE, change_from, each, starting_points
from workbench.core.records import ImageArray
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier

_COMPACT = 0.5  # weight of place against colour


def rise(classifier: Classifier, batch: Batch, settings: dict[str, Any]) -> tuple[Tensor, None]:
    """RISE ``(n, h, w)``: the mean of random masks, each weighted by the output for what it keeps of the image.

    Petsiuk et al. 2018 (arXiv 1806.07421), equation 6: a mask is a grid of cells, kept with probability ``kept``,
    enlarged bilinearly and shifted at random; what it hides shows the baseline (the mean colour, to which the paper's 0
    normalises). The mean output over the masks is subtracted from each: in expectation this takes a constant off the
    map, and with it the noise of that constant. The explained output is a logit or a lead, not the paper's probability.

    Raises
    ------
    AttributionError
        If ``kept`` is no share between 0 and 1, or there are fewer than two masks.
    """
    kept, count = settings["kept"], settings["masks"]
    if not 0 < kept < 1 or count < 2:
        raise AttributionError(
            f"RISE: expected a share kept between 0 and 1, and 2 masks or more, not {kept} and {count}"
        )
    starts = starting_points(classifier, batch.pixels, settings["baseline"])
    height, width = (int(side) for side in batch.x.shape[2:])
    maps = []
    with torch.no_grad():
        for k, seed in enumerate(batch.seeds):
            drawn = torch.from_numpy(random_masks(seed, count, settings["cells"], kept, (height, width)))
            drawn = drawn.to(batch.x.device)
            outputs = []
            for part in torch.split(drawn, PASSES_AT_ONCE):
                shown = part[:, None] * batch.x[k] + (1 - part[:, None]) * starts[k]
                of, against = (values[k].expand(len(part)) for values in batch.extra)
                outputs.append(Scored(classifier.module)(shown, of, against))
            output = torch.cat(outputs)
            with torch.autocast(batch.x.device.type, enabled=False):
                maps.append(torch.einsum("m,mhw->hw", output - output.mean(), drawn) / (count * kept))
    return torch.stack(maps), None


def random_masks(seed: int, count: int, cells: int, kept: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """RISE's masks, float32 ``(count, h, w)`` from 0 to 1, for an image of ``size``; mean ``kept``."""
    rng = np.random.default_rng(seed)
    cells = min(cells, *size)
    sides = [-(-side // cells) for side in size]
    large = [(cells + 1) * side for side in sides]
    masks = np.empty((count, *size), np.float32)
    grids = (rng.random((count, cells + 1, cells + 1)) < kept).astype(np.float32)
    shifts = np.stack([rng.integers(0, side, count) for side in sides], axis=1)
    for mask, grid, (down, right) in zip(masks, grids, shifts, strict=True):
        enlarged = cv2.resize(grid, (large[1], large[0]), interpolation=cv2.INTER_LINEAR)
        mask[:] = enlarged[down : down + size[0], right : right + size[1]]
    return masks


def kernel_shap(classifier: Classifier, batch: Batch, settings: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Shapley values of an image's superpixels by KernelSHAP, each pixel with a share of its superpixel's; the total.

    Lundberg & Lee 2017: a linear model of the output over random subsets of superpixels, weighted by the Shapley
    kernel; the others show the baseline. The pixels' values sum to the output's change from the baseline.

    Raises
    ------
    AttributionError
        If there are fewer than two segments, or not more masks than segments.
    """
    from captum.attr import KernelShap

    count, segments = settings["masks"], settings["segments"]
    if not 2 <= segments < count:
        raise AttributionError(
            f"KernelSHAP: expected 2 segments or more, and more masks than segments, not {segments} and {count}"
        )
    starts = starting_points(classifier, batch.pixels, settings["baseline"])
    parts = torch.from_numpy(np.stack([superpixels(image, segments) for image in batch.pixels])).to(batch.x.device)
    places = iter(range(len(batch.x)))

    def one(image: Batch) -> Tensor:
        k = next(places)
        found: Tensor = KernelShap(Scored(classifier.module)).attribute(
            image.x,
            baselines=starts[k : k + 1],
            feature_mask=parts[k][None, None],
            n_samples=count,
            perturbations_per_eval=PASSES_AT_ONCE,
            additional_forward_args=image.extra,
            show_progress=False,
        )
        sizes = torch.bincount(parts[k].ravel())[parts[k]]
        return found[:, 0] / sizes

    with torch.no_grad():
        return each(batch, one), change_from(classifier, batch, starts)


def superpixels(image: ImageArray, segments: int) -> NDArray[np.int64]:
    """Regions of like colour and near place, int64 ``(H, W)`` from 0, at most ``segments`` of an image uint8.

    K-means over Lab colour and place from the centres of a regular grid, the idea of SLIC (Achanta et al. 2012,
    doi 10.1109/TPAMI.2012.120) without its windows and its joining of fragments.
    """
    from sklearn.cluster import KMeans

    height, width = image.shape[:2]
    side = np.sqrt(height * width / segments)
    rows = max(1, round(height / side))
    columns = max(1, segments // rows)
    colour = cv2.cvtColor(image, cv2.COLOR_RGB2Lab).astype(np.float64).reshape(-1, 3) / 25.5
    place = np.moveaxis(np.mgrid[:height, :width], 0, -1).reshape(-1, 2) * (10 * _COMPACT / side)
    points = np.concatenate([place, colour], axis=1)
    centres = (
        ((np.arange(count) + 0.5) * length / count).astype(int) for count, length in ((rows, height), (columns, width))
    )
    first = points.reshape(height, width, 5)[np.ix_(*centres)].reshape(-1, 5)
    labels = KMeans(len(first), init=first, n_init=1, max_iter=20).fit(points).labels_
    return np.asarray(np.unique(labels, return_inverse=True)[1].reshape(height, width), np.int64)
