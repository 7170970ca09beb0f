"""An image changed on purpose, to see what the model makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from workbench.core.records import ImageArray, Precision, ProbabilityArray
from workbench.errors import DataError
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve

Limits = tuple[float, float]
LIMITS: Mapping[str, Limits] = {
    "crop": (0, 0.7),
    "scale": (-0.5, 1),
    "rotate": (-180, 180),
    "blur": (0, 256),
    "sharpness": (0, 1),
    "brightness": (-0.8, 0.8),
    "contrast": (-0.8, 0.8),
    "saturation": (-1, 2),
    "hue": (-180, 180),
    "noise": (0, 0.5),
    "jpeg": (0, 99),
}


@dataclass(frozen=True)
class Change:
    """What is done to an image, in this order; the defaults leave it as it is.

    Parameters
    ----------
    cutout : (left, top, width, height)
        A grey rectangle in shares of the side, each 0 to 1; a width or height of 0 for none. It covers what it was
        drawn over: the other changes move it with the rest of the image.
    flip : bool
        Left and right exchanged.
    crop : float
        Share of the side that is cut away around the middle, the rest enlarged to the old size, 0 to 0.7.
    shift : (right, down)
        Whole pixels that the image moves by; the border is mirrored, here and in the next two.
    scale : float
        What the image grows by about its middle, as a share of its size, -0.5 to 1.
    rotate : float
        Degrees anticlockwise, -180 to 180.
    blur : float
        Standard deviation of a Gaussian in pixels, 0 to 256.
    sharpness : float
        Share of a sharpened image that is mixed in, 0 to 1.
    brightness, contrast : float
        -0.8 to 0.8: added as a share of white; grey levels multiplied by 1 + contrast.
    saturation : float
        -1 to 2: the distance of each pixel from its grey is multiplied by 1 + saturation.
    hue : float
        Degrees that the hue turns by, -180 to 180.
    grey : bool
        Colours replaced by their luminance.
    noise : float
        Standard deviation of Gaussian noise as a share of white, 0 to 0.5, drawn from ``seed``.
    jpeg : int
        100 less the quality of a JPEG that the image passes through, 0 (none) to 99.
    """

    cutout: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    flip: bool = False
    crop: float = 0.0
    shift: tuple[int, int] = (0, 0)
    scale: float = 0.0
    rotate: float = 0.0
    blur: float = 0.0
    sharpness: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grey: bool = False
    noise: float = 0.0
    jpeg: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            if not low <= getattr(self, name) <= high:
                raise DataError(f"what-if: {name}: expected {low} to {high}, not {getattr(self, name)}")
        for name in ("shift", "jpeg"):
            if np.any(np.asarray(getattr(self, name)) % 1):
                raise DataError(f"what-if: {name}: expected whole numbers, not {getattr(self, name)}")
        if len(self.shift) != 2:
            raise DataError(f"what-if: shift: expected pixels to the right and down, not {self.shift}")
        if len(self.cutout) != 4 or not all(0 <= share <= 1 for share in self.cutout):
            raise DataError(f"what-if: cutout: expected four shares from 0 to 1, not {self.cutout}")

    @classmethod
    def from_json(cls, values: dict[str, object]) -> Change:
        """The change that JSON values describe; `DataError` for an unknown name."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise DataError(f"what-if: expected some of {', '.join(sorted(known))}, not {unknown[0]!r}")
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**given)  # type: ignore[arg-type]

    def seeded(self, row: int) -> Change:
        """The same change, with noise drawn for a row id where it has any."""
        return replace(self, seed=int(row)) if self.noise else self

    def code(self) -> str:
        """The change as Python, with what differs from the defaults."""
        plain = asdict(Change())
        return f"Change({', '.join(f'{k}={v!r}' for k, v in asdict(self).items() if v != plain[k])})"


def apply(image: ImageArray, change: Change) -> ImageArray:
    """The image uint8 ``(H, W, 3)`` after the change, of the same size, by albumentations."""
    import os

    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    height, width = image.shape[:2]
    covered = np.array(image)
    left, top, across, down = change.cutout
    if across and down:
        x, y = round(left * width), round(top * height)
        covered[y : y + max(1, round(down * height)), x : x + max(1, round(across * width))] = 128
    steps = [*_moves(change, height, width), *_filters(change)]
    result: ImageArray = np.array(A.Compose(steps, seed=change.seed)(image=covered)["image"])
    return result


def _moves(change: Change, height: int, width: int) -> list[Any]:
    """The steps that move pixels."""
    import albumentations as A
    import cv2

    steps: list[Any] = []
    if change.flip:
        steps.append(A.HorizontalFlip(p=1))
    if change.crop:
        keep = 1 - change.crop
        steps.append(A.CenterCrop(max(1, round(height * keep)), max(1, round(width * keep)), p=1))
        steps.append(A.Resize(height, width, interpolation=cv2.INTER_LINEAR, p=1))
    mirrored = cv2.BORDER_REFLECT_101
    if any(change.shift):
        right, below = (int(pixels) for pixels in change.shift)
        by = {"x": (right, right), "y": (below, below)}
        steps.append(A.Affine(translate_px=by, border_mode=mirrored, p=1))
    if change.scale:
        steps.append(A.Affine(scale=(1 + change.scale, 1 + change.scale), border_mode=mirrored, p=1))
    if change.rotate:
        steps.append(A.Rotate(limit=(change.rotate, change.rotate), border_mode=mirrored, p=1))
    return steps


def _filters(change: Change) -> list[Any]:
    """The steps that change pixels where they are."""
    import albumentations as A

    steps: list[Any] = []
    if change.blur:
        steps.append(A.GaussianBlur(sigma_limit=(change.blur, change.blur), blur_limit=0, p=1))
    if change.sharpness:
        steps.append(A.Sharpen(alpha=(change.sharpness, change.sharpness), lightness=(1, 1), p=1))
    if change.brightness or change.contrast:
        both = ((value, value) for value in (change.brightness, change.contrast))
        steps.append(A.RandomBrightnessContrast(*both, p=1))
    if change.saturation or change.hue:
        colour = {"saturation": (1 + change.saturation,) * 2, "hue": (change.hue / 360,) * 2}
        steps.append(A.ColorJitter(brightness=(1, 1), contrast=(1, 1), **colour, p=1))
    if change.grey:
        steps.append(A.ToGray(p=1))
    if change.noise:
        steps.append(A.GaussNoise(std_range=(change.noise, change.noise), p=1))
    if change.jpeg:
        steps.append(A.ImageCompression(quality_range=(100 - int(change.jpeg),) * 2, p=1))
    return steps


def probabilities(classifier: Classifier, images: ImageArray, precision: Precision = "float32") -> ProbabilityArray:
    """The model's probabilities for images uint8 ``(n, H, W, 3)`` at its size, float32 ``(n, K)``.

    As many are taken at once as memory allows (`models.budget.forward_batch`).
    """
    import torch

    from workbench.models.budget import forward_batch
    from workbench.models.execution import products

    size = forward_batch(classifier)
    found = []
    with preserve(classifier.module), torch.inference_mode(), products(classifier.device, precision):
        for first in range(0, len(images), size):
            logits = classifier.module(classifier.prepare(images[first : first + size]))
            found.append(logits.float().softmax(1).cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, len(classifier.classes)), np.float32)
