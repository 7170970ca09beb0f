"""What a run writes beside the weights: history, dynamics and their curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.files import write_atomically
from training.session import Session

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HISTORY, DYNAMICS, CURVES = "history.csv", "dynamics.parquet", "curves.png"
COLUMNS = (
    "epoch",
    "image_size",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "seconds",
    "images_per_s",
)
WATCHED = ("test_loss", "test_accuracy")  # with --watch-test, before the seconds
SPLITS = (("train", "#4477AA", "o"), ("validation", "#EE6677", "s"), ("test", "#228833", "^"))


def write_history(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write ``history.csv``: one row per epoch; losses in nats without smoothing, accuracies as fractions.

    Train columns are means over the epoch on augmented images; the others are measured after it. `WATCHED` are
    there if the test split was evaluated after each epoch.
    """
    columns = [*COLUMNS[:-2], *(name for name in WATCHED if name in history[0]), *COLUMNS[-2:]]

    def write(path: Path) -> None:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(history)

    write_atomically(folder / HISTORY, write)


def write_dynamics(folder: Path, session: Session) -> None:
    """Write ``dynamics.parquet``: one row for each image, with lists over the finished epochs.

    ``split`` and ``index`` name the image. Rows trained on have ``loss`` (float32, nats) and ``correct``
    on the augmented image, as in Swayamdipta 2020 (arXiv 2009.10795) and Toneva 2019 (arXiv
    1812.05159); the rows of the train split that validate, and the test rows if they were evaluated after each
    epoch, have ``predicted`` and ``label_probability``. Other cells are null. Losses and probabilities are rounded to
    12 binary digits, a relative error of at most 1/4096, which makes the file a third smaller.
    """
    import polars as pl

    epochs = len(session.history)
    measured = {name: _rounded(tensor[:epochs].T.numpy()) for name, tensor in session.measured.items()}

    def frame(split: str, index: NDArray[np.int64], **columns: NDArray[Any]) -> pl.DataFrame:
        cells = {name: pl.Series(np.ascontiguousarray(values)).arr.to_list() for name, values in columns.items()}
        return pl.DataFrame({"split": [split] * len(index), "index": index, **cells})

    frames = [frame("train", session.train_rows, loss=measured["row_loss"], correct=measured["row_correct"] > 0)]
    evaluated = {"validation": ("train", session.validation_rows)}
    if session.watch_test and session.test is not None:
        evaluated["test"] = ("test", np.arange(len(session.test)))
    for name, (split, index) in evaluated.items():
        told = {column: measured[f"{name}_{column}"] for column in ("predicted", "label_probability")}
        frames.append(frame(split, index, **told))
    whole = pl.concat(frames, how="diagonal").sort("split", "index", descending=[True, False])
    write_atomically(folder / DYNAMICS, lambda path: whole.write_parquet(path, compression="zstd"))


def _rounded(values: NDArray[Any]) -> NDArray[Any]:
    """Float32 values of at least 0 to 12 binary digits; values of other types as they are."""
    if values.dtype != np.float32:
        return values
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + np.uint32(1 << 11)) & ~np.uint32((1 << 12) - 1)).view(np.float32)


def read_history(folder: Path) -> list[dict[str, float]]:
    """The rows that `write_history` wrote, all as numbers.

    Raises
    ------
    TrainingError
        If the file is missing or has other columns.
    """
    path = folder / HISTORY
    if not path.is_file():
        raise TrainingError(f"{path} is missing: expected the history that training.run writes")
    with path.open(newline="") as stream:
        reader = csv.DictReader(stream)
        if {*(reader.fieldnames or ())} - {*WATCHED} != {*COLUMNS}:
            raise TrainingError(f"{path}: expected the columns {', '.join(COLUMNS)}: restore the original file")
        return [{name: float(value) for name, value in row.items()} for row in reader]


def curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss, accuracy and learning rate over the epochs."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for split, colour, marker in SPLITS:
        if f"{split}_loss" not in history[0]:
            continue
        style = {"color": colour, "marker": marker, "markersize": 4, "label": split}
        loss.plot(epochs, [row[f"{split}_loss"] for row in history], **style)
        accuracy.plot(epochs, [row[f"{split}_accuracy"] for row in history], **style)
    rate.plot(epochs, [row["learning_rate"] for row in history], color="#444444", marker="o", markersize=4)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    for ax, title in ((loss, "Cross entropy (nats)"), (accuracy, "Accuracy"), (rate, "Learning rate at the end")):
        ax.set_title(title, loc="left")
        ax.set_xlabel("Epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    loss.legend(frameon=False)
    return figure


def write_curves(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write `curves` as ``curves.png``."""
    figure = curves(history)
    write_atomically(folder / CURVES, lambda path: figure.savefig(path, dpi=150, format="png"))
