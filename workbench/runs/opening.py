"""Opening and making runs: from a checkpoint, from predictions, from any classifier on any images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from workbench import store
from workbench.analysis.neighbours import join_neighbours
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.errors import CheckpointError, DataError
from workbench.images.reading import Reading
from workbench.models import predict, sharding
from workbench.models.match import match_classes
from workbench.runs import training
from workbench.runs.run import Run, chain
from workbench.store import remote

if TYPE_CHECKING:
    import pandas

    from workbench.core.names import ClassNames
    from workbench.models.classifier import Classifier


ROOT = Path(__file__).resolve().parent.parent.parent
IN_SOURCE_TREE = (ROOT / "pyproject.toml").is_file()  # an installed package has neither checkpoint nor notebooks
SHIPPED = ROOT / "artifacts" / "resnet18_ln_cifar10"
DIGITS = ROOT / "artifacts" / "digits"
PREDICTIONS, WORK, PATH = "predictions", "explorer", "path"
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
OTHER_IMAGES = (
    "The images in CIFAR10_ROOT or ./data are not those of these predictions, so only numbers are shown. "
    "Name the matching ones with --data or data=."
)
NO_CHECKPOINT = (
    "There is no CIFAR-10 checkpoint in artifacts/resnet18_ln_cifar10, so this is the handwritten digits' model. "
    "Train the CIFAR-10 model with "
    "`python -m training.run --recipe fast --data data --download --out artifacts/resnet18_ln_cifar10`."
)


def open_run(folder: Path | str = SHIPPED, data: str | None = None) -> Run:
    """The run in a checkpoint's folder, with its own predictions or, if it has none, fresh ones.

    Parameters
    ----------
    folder : path
        Holds ``model.safetensors`` and ``model.json``; default: the shipped checkpoint of the source tree.
    data : str, optional
        Folder or table with the images, or ``"digits"``; default: ``CIFAR10_ROOT``, else ``./data``.

    Returns
    -------
    Run
        Without images the numbers come from the predictions beside the checkpoint, and a note explains how to get the
        images.

    Raises
    ------
    CheckpointError, DataError
        If the checkpoint or its predictions are damaged, or there are neither predictions nor images.
    """
    folder = Path(folder)
    classifier = training.load_classifier(folder)
    images = _images_at_hand(data)
    if (folder / PREDICTIONS).is_dir():
        predictions = store.read(folder / PREDICTIONS)
    elif images is not None:
        predictions = predict.predict(classifier, images)
    else:
        raise DataError(
            f"{folder} has no predictions, and no images to predict are at hand. {_remedy(classifier.classes)}"
        )
    run = _assemble(folder.name, predictions, images, classifier, named=data is not None)
    call = f"workbench.open_run({str(folder)!r}{_option(data=data)})"
    return replace(run, folder=folder / WORK, checkpoint=folder, opened=call)


def open_predictions(
    predictions: Path | str | pl.DataFrame | pl.LazyFrame | pandas.DataFrame | None,
    checkpoint: Path | str | None = None,
    data: str | None = None,
    *,
    classifier: Classifier | None = None,
    classes: ClassNames | None = None,
    columns: Mapping[str, str] | None = None,
    threshold: float | None = None,
) -> Run:
    """The run of predictions in a folder or file, with the model in ``checkpoint`` and the images if they are given.

    Parameters
    ----------
    predictions : path, URL, data frame or None
        What ``workbench predict`` wrote, a file of another system, or a table of pandas or Polars; see `store.read`.
        None: those of ``checkpoint``.
    checkpoint : path, optional
        Folder of the model.
    data : str, optional
        Folder or table with the images. Images of a column ``path`` are read in it, by default beside the file.
        Other predictions of unknown origin are matched with images only if ``data`` names them.
    classifier : Classifier, optional
        Replaces ``checkpoint``.
    classes, columns, threshold : optional
        Class names of a file, its names of our columns, and what decides between two classes; those of `store.read`.

    Returns
    -------
    Run

    Raises
    ------
    CheckpointError, DataError
        If neither predictions nor a checkpoint are given, or what is given is damaged or does not fit.
    """
    checkpoint = None if checkpoint is None else Path(checkpoint)
    if predictions is None:
        if checkpoint is None:
            raise DataError("nothing to report on: give --predictions PATH or --checkpoint DIR")
        return open_run(checkpoint, data)
    if classifier is None and checkpoint is not None:
        classifier = training.load_classifier(checkpoint)
    if not isinstance(predictions, str | Path):
        return _open_frame(predictions, data, classifier, classes=classes, columns=columns, threshold=threshold)
    address, predictions = predictions, remote.fetch(predictions)
    found = store.read(predictions, classes=classes, columns=columns, threshold=threshold)
    images = _images_of_table(found, predictions, data)
    whole = predictions.resolve()  # a relative path may have no parent to be named after
    name = whole.parent.name if whole.name == PREDICTIONS else whole.name
    run = _assemble(name, found, images, classifier, named=data is not None)
    beside = predictions / WORK if predictions.is_dir() else predictions.with_name(f"{predictions.stem}_{WORK}")
    notes = (*run.notes, *found.notes, *(_skipped_note(store.skipped(predictions)) if predictions.is_dir() else ()))
    folder = None if remote.is_url(address) else beside
    options = _option(checkpoint=checkpoint, data=data, classes=classes, columns=columns, threshold=threshold)
    call = (
        ""
        if classifier is not None and checkpoint is None
        else f"workbench.open_predictions({str(address)!r}{options})"
    )
    return replace(run, folder=folder, checkpoint=checkpoint, notes=notes, opened=call)


def _open_frame(table: Any, data: str | None, classifier: Classifier | None, **options: Any) -> Run:
    """The run of a data frame in memory; `DataError` if it is something else."""
    if not hasattr(table, "columns"):
        raise DataError(
            f"predictions: expected a path, a URL or a data frame of pandas or Polars, not {type(table).__name__}: put "
            "arrays into a frame, or save them with numpy.savez('p.npz', label=..., probability=...)"
        )
    found = store.from_frame(table, **options)
    run = _assemble("table", found, _images_of_table(found, Path(), data), classifier, named=data is not None)
    return replace(run, notes=(*run.notes, *found.notes))


def analyse(
    classifier: Classifier,
    images: ImageSet,
    folder: Path | str | None = None,
    *,
    name: str = "model",
    skip: bool = False,
    memory_gb: float | None = None,
    progress: predict.Progress | None = None,
) -> Run:
    """The run of any classifier on any images: its predictions, made now or found in ``folder``.

    Parameters
    ----------
    classifier : Classifier
    images : ImageSet
    folder : path, optional
        Where predictions, tags and maps are kept; predictions of the same weights and images are reused.
    name : str
        How the run is called.
    skip : bool
        Whether images that can't be read are omitted and counted in the run's notes; else the first one is an error.
    memory_gb : float, optional
        What a batch may use; by default a quarter of what is free, at most 1 GiB.
    progress : function (done, total), optional

    Returns
    -------
    Run

    Raises
    ------
    DataError
        As `predict.predict`; or if ``folder`` holds predictions of another model or other images.
    OutputError
        If the folder can't be written.
    """
    images = match_classes(images, classifier.classes)
    if folder is None:
        reasons: dict[int, str] = {}
        made = predict.predict(
            classifier, images, memory_gb=memory_gb, skipped=reasons if skip else None, progress=progress
        )
        return replace(_assemble(name, made, images, classifier), notes=(*images.notes, *_skipped_note(reasons)))
    place = Path(folder) / PREDICTIONS
    if not (place / store.PROVENANCE).is_file():
        sharding.predict_into(classifier, images, place, skip=skip, memory_gb=memory_gb, progress=progress)
    run = _assemble(name, store.read(place), images, classifier)
    if run.predictions.provenance.data != images.fingerprint:
        raise DataError(f"{place} holds predictions on other images: name another folder")
    return replace(run, folder=Path(folder) / WORK, notes=(*run.notes, *_skipped_note(store.skipped(place))))


def _option(**given: object) -> str:
    """Options of a call as Python, without those that are None or empty."""
    return "".join(f", {k}={(str(v) if isinstance(v, Path) else v)!r}" for k, v in given.items() if v)


def _skipped_note(reasons: Mapping[int, str]) -> tuple[str, ...]:
    if not reasons:
        return ()
    row, reason = next(iter(reasons.items()))
    return (f"{len(reasons):,} images can't be read and are omitted. For example, row {row}: {reason}.",)


def train_digits(folder: Path | str | None = None) -> Run:
    """The digits run; its small model is trained first if it does not exist yet (about a minute).

    Parameters
    ----------
    folder : path, optional
        Folder of the checkpoint; default: ``artifacts/digits`` of the source tree.

    Returns
    -------
    Run

    Raises
    ------
    CheckpointError
        If ``folder`` can't be written or holds a damaged checkpoint.
    DataError
        If no folder is named and this is an installed package, which has no default folder.
    """
    if folder is None:
        if not IN_SOURCE_TREE:
            raise DataError(
                "train_digits: expected a folder for the checkpoint, as in workbench.train_digits('digits')"
            )
        folder = DIGITS
    training.train_digits(Path(folder))
    return open_run(folder, data="digits")


def open_example() -> Run:
    """The shipped CIFAR-10 run; the digits run where no checkpoint is shipped.

    Returns
    -------
    Run

    Raises
    ------
    CheckpointError, DataError
        As `open_run`; or if this is an installed package: the shipped checkpoint is in the source tree only.
    """
    if not IN_SOURCE_TREE:
        raise DataError(
            "open_example: the shipped checkpoint is in the source tree only, and this is an installed package: open a "
            "checkpoint with workbench.open_run('DIR'), or train the digits' with workbench.train_digits('digits')"
        )
    if SHIPPED.is_dir():
        return open_run()
    run = train_digits()
    return replace(run, notes=(*run.notes, NO_CHECKPOINT))


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
    images = _images_at_hand(data, split, predictions.provenance.reading)
    return images if images is not None and images.fingerprint == predictions.provenance.data else None


def _images_at_hand(data: str | None, split: str | None = None, reading: str | None = None) -> ImageSet | None:
    """The images of a split, read as predictions say; None if no folder is named and the default one is missing."""
    fallback = Path(os.environ.get("CIFAR10_ROOT", "data"))
    if data is None and not fallback.is_dir():
        return None
    return training.load_images(data, split, Reading.of_remark(reading))


def _images_of_table(predictions: Predictions, file: Path, data: str | None) -> ImageSet | None:
    """The images of predictions: at their own ``path``s, within ``data`` or the file's folder, else those of the data.

    Predictions of unknown origin and without paths are not matched with images unless ``data`` names them.
    """
    if PATH not in predictions.table.collect_schema():
        if data is None and predictions.provenance.data is None:
            return None
        return _images_at_hand(data, predictions.provenance.split, predictions.provenance.reading)
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


def _remedy(classes: Sequence[str]) -> str:
    return FETCH_CIFAR10 if tuple(classes) == CIFAR10 else NAME_IMAGES


def _matched(images: ImageSet, classes: tuple[str, ...]) -> ImageSet:
    """The images with their classes in this order, if they are the same by name; else as they are."""
    try:
        return match_classes(images, classes)
    except DataError:  # other images, which the caller refuses or ignores
        return images


def _assemble(
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
    if images is None:
        return replace(run, notes=(NO_IMAGES + _remedy(predictions.classes),))
    if PATH in predictions.table.collect_schema() or images.fingerprint == predictions.provenance.data:
        return run
    if not _same_labels(images, predictions):
        if not named:
            return replace(run, images=None, notes=(OTHER_IMAGES,))
        raise DataError(f"the images are not those of the predictions of {name}: point --data at their folder")
    return replace(run, notes=(*run.notes, OTHER_PIXELS))


def with_train(run: Run, train: Path | str, data: str | None = None) -> Run:
    """The run with predictions on the train split, and its images if they are at hand, for the nearest train images.

    Parameters
    ----------
    run : Run
    train : path
        Predictions on the train split, with embeddings.
    data : str, optional
        Folder or table with the images, as for `open_run`.

    Returns
    -------
    Run

    Raises
    ------
    DataError
        If they can't be read, or have no embeddings or embeddings of another width than the run's.
    """
    found = store.read(Path(train))
    return replace(
        run,
        predictions=join_neighbours(run.predictions, found),
        train=found,
        train_images=images_of(found, data),
        opened=chain(run, "with_train", str(train), data=data),
    )
