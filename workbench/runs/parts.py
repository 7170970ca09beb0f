"""A run's parts brought together: which images belong to predictions, and whether all of it fits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.errors import CheckpointError, DataError
from workbench.images.reading import Reading
from workbench.models.match import match_classes
from workbench.runs import training
from workbench.runs.run import Run

if TYPE_CHECKING:
    from workbench.models.classifier import Classifier

PATH = "path"
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NO_IMAGES = "The images are not on this machine, so only numbers are shown. "
FETCH_CIFAR10 = (
    "Fetch CIFAR-10 once with `python -m training.run --data data --download`, or set CIFAR10_ROOT to a copy, and run "
    "this again."
)
NAME_IMAGES = "Name their folder with --data or data=, or give the predictions a column 'path'."
OTHER_PIXELS = (
    "These images have the same labels as those the predictions were made on, but other pixels (another encoding). "
    "The numbers refer to the original pixels; `python -m workbench predict` writes new predictions."
)
TRAINED_ON = (
    "The model was trained on these very images: what it gets wrong here says little of new ones. Name others with "
    "--data or data=."
)
OTHER_IMAGES = (
    "The images in CIFAR10_ROOT or ./data are not those of these predictions, so only numbers are shown. "
    "Name the matching ones with --data or data=."
)


def images_of(predictions: Predictions, data: str | None) -> ImageSet | None:
    """The images that predictions were made on, by fingerprint, if they are on this machine; else None.

    Raises
    ------
    DataError
        If the images can't be read.
    """
    split = predictions.provenance.split
    if split is None:
        return None
    images = images_at_hand(data, split, predictions.provenance.reading)
    return images if images is not None and images.fingerprint == predictions.provenance.data else None


def images_at_hand(data: str | None, split: str | None = None, reading: str | None = None) -> ImageSet | None:
    """The images of a split, read as predictions say; None if no folder is named and the default one is missing."""
    fallback = Path(os.environ.get("CIFAR10_ROOT", "data"))
    if data is None and not fallback.is_dir():
        return None
    return training.load_images(data, split, Reading.of_remark(reading))


def images_of_table(predictions: Predictions, file: Path, data: str | None) -> ImageSet | None:
    """The images of predictions: at their own ``path``s, within ``data`` or the file's folder, else those of the data.

    Predictions of unknown origin and without paths are not matched with images unless ``data`` names them.
    """
    if PATH not in predictions.table.collect_schema():
        if data is None and predictions.provenance.data is None:
            return None
        return images_at_hand(data, predictions.provenance.split, predictions.provenance.reading)
    from workbench.images import of_paths

    root = Path(data) if data is not None else file if file.is_dir() else file.parent
    paths = predictions.columns(PATH)[PATH].cast(pl.String).fill_null("").to_list()
    return of_paths(paths, predictions.label, predictions.classes, root, ids=predictions.index)


def _same_labels(images: ImageSet, predictions: Predictions) -> bool:
    if images.classes != predictions.classes:
        return False
    try:
        return np.array_equal(images.labels_of(predictions.index), predictions.label)
    except DataError:  # a row has no image
        return False


def remedy(classes: Sequence[str]) -> str:
    """What to do where the images of predictions are not at hand."""
    return FETCH_CIFAR10 if tuple(classes) == CIFAR10 else NAME_IMAGES


def _matched(images: ImageSet, classes: tuple[str, ...]) -> ImageSet:
    """The images with their classes in this order, if they are the same by name; else as they are."""
    try:
        return match_classes(images, classes)
    except DataError:  # other images, which the caller refuses or ignores
        return images


def trained_on(classifier: Classifier | None, images: ImageSet) -> bool:
    """Whether a checkpoint records that it was trained on these very images."""
    data = {} if classifier is None else classifier.card.get("data", {})
    return bool(images.fingerprint) and data.get("fingerprint_train") == images.fingerprint


def assemble(
    name: str,
    predictions: Predictions,
    images: ImageSet | None,
    classifier: Classifier | None,
    *,
    named: bool = True,
) -> Run:
    """The run of parts that fit each other; other images are ignored, or an error if the user ``named`` them."""
    if classifier is not None and predictions.provenance.checkpoint != classifier.provenance.checkpoint:
        raise CheckpointError(f"the predictions of {name} were made with other weights: predict again with --force")
    images = images and _matched(images, predictions.classes)
    run = Run(name, predictions, images, classifier, notes=images.notes if images else ())
    if images is not None and images.split != "train" and trained_on(classifier, images):
        run = replace(run, notes=(*run.notes, TRAINED_ON))
    if images is None:
        return replace(run, notes=(NO_IMAGES + remedy(predictions.classes),))
    if PATH in predictions.table.collect_schema() or images.fingerprint == predictions.provenance.data:
        return run
    if not _same_labels(images, predictions):
        if not named:
            return replace(run, images=None, notes=(OTHER_IMAGES,))
        raise DataError(f"the images are not those of the predictions of {name}: point --data at their folder")
    return replace(run, notes=(*run.notes, OTHER_PIXELS))
