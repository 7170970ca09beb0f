"""A run: predictions with, where they are at hand, the images and the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.analysis.forecasts import RepairForecast, read_forecasts
from workbench.analysis.robustness import Robustness, join_fragility, read_robustness
from workbench.analysis.votes import join_votes, read_votes
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from workbench.models.classifier import Classifier


@dataclass(frozen=True)
class Run:
    """What an explorer or report works on.

    Parameters
    ----------
    name : str
    predictions : Predictions
    images : ImageSet or None
        None where the images are not on this machine.
    classifier : Classifier or None
        None where there are predictions alone.
    notes : tuple of str
        What is missing, and the remedy.
    folder : Path or None
        Where decisions, maps and layouts are kept; None for nowhere.
    checkpoint : Path or None
        Folder of the model, with the history of its training if there is one.
    train, train_images : Predictions and ImageSet, or None
        The train split with embeddings, and its images, for the nearest train images.
    robustness : Robustness or None
        How the answers change with the image, where that was measured.
    forecasts : tuple of RepairForecast
        What repairs would bring, where that was forecast.
    opened : str
        The Python expression that opens the run again, empty if there is none.
    """

    name: str
    predictions: Predictions
    images: ImageSet | None = None
    classifier: Classifier | None = None
    notes: tuple[str, ...] = ()
    folder: Path | None = None
    checkpoint: Path | None = None
    train: Predictions | None = None
    train_images: ImageSet | None = None
    opened: str = ""
    robustness: Robustness | None = None
    forecasts: tuple[RepairForecast, ...] = ()


def with_votes(run: Run, votes: ArrayLike | Path | str) -> Run:
    """The run with the human labels of each image.

    Parameters
    ----------
    run : Run
    votes : array (M, K), or path of a .npy file
        Counts or shares of each class, by row id; see `analysis.votes.join_votes`.

    Returns
    -------
    Run
        With a path the run can be opened again by code.

    Raises
    ------
    DataError
        If the human labels do not fit the predictions, or the file can't be read.
    """
    named = isinstance(votes, str | Path)
    matrix = read_votes(Path(votes)) if isinstance(votes, str | Path) else votes
    opened = chain(run, "with_votes", str(votes)) if named else ""
    return replace(run, predictions=join_votes(run.predictions, matrix), opened=opened)


def with_robustness(run: Run, folder: Path | str) -> Run:
    """The run with what ``python -m workbench robustness`` measured of it, and the fragility of its errors as columns.

    Parameters
    ----------
    run : Run
    folder : path
        What the command wrote.

    Returns
    -------
    Run

    Raises
    ------
    DataError
        If the folder holds no such measurement, or one of another model or of other images.
    """
    measured = read_robustness(Path(folder), run.predictions)
    opened = chain(run, "with_robustness", str(folder))
    return replace(run, predictions=join_fragility(run.predictions, measured), robustness=measured, opened=opened)


def with_forecasts(run: Run, folder: Path | str) -> Run:
    """The run with what ``python -m workbench forecast`` found that repairs would bring, for the findings.

    Parameters
    ----------
    run : Run
    folder : path
        What the command wrote.

    Returns
    -------
    Run

    Raises
    ------
    DataError
        If the folder holds no forecasts, or those of another model or of other images.
    """
    found = read_forecasts(Path(folder), run.predictions)
    return replace(run, forecasts=found, opened=chain(run, "with_forecasts", str(folder)))


def with_device(run: Run, device: str) -> Run:
    """The run with its model on a device, where predictions, maps and evidence are then computed.

    Parameters
    ----------
    run : Run
    device : "auto", "cpu", "cuda" or "cuda:N"
        Auto is a GPU if there is one.

    Returns
    -------
    Run

    Raises
    ------
    DataError
        If there is no such device, or the run has no model.
    """
    from workbench.models.execution import on_device

    if run.classifier is None:
        raise DataError("with_device: the run has predictions alone: open it with a checkpoint or classifier")
    return replace(run, classifier=on_device(run.classifier, device), opened=chain(run, "with_device", device))


def chain(run: Run, function: str, *arguments: str, **options: str | None) -> str:
    """The Python that opens the run again and calls ``function`` on it; empty if the run can't be opened again."""
    given = [repr(argument) for argument in arguments]
    given += [f"{name}={value!r}" for name, value in options.items() if value is not None]
    return f"workbench.{function}({', '.join([run.opened, *given])})" if run.opened else ""
