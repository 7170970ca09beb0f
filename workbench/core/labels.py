"""Labels as class numbers, from the forms in which people have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from workbench.core.names import ClassNames, class_names
from workbench.core.records import IntArray
from workbench.errors import DataError


def label_column(values: Any, where: str) -> pl.Series:
    """Labels in memory as one column: ``(N,)``, ``(N, 1)`` as Keras has them, or one-hot ``(N, K)``.

    Raises
    ------
    DataError
        If the shape is another, a row of ``(N, K)`` is not one-hot, or the labels are of several kinds.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of several lengths
        raise DataError(f"{where}: expected one label a row, not several of some: choose one of them") from error
    if array.ndim == 2 and array.shape[1] > 1:
        if array.dtype.kind not in "biuf" or not (np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all()):
            raise DataError(f"{where}: expected one label a row, or one-hot rows, not {array.dtype} {array.shape}")
        array = array.argmax(1)
    if array.ndim != 1 and (array.ndim != 2 or array.shape[1] != 1):
        raise DataError(f"{where}: expected labels (N,), (N, 1) or one-hot (N, K), not {array.shape}")
    flat = array.ravel()
    try:
        return pl.Series("label", flat.tolist() if flat.dtype == object else flat)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{where}: expected labels as whole numbers or names, all of one kind ({error})") from error


def whole_numbers(column: pl.Series) -> pl.Series:
    """Bool, float-coded and categorical labels as whole numbers or names; others as they are."""
    if column.dtype in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if column.dtype == pl.Boolean:
        return column.cast(pl.Int64)
    if column.dtype.is_float():
        filled = column.fill_nan(None)
        if (filled.drop_nulls() == filled.drop_nulls().round()).all():
            return filled.cast(pl.Int64, strict=False)
    return column


def class_numbers(column: pl.Series, classes: ClassNames | None, where: str) -> tuple[IntArray, tuple[str, ...]]:
    """Labels as class numbers int64, and the class names.

    Whole numbers (also as float or bool) or names. Without ``classes`` these are the names in alphabetical order, or
    the numbers: from 1 where the lowest label is 1, else from 0.

    Raises
    ------
    DataError
        If a row has no label, or one that is not among the classes.
    """
    named = None if classes is None else class_names(classes)
    column = whole_numbers(column)
    if column.null_count() or len(column) == 0:
        raise DataError(
            f"{where}: expected a label for every row, {column.null_count():,} of {len(column):,} have none"
        )
    if column.dtype.is_integer():
        return _of_numbers(column.cast(pl.Int64), named, where)
    if column.dtype != pl.String:
        raise DataError(f"{where}: expected labels as whole numbers or names, not {column.dtype}")
    found = column.unique().sort().to_list()
    names = named or tuple(found)
    if strange := sorted(set(found) - set(names)):
        raise DataError(f"{where}: the label {strange[0]!r} is not one of the classes {', '.join(names[:20])}")
    numbers = column.replace_strict(list(names), range(len(names)), return_dtype=pl.Int64)
    return numbers.to_numpy(), names


def _of_numbers(column: pl.Series, named: tuple[str, ...] | None, where: str) -> tuple[IntArray, tuple[str, ...]]:
    low, high = int(column.min()), int(column.max())  # type: ignore[arg-type]
    if low == -1:
        raise DataError(
            f"{where}: expected a label for every row, {int((column == -1).sum()):,} of {len(column):,} have -1, which "
            "stands for none: choose a split with labels"
        )
    if named is None:
        first = 1 if low == 1 else 0
        if low >= 0:
            return (column - first).to_numpy(), tuple(map(str, range(first, max(high + 1, first + 2))))
        raise DataError(f"{where}: expected labels from 0, not from {low}")
    if low < 0 or high >= len(named):
        counted = ": they count from 1; subtract 1" if low >= 1 and high == len(named) else ""
        raise DataError(f"{where}: expected labels from 0 to {len(named) - 1}, not {low} to {high}{counted}")
    return column.to_numpy(), named
