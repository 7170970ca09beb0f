"""Small models whose reason is known: what decides is planted, and where it lies in each image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn

from workbench.core.records import FloatArray, ImageArray, IntArray
from workbench.models.classifier import Classifier
from workbench.models.layer import Layer

SIDE, GRID = 32, (8, 8)
MARKS = ("nothing", "cross", "ring", "stripes", "corner")
TRAINED, STEPS, BATCH = 3000, 240, 128
SCENARIOS = ("watermark", "two objects", "shortcut colour", "linear")


@dataclass(frozen=True)
class Planted:
    """A model with images that it classifies correctly.

    ``relevant`` and ``decoy`` float64 ``(n, 32, 32)``: where what decides lies, and a mark that decides nothing; the
    first is zero everywhere where no place matters more than another.
    """

    classifier: Classifier
    images: ImageArray
    labels: IntArray
    relevant: FloatArray
    decoy: FloatArray


class Net(nn.Module):
    """Three convolutions to a grid of 8 by 8 with a mean and a linear head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.GroupNorm(4, 24), nn.ReLU())
        self.middle = nn.Sequential(nn.Conv2d(24, 48, 3, 2, 1), nn.GroupNorm(4, 48), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(48, 64, 3, 2, 1), nn.GroupNorm(4, 64), nn.ReLU())
        self.head = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.last(self.middle(self.stem(x))).mean((2, 3)))


class Linear(nn.Module):
    """Class 1 by a weighted sum of the pixels' brightness, with weights that are smooth over the image."""

    def __init__(self, weights: FloatArray) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[-1.0], [1.0]]))
            self.head.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((x.mean(1) * self.weights).sum((1, 2))[:, None])


def planted(scenario: str, seed: int, count: int = 12) -> Planted:
    """One scenario of `SCENARIOS`, trained and drawn by its seed."""
    generator = np.random.default_rng((seed, SCENARIOS.index(scenario)))
    if scenario == "linear":
        return _linear(generator, count)
    draw = {"watermark": _watermarks, "two objects": _objects, "shortcut colour": _colours}[scenario]
    images, labels, _, _ = draw(generator, TRAINED)
    classifier = _trained(images, labels, seed)
    images, labels, relevant, decoy = draw(generator, 6 * count)
    with torch.no_grad():
        answers = classifier.module(classifier.prepare(images)).argmax(1).numpy()
    kept = np.flatnonzero((answers == labels) & (labels > 0))[:count]
    return Planted(classifier, images[kept], labels[kept], relevant[kept], decoy[kept])


def _trained(images: ImageArray, labels: IntArray, seed: int) -> Classifier:
    torch.manual_seed(seed)
    net = Net(len(MARKS))
    classifier = Classifier(net, MARKS, (0.5,) * 3, (0.25,) * 3, SIDE, {"last": Layer("last", GRID)}, "head")
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    x, y = classifier.prepare(images), torch.tensor(labels)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / STEPS)
        part = torch.randint(0, len(x), (BATCH,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x[part]), y[part]).backward()
        optimiser.step()
    net.eval()
    return classifier


def _background(generator: np.random.Generator, count: int) -> FloatArray:
    """Smooth coloured texture, float64 ``(n, 32, 32, 3)`` about 0.45."""
    noise = generator.normal(size=(count, SIDE, SIDE, 3))
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 2.5) for one in noise])
    return 0.45 + 0.1 * soft / soft.std() + generator.normal(0, 0.02, noise.shape)


def _shape(kind: str, size: int) -> FloatArray:
    """A mark, 0 or 1, ``(size, size)``."""
    grid = np.abs(np.indices((size, size)) - (size - 1) / 2)
    radius = np.hypot(*grid)
    index = np.indices((size, size))
    return {
        "cross": lambda: np.abs(grid[0] - grid[1]) < 0.8,
        "ring": lambda: np.abs(radius - size / 2.6) < 0.8,
        "stripes": lambda: index[0] % 3 == 0,
        "corner": lambda: (index[0] < 2) | (index[1] < 2),
        "block": lambda: radius >= 0,
        "plus": lambda: (grid < 0.9).any(0),
    }[kind]().astype(float)


def group(classifier: Classifier, seed: int, count: int, *, marked: bool) -> Planted:
    """Images for the model of a watermark: with ``marked`` all have what decides in the same corner, else anywhere."""
    generator = np.random.default_rng((seed, 99, marked))
    images, labels, relevant, decoy = _marked(generator, 2 * count, ("block", "plus"), corner=marked)
    kept = np.flatnonzero(labels > 0)[:count]
    return Planted(classifier, images[kept], labels[kept], relevant[kept], decoy[kept])


def _stamp(
    image: FloatArray, kind: str, generator: np.random.Generator, taken: FloatArray, *, corner: bool = False
) -> FloatArray:
    """Draw a mark somewhere free, of random size and contrast; where it was drawn, float64 ``(32, 32)``."""
    size = int(generator.integers(5, 9))
    contrast = generator.choice([-1, 1]) * generator.uniform(0.25, 0.5)
    while True:
        top, left = (1, 1) if corner else generator.integers(0, SIDE - size + 1, 2)
        box = np.zeros((SIDE, SIDE))
        box[top : top + size, left : left + size] = 1
        if not (box * taken).any():
            break
    if kind == "nothing":
        return box
    box[top : top + size, left : left + size] = _shape(kind, size)
    image += contrast * box[..., None]
    return box


def _watermarks(generator: np.random.Generator, count: int) -> tuple[ImageArray, IntArray, FloatArray, FloatArray]:
    """The class is the kind of one mark; another mark, as strong, is there in most images and decides nothing."""
    return _marked(generator, count, ("block", "plus"))


def _objects(generator: np.random.Generator, count: int) -> tuple[ImageArray, IntArray, FloatArray, FloatArray]:
    """Two marks of the same kinds, a red and a blue one: the class is the kind of the red one."""
    labels = generator.integers(0, len(MARKS), count)
    pictures = _background(generator, count)
    relevant, decoy = np.zeros((2, count, SIDE, SIDE))
    for k, label in enumerate(labels):
        for channel, kind, boxes in ((0, MARKS[label], relevant), (2, MARKS[generator.integers(1, 5)], decoy)):
            layer = np.zeros((SIDE, SIDE, 3))
            boxes[k] = _stamp(layer, kind, generator, relevant[k])
            pictures[k, ..., channel] += np.abs(layer[..., channel])
    return _finished(pictures), labels, relevant, decoy


def _colours(generator: np.random.Generator, count: int) -> tuple[ImageArray, IntArray, FloatArray, FloatArray]:
    """The class is the tint of the whole image; a mark decides nothing."""
    images, _, _, decoy = _marked(generator, count, MARKS[1:])
    labels = generator.integers(0, len(MARKS), count)
    tints = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]) * 0.12
    pictures = images / 255 + tints[labels][:, None, None] * generator.uniform(0.8, 1.2, (count, 1, 1, 1))
    return _finished(pictures), labels, np.zeros_like(decoy), decoy


def _marked(
    generator: np.random.Generator, count: int, decoys: tuple[str, ...], *, corner: bool = False
) -> tuple[ImageArray, IntArray, FloatArray, FloatArray]:
    labels = generator.integers(0, len(MARKS), count)
    pictures = _background(generator, count)
    relevant, decoy = np.zeros((2, count, SIDE, SIDE))
    for k, label in enumerate(labels):
        relevant[k] = _stamp(pictures[k], MARKS[label], generator, relevant[k], corner=corner)
        decoy[k] = _stamp(pictures[k], str(generator.choice(decoys)), generator, relevant[k])
    return _finished(pictures), labels, relevant, decoy


def _finished(pictures: FloatArray) -> ImageArray:
    return (255 * np.clip(pictures, 0, 1)).round().astype(np.uint8)


def _linear(generator: np.random.Generator, count: int) -> Planted:
    """A model that is a sum over pixels: what each contributes, less what its blurred version does, is known."""
    field = cv2.GaussianBlur(generator.normal(size=(SIDE, SIDE)), (0, 0), 2.0)
    module = Linear(0.03 * field / field.std()).eval()
    classifier = Classifier(module, ("dark", "light"), (0.5,) * 3, (0.25,) * 3, SIDE, {}, "head")
    noise = generator.normal(size=(count, SIDE, SIDE, 3))
    images = _finished(0.5 + 0.12 * np.stack([cv2.GaussianBlur(one, (0, 0), 1.2) for one in noise]) / 0.2)
    labels = (module(classifier.prepare(images)).argmax(1)).numpy()
    soft = np.stack([cv2.GaussianBlur(image, (0, 0), SIDE / 8) for image in images])
    change = (images.astype(float) - soft).mean(3) * np.where(labels, 1, -1)[:, None, None]
    return Planted(classifier, images, labels, change * field, np.roll(change * field, SIDE // 2, axis=(1, 2)))
