"""Images with pixels removed: by rank, exactly as many as requested, filled in one of several ways."""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.core.records import FloatArray, ImageArray, ProbabilityArray

NOISE = 0.01
SOLVED = 64  # pixels a side of the largest image whose imputation is solved as it is
Ranks = NDArray[np.int64]


def ranks(maps: ProbabilityArray, size: tuple[int, ...], seeds: tuple[int, ...]) -> Ranks:
    """The place of every pixel in the order of relevance, int64 ``(n, *size)``, 0 the most relevant.

    Maps ``(n, h, w)`` are brought to ``size``, rows and columns of pixels, bilinearly. Ties, of which coarse and
    rectified maps have many, are broken by numbers drawn with the image's seed, so that removing k per cent removes
    exactly k per cent.
    """
    rows, columns = size
    found = np.empty((len(maps), rows * columns), np.int64)
    for row, (values, seed) in enumerate(zip(maps, seeds, strict=True)):
        large = cv2.resize(np.asarray(values, np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR).ravel()
        drawn = np.random.default_rng(seed).random(len(large))
        found[row, np.lexsort((drawn, -large))] = np.arange(len(large))
    return found.reshape(len(maps), rows, columns)


def blur(images: ImageArray) -> ImageArray:
    """Each image under a Gaussian of an eighth of its side: the substrate of insertion and deletion."""
    sigma = images.shape[1] / 8
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images])


def impute(images: Tensor, removed: NDArray[np.bool_], seeds: tuple[int, ...]) -> Tensor:
    """Images float32 ``(n, 3, h, w)`` with the removed pixels bool ``(n, h, w)`` filled by noisy linear imputation.

    Rong et al. 2022 (arXiv 2202.00449, section 4): each removed pixel is the weighted mean of its neighbours, 1/6
    for direct and 1/12 for diagonal ones, all solved at once, plus noise of deviation 0.01, so that the mask itself
    can't be read off. pytorch-grad-cam's imputer solves it, with the noise drawn by the image's seed. Images of more
    than 64 pixels are solved at a half, a quarter, … of their size, where the equations of large images would take
    minutes, and only the removed pixels are taken from that.
    """
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    exact = NoisyLinearImputer(noise=0.0)
    filled = images.clone()
    coarser = 2 ** max(0, int(np.ceil(np.log2(max(images.shape[2:]) / SOLVED))))
    for k, (image, mask, seed) in enumerate(zip(images.cpu(), removed, seeds, strict=True)):
        if not mask.any():
            continue
        if coarser == 1:
            whole = exact(image.contiguous(), torch.from_numpy((~mask).astype(np.float32)))
        else:
            whole = _solved_smaller(exact, image, mask, coarser)
        noise = torch.from_numpy(np.random.default_rng(seed).normal(0, NOISE, tuple(image.shape)).astype(np.float32))
        filled[k] = torch.where(torch.from_numpy(mask), whole + noise, image).to(filled.device)
    return filled


def _solved_smaller(exact: Any, image: Tensor, mask: NDArray[np.bool_], factor: int) -> Tensor:
    """The imputation of an image ``(3, h, w)``, solved at a ``factor``-th of its size from the pixels that are left."""
    height, width = mask.shape
    size = (-(-width // factor), -(-height // factor))
    kept = (~mask).astype(np.float32)
    weight = cv2.resize(kept, size, interpolation=cv2.INTER_AREA)
    pixels = image.permute(1, 2, 0).numpy() * kept[..., None]
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    small = small / np.maximum(weight, 1e-6)[..., None]
    left = (weight > 0.5).astype(np.float32)
    solved = exact(torch.from_numpy(small).permute(2, 0, 1).contiguous(), torch.from_numpy(left))
    large = cv2.resize(solved.permute(1, 2, 0).contiguous().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(large.reshape(height, width, -1)).permute(2, 0, 1)


def inpaint(image: ImageArray, removed: NDArray[np.bool_]) -> ImageArray:
    """An image uint8 ``(h, w, 3)`` with the removed pixels filled from the edge of the hole inwards.

    Telea 2004 (doi 10.1080/10867651.2004.10487596) by OpenCV, with a radius of 3 pixels; an image of which nothing is
    left is its mean colour.
    """
    if removed.all():
        return np.broadcast_to(image.mean((0, 1)).round().astype(np.uint8), image.shape).copy()
    return np.asarray(cv2.inpaint(image, removed.astype(np.uint8), 3, cv2.INPAINT_TELEA))


@functools.cache
def shares(steps: int) -> FloatArray:
    """The shares of pixels removed, 0 to 1 in even ``steps``."""
    return np.linspace(0, 1, steps + 1)
