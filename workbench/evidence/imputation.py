"""Images with pixels removed: by rank, exactly as many as requested, filled without an edge that reveals it."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.core.records import FloatArray, ImageArray, ProbabilityArray

NOISE = 0.01
Ranks = NDArray[np.int64]


def ranks(maps: ProbabilityArray, side: int, seeds: tuple[int, ...]) -> Ranks:
    """The place of every pixel in the order of relevance, int64 ``(n, side, side)``, 0 the most relevant.

    Maps ``(n, h, w)`` are brought to ``side`` pixels bilinearly. Ties, of which coarse and rectified maps have
    many, are broken by numbers drawn with the image's seed, so that removing k per cent removes exactly k per cent.
    """
    found = np.empty((len(maps), side * side), np.int64)
    for row, (values, seed) in enumerate(zip(maps, seeds, strict=True)):
        large = cv2.resize(np.asarray(values, np.float32), (side, side), interpolation=cv2.INTER_LINEAR).ravel()
        drawn = np.random.default_rng(seed).random(len(large))
        found[row, np.lexsort((drawn, -large))] = np.arange(len(large))
    return found.reshape(len(maps), side, side)


def blur(images: ImageArray) -> ImageArray:
    """Each image under a Gaussian of an eighth of its side: the substrate of insertion and deletion."""
    sigma = images.shape[1] / 8
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images])


def impute(images: Tensor, removed: NDArray[np.bool_], seeds: tuple[int, ...]) -> Tensor:
    """Images float32 ``(n, 3, s, s)`` with the removed pixels bool ``(n, s, s)`` filled by noisy linear imputation.

    Rong et al. 2022 (arXiv 2202.00449, section 4): each removed pixel is the weighted mean of its neighbours, 1/6
    for direct and 1/12 for diagonal ones, all solved at once, plus noise of deviation 0.01, so that the mask itself
    can't be read off. pytorch-grad-cam's imputer solves it, with the noise drawn by the image's seed.
    """
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    exact = NoisyLinearImputer(noise=0.0)
    filled = images.clone()
    for k, (image, mask, seed) in enumerate(zip(images.cpu(), removed, seeds, strict=True)):
        if not mask.any():
            continue
        whole = exact(image.contiguous(), torch.from_numpy((~mask).astype(np.float32)))
        noise = torch.from_numpy(np.random.default_rng(seed).normal(0, NOISE, tuple(image.shape)).astype(np.float32))
        filled[k] = torch.where(torch.from_numpy(mask), whole + noise, image).to(filled.device)
    return filled


def random_maps(side: int, seeds: tuple[int, ...], draw: int, *, sigma: float = 0.0) -> ProbabilityArray:
    """Control maps float32 ``(n, side, side)``: noise, under a Gaussian of ``sigma`` pixels if it is not 0.

    The blurred control is as smooth as a coarse map; without it every coarse map beats chance by its smoothness
    alone (arXiv 2304.13836). Each ``draw`` gives different maps.
    """
    noise = np.stack([np.random.default_rng((seed, draw)).normal(size=(side, side)) for seed in seeds])
    if sigma:
        noise = np.stack([cv2.GaussianBlur(one, (0, 0), sigma) for one in noise])
    return noise.astype(np.float32)


def smoothness(maps: ProbabilityArray, side: int) -> float:
    """The ``sigma`` in pixels of a control about as smooth as maps ``(n, h, w)`` are at ``side`` pixels.

    White noise under a Gaussian has the correlation exp(-1 / 4 sigma²) between neighbours (the Gaussian's own
    convolution with itself); that of the maps, mean of both directions and all maps, gives sigma. It is rounded to a
    power of 2 from 0.5 to an eighth of the side, so that methods of similar smoothness share their controls.
    """
    large = np.stack(
        [cv2.resize(np.asarray(m, np.float32), (side, side), interpolation=cv2.INTER_LINEAR) for m in maps]
    )
    centred = large.astype(np.float64) - large.mean((1, 2), keepdims=True)
    spread = np.square(centred).mean((1, 2))
    alike = [(centred[:, 1:] * centred[:, :-1]).mean((1, 2)), (centred[:, :, 1:] * centred[:, :, :-1]).mean((1, 2))]
    there = spread > 0
    if not there.any():
        return 0.5
    correlation = float(np.clip(np.mean([a[there] / spread[there] for a in alike]), 1e-3, 1 - 1e-6))
    sigma = np.sqrt(-1 / (4 * np.log(correlation)))
    return float(2.0 ** np.round(np.log2(np.clip(sigma, 0.5, side / 8))))


@functools.cache
def shares(steps: int) -> FloatArray:
    """The shares of pixels removed, 0 to 1 in even ``steps``."""
    return np.linspace(0, 1, steps + 1)
