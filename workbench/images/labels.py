"""Labels as class numbers."""

from __future__ import annotations

import numpy as np
import polars as pl

from workbench.core.names import ClassNames, class_names
from workbench.core.records import IntArray
from workbench.errors import DataError


def class_numbers(column: pl.Series, classes: ClassNames | None, where: str) -> tuple[IntArray, tuple[str, ...]]:
    """Labels as class numbers int64, and the class names."""
    classes = None if classes is None else class_names(classes)
    if column.null_count() or len(column) == 0:
        raise DataError(
            f"{where}: expected a label for every row, {column.null_count():,} of {len(column):,} have none"
        )
    if column.dtype.is_integer():
        low, high = int(column.min()), int(column.max())  # type: ignore[arg-type]
        names = tuple(classes) if classes is not None else tuple(map(str, range(max(high + 1, 2))))
        if low < 0 or high >= len(names):
            raise DataError(f"{where}: expected labels from 0 to {len(names) - 1}, not {low} to {high}")
        return column.to_numpy().astype(np.int64), names
    if column.dtype != pl.String:
        raise DataError(f"{where}: expected labels as whole numbers or names, not {column.dtype}")
    found = column.unique().sort().to_list()
    names = tuple(classes) if classes is not None else tuple(found)
    if strange := sorted(set(found) - set(names)):
        raise DataError(f"{where}: the label {strange[0]!r} is not one of the classes {', '.join(names[:20])}")
    numbers = column.replace_strict(list(names), range(len(names)), return_dtype=pl.Int64)
    return numbers.to_numpy(), names
