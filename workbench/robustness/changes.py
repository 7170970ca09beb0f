"""An image changed on purpose, to see what the model makes of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np

from workbench.core.records import ImageArray, ProbabilityArray
from workbench.errors import DataError
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve


@dataclass(frozen=True)
class Change:
    """What is done to an image, in this order; the defaults leave it as it is.

    Parameters
    ----------
    cutout : (left, top, width, height)
        A grey rectangle in shares of the side, each 0 to 1; a width or height of 0 for none. It covers what it was
        drawn over: the other changes move it with the rest of the image.
    crop : float
        Share of the side that is cut away around the middle, the rest enlarged to the old size, 0 to 0.7.
    rotate : float
        Degrees anticlockwise, -180 to 180; the border is mirrored.
    blur : float
        Standard deviation of a Gaussian in pixels, 0 to 8.
    brightness, contrast : float
        -0.8 to 0.8: added as a share of white; grey levels multiplied by 1 + contrast.
    noise : float
        Standard deviation of Gaussian noise as a share of white, 0 to 0.5, drawn from ``seed``.
    """

    cutout: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    crop: float = 0.0
    rotate: float = 0.0
    blur: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "crop": (0, 0.7),
            "rotate": (-180, 180),
            "blur": (0, 8),
            "noise": (0, 0.5),
        }
        limits |= {"brightness": (-0.8, 0.8), "contrast": (-0.8, 0.8)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise DataError(f"what-if: {name}: expected {low} to {high}, not {getattr(self, name)}")
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

    def code(self) -> str:
        """The change as Python, with what differs from the defaults."""
        plain = asdict(Change())
        return f"Change({', '.join(f'{k}={v!r}' for k, v in asdict(self).items() if v != plain[k])})"


def apply(image: ImageArray, change: Change) -> ImageArray:
    """The image uint8 ``(H, W, 3)`` after the change, of the same size, by albumentations."""
    import os

    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A
    import cv2

    height, width = image.shape[:2]
    keep = 1 - change.crop
    steps = []
    if change.crop:
        steps.append(A.CenterCrop(max(1, round(height * keep)), max(1, round(width * keep)), p=1))
        steps.append(A.Resize(height, width, interpolation=cv2.INTER_LINEAR, p=1))
    if change.rotate:
        steps.append(A.Rotate(limit=(change.rotate, change.rotate), border_mode=cv2.BORDER_REFLECT_101, p=1))
    if change.blur:
        steps.append(A.GaussianBlur(sigma_limit=(change.blur, change.blur), blur_limit=0, p=1))
    if change.brightness or change.contrast:
        both = ((value, value) for value in (change.brightness, change.contrast))
        steps.append(A.RandomBrightnessContrast(*both, p=1))
    if change.noise:
        steps.append(A.GaussNoise(std_range=(change.noise, change.noise), p=1))
    covered = np.array(image)
    left, top, across, down = change.cutout
    if across and down:
        x, y = round(left * width), round(top * height)
        covered[y : y + max(1, round(down * height)), x : x + max(1, round(across * width))] = 128
    result: ImageArray = np.array(A.Compose(steps, seed=change.seed)(image=covered)["image"])
    return result


def probabilities(classifier: Classifier, image: ImageArray) -> ProbabilityArray:
    """The model's probabilities for one image uint8 ``(H, W, 3)``, float32 ``(K,)``."""
    import torch

    from workbench.models.execution import products

    with preserve(classifier.module), torch.no_grad(), products(classifier.device, "float32"):
        logits = classifier.module(classifier.prepare(image[None])).float()
    found: ProbabilityArray = logits.softmax(1)[0].cpu().numpy()
    return found
