"""How an image becomes a model's input: normalisations by name, and transforms inferred from what they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from workbench.core.records import ImageArray
from workbench.errors import DataError
from workbench.models.faults import UNFIT, first_line

SIZE, CROP = 224, 0.875
NORMALISATIONS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
Transform = Callable[[Any], Any]
DRAWS = 24


def preprocessing(
    module: nn.Module, transform: str | Transform | None, size: int | None
) -> tuple[tuple[float, ...], tuple[float, ...], int, Callable[[ImageArray], ImageArray]]:
    """Mean, standard deviation, side, and the function that brings an image to that side."""
    if size is not None and (isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1):
        raise DataError(f"image_size: expected one number of pixels, for square images, not {size!r}")
    if callable(transform):
        return _measured(transform, size)
    told: Mapping[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    side = size or _own_size(module) or (int(told["input_size"][-1]) if "input_size" in told else SIZE)
    if transform is None:
        if "mean" not in told or "std" not in told:
            raise DataError(
                "transform: this model does not say how its input is normalised: give the evaluation transform, or one "
                f"of the names {', '.join(NORMALISATIONS)}"
            )
        mean, std, share = tuple(told["mean"]), tuple(told["std"]), float(told.get("crop_pct") or CROP)
    elif transform in NORMALISATIONS:
        (mean, std), share = NORMALISATIONS[transform], CROP
    else:
        raise DataError(f"transform: expected a function or one of {', '.join(NORMALISATIONS)}, not {transform!r}")
    return mean, std, side, lambda image: crop(image, side, share)


def crop(image: ImageArray, side: int, share: float) -> ImageArray:
    """The centre crop of an image, uint8 ``(side, side, 3)``, after its shorter side is resized to ``side / share``.

    Bilinear with antialiasing, as in Pillow and torchvision's evaluation transforms; an image that already has the
    model's size stays as it is.
    """
    height, width = image.shape[:2]
    if (height, width) == (side, side):
        return image
    short = round(side / share)
    factor = short / min(height, width)
    rows, columns = max(short, round(height * factor)), max(short, round(width * factor))
    whole = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)
    top, left = (rows - side) // 2, (columns - side) // 2
    return np.array(whole.crop((left, top, left + side, top + side)), np.uint8)


def _measured(
    transform: Transform, size: int | None
) -> tuple[tuple[float, ...], tuple[float, ...], int, Callable[[ImageArray], ImageArray]]:
    """What a transform does, inferred from black, grey and white images: its size, and scale and shift per channel."""

    def plain(level: int) -> Tensor:
        return _applied(transform, np.full((96, 96, 3), level, np.uint8))

    black, grey, white = (plain(level) for level in (0, 128, 255))
    side = int(black.shape[2])
    if size is not None and size != side:
        raise DataError(f"image_size: the transform gives {side} pixels, not {size}: omit image_size")
    flat = [float(x.amax((1, 2)).sub(x.amin((1, 2))).abs().max()) for x in (black, grey, white)]
    shift, scale = black.mean((1, 2)), white.mean((1, 2)) - black.mean((1, 2))
    off = (shift + scale * 128 / 255 - grey.mean((1, 2))).abs().max()
    if max(flat) > 1e-3 or float(scale.min()) <= 0 or float(off) > 0.02 * float(scale.max()):
        raise DataError(
            "transform: expected one that resizes, crops and normalises each channel by a mean and a deviation; this "
            "one does more to plain images: give the name of a normalisation instead"
        )
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    first = _applied(transform, noise)
    if not all(torch.equal(first, _applied(transform, noise)) for _ in range(DRAWS)):
        raise DataError("transform: this one draws random numbers, as for training: give the evaluation transform")
    std, mean = 1 / scale, -shift / scale

    def fit(image: ImageArray) -> ImageArray:
        x = _applied(transform, image) * std[:, None, None] + mean[:, None, None]
        return (x * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()

    return tuple(mean.tolist()), tuple(std.tolist()), side, fit


def _applied(transform: Any, image: ImageArray) -> Tensor:
    """The transform's float32 ``(3, s, s)`` of an image uint8 ``(H, W, 3)``."""
    try:
        if type(transform).__module__.startswith("albumentations"):
            found: Any = transform(image=image)["image"]
        else:
            found = transform(Image.fromarray(image))
    except UNFIT as error:
        raise DataError(
            f"transform: expected one that takes an RGB image, not this one ({first_line(error)}): give another"
        ) from error
    if isinstance(found, np.ndarray):
        found = torch.from_numpy(np.ascontiguousarray(found.transpose(2, 0, 1) if found.ndim == 3 else found))
    shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    if not isinstance(found, Tensor) or found.ndim != 3 or found.shape[0] != 3 or found.shape[1] != found.shape[2]:
        raise DataError(f"transform: expected it to return a square tensor (3, s, s), not {shape}")
    if not found.is_floating_point():
        raise DataError(f"transform: expected floats from it, not {found.dtype}: add the conversion to float")
    return found.detach().float().cpu()


def _own_size(module: nn.Module) -> int | None:
    """The input side that a vision transformer was built for, as torchvision's and timm's store it."""
    for value in (getattr(module, "image_size", None), getattr(getattr(module, "patch_embed", None), "img_size", None)):
        if isinstance(value, int):
            return value
        if isinstance(value, tuple | list) and len(value) == 2 and value[0] == value[1]:
            return int(value[0])
    return None
