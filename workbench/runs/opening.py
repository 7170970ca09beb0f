"""Opening and making runs: from a checkpoint, from predictions, from any classifier on any images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench import store
from workbench.analysis.neighbours import join_neighbours
from workbench.core.records import ImageSet
from workbench.errors import DataError
from workbench.models.match import match_classes
from workbench.runs import training
from workbench.runs.parts import assemble, images_at_hand, images_of, images_of_table, remedy
from workbench.runs.run import Run, chain
from workbench.store import remote

if TYPE_CHECKING:
    import pandas

    from workbench.core.names import ClassNames
    from workbench.models.classifier import Classifier
    from workbench.models.predict import Progress


ROOT = Path(__file__).resolve().parent.parent.parent
IN_SOURCE_TREE = (ROOT / "pyproject.toml").is_file()  # an installed package has neither checkpoint nor notebooks
SHIPPED = ROOT / "artifacts" / "resnet18_ln_cifar10"
PREDICTIONS, WORK = "predictions", "explorer"


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
    images = images_at_hand(data)
    if (folder / PREDICTIONS).is_dir():
        predictions = store.read(folder / PREDICTIONS)
    elif images is not None:
        from workbench.models.predict import predict

        predictions = predict(classifier, images)
    else:
        raise DataError(
            f"{folder} has no predictions, and no images to predict are at hand. {remedy(classifier.classes)}"
        )
    run = assemble(folder.name, predictions, images, classifier, named=data is not None)
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
    images = images_of_table(found, predictions, data)
    whole = predictions.resolve()  # a relative path may have no parent to be named after
    name = whole.parent.name if whole.name == PREDICTIONS else whole.name
    run = assemble(name, found, images, classifier, named=data is not None)
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
    run = assemble("table", found, images_of_table(found, Path(), data), classifier, named=data is not None)
    return replace(run, notes=(*run.notes, *found.notes))


def analyse(
    classifier: Classifier,
    images: ImageSet,
    folder: Path | str | None = None,
    *,
    name: str = "model",
    skip: bool = False,
    memory_gb: float | None = None,
    progress: Progress | None = None,
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
        from workbench.models.predict import predict

        reasons: dict[int, str] = {}
        made = predict(classifier, images, memory_gb=memory_gb, skipped=reasons if skip else None, progress=progress)
        return replace(assemble(name, made, images, classifier), notes=(*images.notes, *_skipped_note(reasons)))
    from workbench.models import sharding

    place = Path(folder) / PREDICTIONS
    if not (place / store.PROVENANCE).is_file():
        sharding.predict_into(classifier, images, place, skip=skip, memory_gb=memory_gb, progress=progress)
    run = assemble(name, store.read(place), images, classifier)
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


def with_train(run: Run, train: Path | str, data: str | None = None) -> Run:
    """The run with predictions on the train split, and its images if they are at hand.

    For the nearest train images, and for the images that expected gradients start from.

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
    images, classifier = images_of(found, data), run.classifier
    if classifier is not None and images is not None:
        from workbench.models.references import with_references

        classifier = with_references(classifier, images)
    return replace(
        run,
        predictions=join_neighbours(run.predictions, found),
        classifier=classifier,
        train=found,
        train_images=images,
        opened=chain(run, "with_train", str(train), data=data),
    )
