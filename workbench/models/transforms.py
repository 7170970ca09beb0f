"""How an image becomes a model's input: normalisations by name, a model's own, or the user's transform."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from workbench.errors import DataError
from workbench.models.crops import crop, grey_crop
from workbench.models.measured import Measured, Size, Transform, measure

SIZE, CROP = 224, 0.875
NORMALISATIONS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "bytes": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}


def preprocessing(
    module: nn.Module, transform: str | Transform | None, image_size: int | Sequence[int] | None, channels: int
) -> Measured:
    """Size, mean and deviation of a model's input, and the function that brings an image to it.

    ``channels`` is what the model takes; for 1, an image becomes grey (ITU-R BT.601, as Pillow's).

    Raises
    ------
    DataError
        If size or transform are of another kind, the transform does not fit, or nothing says how to normalise.
    """
    size = None if image_size is None else _pair(image_size)
    if callable(transform):
        return measure(transform, size)
    told: Mapping[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    wanted = size or _own_size(module) or (tuple(told["input_size"][-2:]) if "input_size" in told else (SIZE, SIZE))
    if transform is None:
        if "mean" not in told or "std" not in told:
            raise DataError(
                "transform: this model does not say how its input is normalised: give the evaluation transform, or one "
                f"of the names {', '.join(NORMALISATIONS)}"
            )
        mean, std, share = tuple(told["mean"]), tuple(told["std"]), float(told.get("crop_pct") or CROP)
    elif isinstance(transform, str) and transform in NORMALISATIONS:
        (mean, std), share = NORMALISATIONS[transform], CROP
    else:
        raise DataError(f"transform: expected a function or one of {', '.join(NORMALISATIONS)}, not {transform!r}")
    mean, std = (values * 3 if len(values) == 1 else values for values in (mean, std))
    if channels == 1:
        mean, std = ((values[0],) * 3 for values in (mean, std))
    fit = functools.partial(grey_crop if channels == 1 else crop, side=wanted, share=share)
    return Measured(wanted, mean, std, channels, fit)


def _pair(size: Any) -> Size:
    """Height and width; `DataError` unless it is one positive whole number of pixels, or two."""
    pair = (size, size) if isinstance(size, int | np.integer) else size
    if (
        isinstance(size, bool)
        or not isinstance(pair, tuple | list)
        or len(pair) != 2
        or not all(isinstance(side, int | np.integer) and not isinstance(side, bool) and side > 0 for side in pair)
    ):
        raise DataError(f"image_size: expected a number of pixels, or (height, width), not {size!r}")
    return int(pair[0]), int(pair[1])


def _own_size(module: nn.Module) -> Size | None:
    """The input size that a vision transformer was built for, as torchvision, timm and transformers store it."""
    patches, config = getattr(module, "patch_embed", None), getattr(module, "config", None)
    for held, name in ((module, "image_size"), (patches, "img_size"), (config, "image_size")):
        value = getattr(held, name, None)
        if isinstance(value, int):
            return value, value
        if isinstance(value, tuple | list) and len(value) == 2:
            return int(value[0]), int(value[1])
    return None
