"""Small things that tests are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from training.dataset import DataSet
from training.recipe import Recipe
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.models.classifier import Classifier
from workbench.models.layer import Layer

CLASSES = ("ant", "bee", "cow")
TINY = Recipe(
    name="tiny",
    epochs=3,
    batch_size=16,
    width=8,
    crop_padding=2,
    flip=True,
    workers=0,
    precision="float32",
    layout="channels_last",
    validation_fraction=0.2,
)


def data_set(rows: int = 60, split: str = "train", seed: int = 0) -> DataSet:
    """Noise whose mean colour tells the class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % len(CLASSES)
    images = generator.integers(0, 120, (rows, 32, 32, 3))
    images[np.arange(rows), :, :, labels] += 100
    return DataSet("noise", split, images.astype(np.uint8), labels.astype(np.int64), CLASSES)  # type: ignore[arg-type]


def image_folder(root: Path, rows: int = 30) -> Path:
    """The same as image folders."""
    for split in ("train", "test"):
        data = data_set(rows, split, seed=len(split))
        for row, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            folder = root / split / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{row:03}.png")
    return root


def predictions(rows: int = 200, classes: int = 4, seed: int = 0, *, embedding: bool = False) -> Predictions:
    """Random probabilities, correct more often than not; with random embeddings if they are asked for."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, classes, rows)
    probability = generator.dirichlet(np.ones(classes), rows) + 0.6 * np.eye(classes)[label]
    probability = (probability / probability.sum(1, keepdims=True)).astype(np.float32)
    names = tuple(f"class {k}" for k in range(classes))
    features = generator.normal(size=(rows, 6)) + np.eye(6)[label] if embedding else None
    return Predictions.from_arrays(label, probability, names, embedding=features)


def image_set(rows: int = 12) -> ImageSet:
    data = data_set(rows, "test")
    return ImageSet(data.images, data.labels, data.classes, "test", data.fingerprint)


def classifier(seed: int = 0, width: int = 8) -> Classifier:
    """An untrained ResNet-18-LN for `image_set`."""
    import torch

    from training.architectures import cam_layers
    from training.model import ResNet18LN

    torch.manual_seed(seed)
    module = ResNet18LN(len(CLASSES), width).eval()
    layers = {entry["layer"]: Layer(entry["layer"], tuple(entry["grid"])) for entry in cam_layers(module, 32)}
    return Classifier(module, CLASSES, (0.4, 0.45, 0.5), (0.2, 0.25, 0.3), 32, layers, "head")
