"""Where classifiers and images come from: the only module that imports ``training``."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import training.data
import training.sidecar
from training.errors import TrainingError
from workbench.core.records import ImageSet, Precision, Provenance
from workbench.errors import CheckpointError, DataError, WorkbenchError
from workbench.images import load
from workbench.images.parquet import from_parquet
from workbench.images.reading import DEFAULT, Reading
from workbench.models.classifier import Classifier, OnDemand
from workbench.models.crops import crop
from workbench.models.layer import Layer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from workbench.models.execution import Asked


@contextmanager
def _translated(kind: type[WorkbenchError]) -> Iterator[None]:
    try:
        yield
    except TrainingError as error:
        raise kind(str(error)) from error


def load_classifier(folder: Path) -> Classifier:
    """The checkpoint in ``folder`` as a classifier in channels_last and evaluation mode; its model loads on demand.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, or the two don't fit each other.
    """
    with _translated(CheckpointError):
        card = training.sidecar.read_sidecar(folder)
        training.sidecar.check_digest(folder, card)
    size = int(card["image_size"])
    layers = {entry["layer"]: Layer(entry["layer"], tuple(entry["grid"])) for entry in card["cam_layers"]}
    provenance = Provenance(
        checkpoint=card["weights_sha256"],
        device="cpu",
        precision="float32",
        seed=card.get("seed"),
        versions=training.sidecar.versions(),
    )
    return Classifier(
        module=OnDemand(functools.partial(_load_module, folder, card["weights_sha256"])),  # type: ignore[arg-type]  # see classifier._Held
        classes=tuple(card["classes"]),
        mean=tuple(card["mean"]),
        std=tuple(card["std"]),
        image_size=size,
        cam_layers=layers,
        embedding_layer="head",
        provenance=provenance,
        card=card,
        fit=functools.partial(crop, side=size, share=1.0),
    )


def fastest_execution(classifier: Classifier, precision: Asked) -> tuple[Classifier, Precision]:
    """The classifier, and the precision that ``"auto"`` means for it: the fastest of a second or two of trials.

    Tried are float32, and bfloat16 where the device multiplies it, in both memory layouts; the model's weights are laid
    out as is fastest, which changes nothing but the last digits. A named precision is returned as it is.
    """
    if precision != "auto":
        return classifier, precision
    if classifier.opaque:
        return classifier, "float32"
    import torch

    from training.execution import PROBE_BATCH, Execution, candidates, fastest
    from workbench.models.adapt import probes
    from workbench.models.budget import forward_batch
    from workbench.models.execution import products
    from workbench.models.hooks import preserve

    count = min(PROBE_BATCH, forward_batch(classifier))
    images = classifier.prepare(np.resize(probes(classifier.size), (count, *classifier.size, 3)))
    dtypes: dict[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16"}

    def step(execution: Execution) -> None:
        with products(classifier.device, dtypes[execution.precision]):
            execution.place(classifier.module)(execution.images(images))

    with preserve(classifier.module), torch.no_grad():
        best = fastest(candidates("auto", "auto", classifier.device), step)
    best.place(classifier.module)
    return dataclasses.replace(classifier, channels_last=best.channels_last), dtypes[best.precision]


def _load_module(folder: Path, weights: str) -> nn.Module:
    """The checkpoint's model; `CheckpointError` if its weights are no longer those of that SHA-256."""
    import torch

    from training.checkpoint import load as load_checkpoint

    with _translated(CheckpointError):
        module, card = load_checkpoint(folder)
    if card["weights_sha256"] != weights:
        raise CheckpointError(f"{folder} has other weights than when it was opened: open the run again")
    return module.to(memory_format=torch.channels_last)


def load_images(root: str | None, split: str | None, reading: Reading = DEFAULT) -> ImageSet:
    """The split of the data under ``root``, else ``CIFAR10_ROOT``, else ``./data``; never downloads.

    CIFAR-10's published files and the digits are read as ``training`` reads them, by default the test split; all else
    by `load.load_images`.

    Raises
    ------
    DataError
        If there is none, or it can't be read.
    """
    place = training.data.data_root(root)
    named = split or "test"
    options = reading.options
    if reading != DEFAULT or not training.data.reads(place, named):
        return load.load_images(place, split, **options)
    with _translated(DataError):
        shards = training.data.parquet_shards(place, named)
        if shards is None:
            data = training.data.load(place, named)  # type: ignore[arg-type]
            return ImageSet(data.images, data.labels, data.classes, named, data.fingerprint)
    called = {"image": "img", "label": "label"}
    found = from_parquet(shards.files, named, classes=shards.classes, columns=called)  # decoded when they are asked for
    return dataclasses.replace(found, digest=shards.digest)


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
    """Train the small digits model into ``out``, with a progress bar; do nothing if it exists already.

    Raises
    ------
    CheckpointError
        If ``out`` can't be written.
    """
    if (out / training.sidecar.SIDECAR).is_file():
        return
    from training.recipe import RECIPES
    from training.session import Session
    from training.train import train

    report("Training a small model on scikit-learn's handwritten digits: about a minute, no download.")
    with _translated(CheckpointError):
        splits = (training.data.load("digits", "train"), training.data.load("digits", "test"))
        train(Session(RECIPES["digits"], *splits, watch_test=True), out)  # so that its test images have histories
