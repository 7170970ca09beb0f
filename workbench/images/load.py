"""Image sets from folders, Parquet files, tables of paths, data sets and arrays, read on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from workbench.core.records import ImageSet
from workbench.errors import DataError
from workbench.images.arrays import from_npz
from workbench.images.folders import LAYOUTS, from_folder, from_table
from workbench.images.parquet import from_parquet, image_column


def load_images(
    path: Path | str,
    split: str = "test",
    *,
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> ImageSet:
    """The images at ``path``, by its layout; see `from_folder`, `from_parquet`, `from_table` and `from_arrays`.

    Parameters
    ----------
    path : path
        A folder of class folders or Parquet files, a ``.csv`` or ``.parquet`` of paths and labels, or an ``.npz``.
    split : str
        Which part of it, such as ``"train"``, ``"val"`` or ``"test"``.
    classes : sequence of str, optional
        Class names in the order of the labels' numbers.
    columns : mapping, optional
        A table's names of ``path``, ``image`` and ``label``.

    Returns
    -------
    ImageSet
        Images uint8 ``(H, W, 3)``, read on demand.

    Raises
    ------
    DataError
        If nothing exists at ``path``, or its layout is not a known one.
    """
    path = Path(path)
    if path.is_file() and path.suffix == ".npz":
        return from_npz(path, split, classes)
    if path.is_file() and path.suffix in (".csv", ".parquet"):
        inside = path.suffix == ".parquet" and image_column(pl.scan_parquet(path)) is not None
        if inside:
            return from_parquet([path], split, classes=classes, columns=columns)
        return from_table(path, split=split, classes=classes, columns=columns)
    if path.is_dir():
        shards = sorted(path.glob(f"{split}-*.parquet")) or sorted(path.glob(f"*/{split}-*.parquet"))
        if shards:
            return from_parquet(shards, split, classes=classes, columns=columns)
        return from_folder(path, split, classes=classes)
    state = "is of another kind" if path.exists() else "is missing"
    raise DataError(f"{path} {state}: expected {LAYOUTS}")
