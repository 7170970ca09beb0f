"""Arrays in files, and as the table of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.errors import DataError


def read_matrix(path: Path) -> NDArray[np.generic]:
    """The array in a ``.npy`` file, never unpickled.

    Raises
    ------
    DataError
        If the file is missing, damaged, holds objects or is not a matrix.
    """
    try:
        found: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is missing or no NumPy matrix ({error})") from error
    return found


def table_of_arrays(
    label: ArrayLike,
    probability: ArrayLike,
    classes: Sequence[str],
    index: ArrayLike | None,
    embedding: ArrayLike | None,
) -> pl.DataFrame:
    """The columns that `Predictions` needs, as `Predictions.from_arrays` takes them.

    Raises
    ------
    DataError
        If the shapes do not fit each other.
    """
    try:
        values, labels = np.ascontiguousarray(probability, np.float32), np.asarray(label)
    except (ValueError, TypeError) as error:
        raise DataError(f"label and probability: expected numbers in rows of one length ({error})") from error
    if values.shape != (len(labels), len(classes)):
        raise DataError(
            f"probability: expected {len(labels)} rows of {len(classes)} classes, not {values.shape}: "
            "labels, class names and the model must fit each other"
        )
    columns: dict[str, Any] = {
        "index": np.arange(len(labels)) if index is None else np.asarray(index),
        "label": labels,
        "predicted": values.argmax(1) if len(values) else np.zeros(0, np.int64),
        "probability": pl.Series(values, dtype=pl.Array(pl.Float32, len(classes))),
    }
    if embedding is not None:
        columns["embedding"] = np.ascontiguousarray(embedding, np.float32)
    for name, column in columns.items():
        if len(column) != len(labels):
            raise DataError(f"{name}: expected {len(labels)} values, not {len(column)}")
    return pl.DataFrame(columns)
