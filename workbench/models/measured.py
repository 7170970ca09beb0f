"""Evaluation transforms, read off what they do to plain images and to noise."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from workbench.core.records import ImageArray
from workbench.errors import DataError, first_line
from workbench.models.faults import UNFIT

Transform = Callable[[Any], Any]
Size = tuple[int, int]
DRAWS = 24
CHANNELS = (1, 3, 4)
OVERSHOOT = 64  # of 255, by which a cubic resize may leave the range of its input
# wide, high and square: what only resizes gives another size for each
SHAPES: tuple[Size, ...] = ((512, 512), (384, 512), (512, 384))


@dataclass(frozen=True)
class Measured:
    """What a transform does: the size it gives, mean and deviation of each channel, and its image before those.

    ``fit`` brings an image uint8 ``(H, W, 3)`` to uint8 ``(*size, 3)``; a transform to one channel gives three equal
    ones, and ``channels`` is 1. ``alpha``: what a transform to four channels gives for opaque pixels in the fourth.
    """

    size: Size
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int
    fit: Callable[[ImageArray], ImageArray]
    alpha: float | None = None


def measure(transform: Transform, size: Size | None) -> Measured:
    """Infer size, mean and deviation from what a transform does to plain images of several shapes.

    ``size`` is needed for a transform that keeps an image's own size, such as CIFAR's ToTensor and Normalize. A fourth
    channel must be alpha: images are RGB, so that their pixels are opaque.

    Raises
    ------
    DataError
        If it does not run, gives images of several sizes or of another kind than floats ``(C, h, w)``, draws random
        numbers, does more to values than scale and shift each channel, or its fourth channel is no alpha.
    """
    alpha = _alpha(transform, size)
    if alpha is not None:
        transform = functools.partial(_colours, transform)
    found = _size(transform, size)
    probe = _probe(transform, found)
    black, grey, white = (apply(transform, np.full((*probe, 3), level, np.uint8)) for level in (0, 128, 255))
    flat = [float(x.amax((1, 2)).sub(x.amin((1, 2))).abs().max()) for x in (black, grey, white)]
    shift, scale = black.mean((1, 2)), white.mean((1, 2)) - black.mean((1, 2))
    off = (shift + scale * 128 / 255 - grey.mean((1, 2))).abs().max()
    even = max(flat) <= 1e-3 and float(scale.abs().min()) > 0 and float(off) <= 0.02 * float(scale.abs().max())
    std, mean = 1 / scale, -shift / scale
    if not even or not _is_linear(transform, probe, std, mean):
        raise DataError(
            "transform: expected one that resizes, crops, and scales and shifts each channel by fixed numbers; this "
            "one does more, as in standardising each image or padding after Normalize: move that step to the front of "
            "the model's forward, and give a transform of the others"
        )
    _check_repeatable(transform, probe)

    def fit(image: ImageArray) -> ImageArray:
        x = apply(transform, image)
        if tuple(x.shape[1:]) != found:
            raise DataError(
                f"transform: it gives {x.shape[1]}×{x.shape[2]} for an image of {image.shape[0]}×{image.shape[1]} "
                f"pixels, and the model takes {found[0]}×{found[1]}: add a resize to the transform"
            )
        pixels = ((x * std[:, None, None] + mean[:, None, None]) * 255).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(1, 2, 0).expand(*found, 3).contiguous().numpy()

    channels = len(scale)
    return Measured(found, _three(mean), _three(std), channels if alpha is None else 4, fit, alpha)


def _alpha(transform: Transform, size: Size | None) -> float | None:
    """The value of the fourth channel, if there is one: the same for any image."""
    shape = (64, 64) if size is None else size
    noise = np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)
    given = [apply(transform, image) for image in (np.zeros_like(noise), noise)]
    if len(given[0]) != 4:
        return None
    values = torch.cat([x[3].ravel() for x in given])
    if float(values.max() - values.min()) > 1e-6:
        raise DataError(
            "transform: expected the fourth of its channels to be alpha, which is the same for all opaque images; this "
            "one differs: wrap the model in a module that makes that channel of RGB, and give a transform of three"
        )
    return float(values[0])


def _colours(transform: Transform, image: Any) -> Tensor:
    """The first three channels of what a transform gives."""
    return apply(transform, np.asarray(image))[:3]


def _is_linear(transform: Transform, probe: Size, std: Tensor, mean: Tensor) -> bool:
    """Whether noise comes out as pixels, too, once mean and deviation are undone; a resize may overshoot a little."""
    noise = np.random.default_rng(1).integers(0, 256, (*probe, 3), np.uint8)
    pixels = 255 * (apply(transform, noise) * std[:, None, None] + mean[:, None, None])
    return bool(pixels.min() > -OVERSHOOT and pixels.max() < 255 + OVERSHOOT)


def _three(values: Tensor) -> tuple[float, ...]:
    return tuple(values.expand(3).tolist())


def _size(transform: Transform, size: Size | None) -> Size:
    """The size that a transform gives for images of any shape, or the one that is wanted of one that depends on it."""
    given = [tuple(apply(transform, np.zeros((*shape, 3), np.uint8)).shape[1:]) for shape in SHAPES]
    if len(set(given)) == 1:
        found = (int(given[0][0]), int(given[0][1]))
        if size is not None and size != found:
            raise DataError(
                f"image_size: the transform gives {found[0]}×{found[1]} pixels, not {size[0]}×{size[1]}: omit "
                "image_size"
            )
        return found
    if size is None:
        raise DataError(
            f"transform: its output depends on an image's shape ({_listed(given)} for {_listed(SHAPES)} pixels): give "
            "the size of your images as image_size, or add a crop or a resize to both sides"
        )
    kept = tuple(apply(transform, np.zeros((*size, 3), np.uint8)).shape[1:])
    if kept != size:
        raise DataError(
            f"image_size: for images of {size[0]}×{size[1]} pixels the transform gives {kept[0]}×{kept[1]}: give "
            "the size that both have, or add a crop or a resize to both sides"
        )
    return size


def _listed(shapes: Any) -> str:
    return ", ".join("×".join(map(str, shape)) for shape in shapes)


def _probe(transform: Transform, size: Size) -> Size:
    """The shape of an image that the transform has no need to pad: large, or of the model's own size."""
    large = (max(512, 2 * size[0]), max(512, 2 * size[1]))
    return large if tuple(apply(transform, np.zeros((*large, 3), np.uint8)).shape[1:]) == size else size


def _check_repeatable(transform: Transform, probe: Size) -> None:
    shape = (min(probe[0], 128), min(probe[1], 128))
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    first = apply(transform, noise)
    if not all(torch.equal(first, apply(transform, noise)) for _ in range(DRAWS)):
        raise DataError("transform: this one draws random numbers, as for training: give the evaluation transform")


def apply(transform: Any, image: ImageArray) -> Tensor:
    """The transform's float32 ``(C, h, w)``, C 1, 3 or 4, of an image uint8 ``(H, W, 3)``."""
    try:
        if type(transform).__module__.startswith("albumentations"):
            found: Any = transform(image=image)
        else:
            found = transform(Image.fromarray(image))
    except (*UNFIT, OSError, cv2.error) as error:
        raise DataError(
            f"transform: expected one that takes an RGB image of Pillow's, not this one ({first_line(error)}): give "
            "another, such as lambda image: yours(numpy.asarray(image))"
        ) from error
    found = _tensor_in(found)
    if isinstance(found, np.ndarray):
        last = found.ndim == 3 and not (found.shape[0] in CHANNELS and found.shape[2] not in CHANNELS)
        found = torch.from_numpy(np.ascontiguousarray(found.transpose(2, 0, 1) if last else found))
    if isinstance(found, Tensor) and found.ndim == 4 and len(found) == 1:
        found = found[0]  # a batch of one
    shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    if not isinstance(found, Tensor) or found.ndim != 3 or found.shape[0] not in CHANNELS:
        several = " (several crops an image: give the transform of one)" if isinstance(found, Tensor) else ""
        raise DataError(
            f"transform: expected it to return a tensor (3, h, w), (1, h, w) or (4, h, w), not {shape}{several}"
        )
    if not found.is_floating_point():
        raise DataError(f"transform: expected floats from it, not {found.dtype}: add the conversion to float")
    return found.detach().float().cpu()


def _tensor_in(found: Any) -> Any:
    """The image in what a transform returns: itself, or the one of a record by its usual name."""
    if isinstance(found, Mapping):
        named = [found[key] for key in ("image", "pixel_values") if key in found]
        if not named:
            raise DataError(f"transform: expected an image, or a record with 'image', not one with {', '.join(found)}")
        found = named[0]
    if isinstance(found, list | tuple) and len(found) == 1:  # as an image processor of transformers gives it
        found = found[0]
    return found
