"""Images whose concepts are known, and a model that reads them."""

from __future__ import annotations

import numpy as np
import torch

from workbench.core.records import ImageSet
from workbench.models.classifier import Classifier
from workbench.models.layer import Layer
from workbench.models.predict import predict
from workbench.runs.run import Run

SIDE, CELLS, CHANNELS = 16, 4, 24


class Planted(torch.nn.Module):
    """Red, green and blue of a cell each light several channels; the head reads red as class 1 and green as class 0.

    Blue is read by nobody. With ``flat=False`` the head reads the maximum over the cells, and is not exact.
    """

    def __init__(self, seed: int, *, flat: bool = True) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.features = torch.nn.Sequential(
            torch.nn.AvgPool2d(SIDE // CELLS), torch.nn.Conv2d(3, CHANNELS, 1, bias=False), torch.nn.ReLU()
        )
        self.head = torch.nn.Linear(CHANNELS, 2)
        self.flat = flat
        with torch.no_grad():
            mixing = torch.zeros(CHANNELS, 3)
            for colour in range(3):
                mixing[8 * colour : 8 * colour + 8, colour] = 0.5 + torch.rand(8, generator=generator)
            self.features[1].weight.copy_(mixing[:, :, None, None])
            self.head.weight.zero_()
            self.head.weight[1, :8] = 4.0
            self.head.weight[0, 8:16] = 2.0
            self.head.bias.copy_(torch.tensor([0.3, -0.2]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        cells = self.features(x)
        return self.head(cells.mean((2, 3)) if self.flat else cells.amax((2, 3)))


def planted(seed: int, *, flat: bool = True) -> Classifier:
    layers = {"features": Layer("features", (CELLS, CELLS))}
    module = Planted(seed, flat=flat).eval()
    return Classifier(module, ("plain", "marked"), (0.0,) * 3, (1.0,) * 3, SIDE, layers, "head")


def planted_run(rows: int = 400) -> Run:
    """The model on images of which a fifth is labelled otherwise."""
    model, images = planted(0), coloured(rows, 0)
    answer = model.module(model.prepare(images)).argmax(1).numpy()
    label = np.where(np.random.default_rng(0).random(rows) < 0.2, 1 - answer, answer)
    data = ImageSet(images, label, ("plain", "marked"), "test", "made up")
    return Run("planted", predict(model, data), data, model)


def coloured(count: int, seed: int, *, red: float = 0.4) -> np.ndarray:
    """Dark images in which some cells are red, some green, some blue; uint8 ``(count, SIDE, SIDE, 3)``."""
    generator = np.random.default_rng(seed)
    shares = np.array([red, 0.3, 0.3])
    kinds = generator.choice(4, (count, CELLS, CELLS), p=[1 - shares.sum() / 2, *(shares / 2)])
    bright = generator.integers(120, 255, (count, CELLS, CELLS))
    cells = np.where(
        kinds[..., None] == np.arange(1, 4), bright[..., None], generator.integers(0, 6, (count, CELLS, CELLS, 3))
    )
    size = SIDE // CELLS
    return np.repeat(np.repeat(cells, size, 1), size, 2).astype(np.uint8)
