"""Where classifiers and images come from: the only module that knows ``training``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

import training.checkpoint
import training.data
from training.errors import TrainingError
from workbench.classifier import Classifier, untouched
from workbench.errors import CheckpointError, DataError, WorkbenchError
from workbench.records import ImageSet, Provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

Split = Literal["train", "test"]


@contextmanager
def _translated(kind: type[WorkbenchError]) -> Iterator[None]:
    try:
        yield
    except TrainingError as error:
        raise kind(str(error)) from error


def load_classifier(folder: Path) -> Classifier:
    """The checkpoint in ``folder`` as a classifier in channels_last and evaluation mode.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, or the two don't fit each other.
    """
    import torch

    with _translated(CheckpointError):
        module, card = training.checkpoint.load(folder)
    size = int(card["image_size"])
    layers = {entry["layer"]: tuple(entry["grid"]) for entry in training.checkpoint.cam_layers(module, size)}
    provenance = Provenance(
        checkpoint=card["weights_sha256"],
        device="cpu",
        precision="float32",
        seed=card.get("seed"),
        versions=training.checkpoint.versions(),
    )
    return Classifier(
        module=module.to(memory_format=torch.channels_last),
        classes=tuple(card["classes"]),
        mean=tuple(card["mean"]),
        std=tuple(card["std"]),
        image_size=size,
        cam_layers=layers,
        embedding_layer="head",
        provenance=provenance,
        card=card,
    )


def wrap_model(
    module: nn.Module, classes: Sequence[str], *, mean: Sequence[float], std: Sequence[float], image_size: int
) -> Classifier:
    """Any torch model from normalised images ``(n, 3, s, s)`` to logits ``(n, K)`` as a classifier.

    ``mean`` and ``std`` are fractions of 255 for each channel. The layers for maps are found by running the model once
    (see `attribution.layers.find_layers`); what the last linear layer reads is the embedding.

    Raises
    ------
    DataError
        If the model does not give one logit a class for such images.
    AttributionError
        If no layer has a spatial output.
    """
    import torch

    from workbench.attribution.layers import find_layers

    bare = Classifier(module, tuple(classes), tuple(mean), tuple(std), image_size, {})
    x = bare.prepare(np.zeros((1, image_size, image_size, 3), np.uint8))
    with untouched(module), torch.no_grad():
        logits = module(x)
    if tuple(logits.shape) != (1, len(classes)):
        raise DataError(f"model: expected logits (1, {len(classes)}) for one image, not {tuple(logits.shape)}")
    linear = [
        name
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Linear) and part.out_features == len(classes)
    ]
    found = find_layers(module, x)
    tokens = {name: layer.extra_tokens for name, layer in found.items() if layer.extra_tokens is not None}
    return dataclasses.replace(
        bare,
        cam_layers={name: layer.grid for name, layer in found.items()},
        extra_tokens=tokens,
        embedding_layer=linear[-1] if linear else None,
    )


def load_images(root: str | None, split: Split) -> ImageSet:
    """The split of the data under ``root``, else ``CIFAR10_ROOT``, else ``./data``; never downloads.

    Raises
    ------
    DataError
        If there is none, or it can't be read.
    """
    with _translated(DataError):
        data = training.data.load(training.data.data_root(root), split)
    return ImageSet(data.images, data.labels, data.classes, split, data.fingerprint)


def training_curves(folder: Path) -> Figure | None:
    """The curves of the run that left ``history.csv`` in ``folder``; None if there is none.

    Raises
    ------
    CheckpointError
        If the file has other columns.
    """
    from training import outputs

    if not (folder / outputs.HISTORY).is_file():
        return None
    with _translated(CheckpointError):
        return outputs.curves(outputs.read_history(folder))


def train_digits(out: Path, report: Callable[[str], None] = print) -> None:
    """Train the small digits model into ``out``, with a progress bar; nothing if it is there already.

    Raises
    ------
    CheckpointError
        If ``out`` can't be written.
    """
    if (out / training.checkpoint.SIDECAR).is_file():
        return
    from training.recipe import RECIPES
    from training.run import train
    from training.session import Session

    report("Training a small model on scikit-learn's handwritten digits: about a minute, no download.")
    with _translated(CheckpointError):
        splits = (training.data.load("digits", "train"), training.data.load("digits", "test"))
        train(Session(RECIPES["digits"], *splits), out)
