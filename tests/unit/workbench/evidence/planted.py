"""Models of which one knows what they look at."""

from __future__ import annotations

import numpy as np
import torch

from workbench.models.classifier import Classifier
from workbench.models.layer import Layer

SIDE, PATCH = 16, (slice(2, 6), slice(9, 13))


class Patch(torch.nn.Module):
    """The logit of class 1 is the red in one patch of the image, scaled; that of class 0 is nothing."""

    def __init__(self, weight: float = 12.0) -> None:
        super().__init__()
        self.features = torch.nn.Conv2d(3, 2, 1)
        self.head = torch.nn.Linear(2 * SIDE * SIDE, 2)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.bias.zero_()
            self.features.weight[1, 0] = 1.0
            self.head.weight.zero_()
            self.head.bias.copy_(torch.tensor([0.0, -weight / 2]))
            self.head.weight.view(2, 2, SIDE, SIDE)[1, 1, PATCH[0], PATCH[1]] = weight / 16

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).flatten(1))


def patch_classifier(weight: float = 12.0) -> Classifier:
    layers = {"features": Layer("features", (SIDE, SIDE))}
    return Classifier(Patch(weight).eval(), ("plain", "marked"), (0.0,) * 3, (1.0,) * 3, SIDE, layers, "head")


def marked_images(count: int = 12, *, marked: bool = True) -> np.ndarray:
    """Dim noise, with a bright red patch where the model looks."""
    images = np.random.default_rng(0).integers(0, 90, (count, SIDE, SIDE, 3)).astype(np.uint8)
    if marked:
        images[:, PATCH[0], PATCH[1], 0] = 255
    return images


def patch_map(count: int = 12) -> np.ndarray:
    """The map that tells the truth about `Patch`."""
    values = np.zeros((count, SIDE, SIDE), np.float32)
    values[:, PATCH[0], PATCH[1]] = 1
    return values
