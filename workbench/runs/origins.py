"""Which train images speak for a run's errors: with the train split at hand, or what is kept beside a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench import store
from workbench.analysis.dynamics import DYNAMICS, trained_rows
from workbench.analysis.influence import TOP, Influence, influence
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet, IntArray
from workbench.errors import DataError
from workbench.runs.parts import images_of
from workbench.runs.run import Run

TRAIN = "train_features.npz"  # beside a checkpoint, by `store.reduced.write_reduced`


@dataclass(frozen=True)
class Origins:
    """The train rows that speak for and against some errors' answers.

    ``train``: the predictions on the train split; ``images``: its images, or None if they are not on this machine.
    """

    influence: Influence
    train: Predictions
    images: ImageSet | None


def has_train(run: Run) -> bool:
    """Whether a run has predictions on the train split, or keeps them beside its checkpoint."""
    return run.train is not None or (run.checkpoint is not None and (run.checkpoint / TRAIN).is_file())


def train_of(run: Run, data: str | None = None) -> tuple[Predictions, ImageSet | None]:
    """The run's predictions on the train split with embeddings, and its images if they are at hand.

    Those of `with_train`, else the ones kept beside the checkpoint, whose embeddings are reduced to a few directions;
    ``data`` is the folder of the images, as for `open_run`.

    Raises
    ------
    DataError
        If there are none, or the file is damaged or of another model.
    """
    if run.train is not None:
        return run.train, run.train_images
    if run.checkpoint is None or not has_train(run):
        raise DataError(
            f"train images: the run has no predictions on the train split: predict it (--split train), and open the "
            f"run with workbench.with_train(run, DIR), or keep {TRAIN} beside the checkpoint (store.write_reduced)"
        )
    found = store.read(run.checkpoint / TRAIN)
    own, theirs = run.predictions.provenance.checkpoint, found.provenance.checkpoint
    if own is not None and theirs is not None and own != theirs:
        raise DataError(
            f"{run.checkpoint / TRAIN} was made with other weights than these predictions: write it again "
            "(store.write_reduced), or delete it"
        )
    return found, images_of(found, data)


def trained_part(run: Run, train: Predictions) -> Predictions:
    """The train rows of a run without those that validated, where the checkpoint's dynamics tell them apart."""
    trained = None if run.checkpoint is None else trained_rows(run.checkpoint / DYNAMICS)
    if trained is None:
        return train
    places = np.flatnonzero(np.isin(train.index, trained))
    return Predictions(train.take(places).lazy(), train.classes, train.provenance)


def origins(run: Run, rows: IntArray, *, top: int = TOP, data: str | None = None) -> Origins:
    """The train rows that speak for the predicted class over the true one, and against it, for misclassified rows.

    Rows of the train split that validated are left out where ``dynamics.parquet`` beside the checkpoint records which
    these are: they took no step.

    Parameters
    ----------
    run : Run
        With embeddings, and with train rows as `train_of` finds them.
    rows : int64 array (n,)
        Ids of misclassified rows.
    top : int
        How many train rows on each side.
    data : str, optional
        Folder with the train images.

    Returns
    -------
    Origins

    Raises
    ------
    DataError
        As `train_of` and `analysis.influence.influence`.
    """
    train, images = train_of(run, data)
    found = influence(run.predictions, trained_part(run, train), np.asarray(rows, np.int64), top=top)
    return Origins(found, train, images)
