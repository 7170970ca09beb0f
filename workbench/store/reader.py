"""Predictions from a folder of shards or a file from another system."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import polars as pl

from workbench.core.files import is_utf8
from workbench.core.names import ClassNames, class_names
from workbench.core.predictions import Predictions
from workbench.core.records import Provenance
from workbench.core.texts import parse_json, read_text
from workbench.errors import DataError, first_line
from workbench.store.conform import conform
from workbench.store.reduced import is_reduced, read_reduced
from workbench.store.shards import PROVENANCE, SHARDS, TABLE, origin_of, shard_count
from workbench.store.tables import read_file

UNREADABLE = (BadZipFile, EOFError, zlib.error, MemoryError, NotImplementedError, RuntimeError)  # of damaged archives


def read(
    path: Path,
    *,
    classes: ClassNames | None = None,
    columns: Mapping[str, str] | None = None,
    threshold: float | None = None,
) -> Predictions:
    """The predictions in a folder that `write` or ``workbench predict`` wrote, or in a file from another system.

    A folder holds ``provenance.json`` and one or many shards. A file is one of `reduced.write_reduced`, a table (see
    `formats.scan_table`), an ``.npz`` or a pair of ``.npy``, with ``label`` (a number or a name) and either
    ``probability`` or ``logit``: a list, a list as text, one column per class (``probability_0`` or ``probability_1``
    and so on, ``probability_NAME``, or the classes' names alone), or for two classes one column of the second. Rounded
    probabilities are divided by their sum where rounding explains that it is not 1, and percent are read as such; the
    notes say so. With ``predicted`` alone the analysis has no confidence. ``index`` (row ids; by default the positions)
    and ``embedding`` are read if present. Parquet is read lazily, the others into memory.

    Parameters
    ----------
    path : path
    classes : sequence of str or mapping, optional
        Names the classes of a file; by default they are named by its columns or by their numbers or, where labels are
        names, by these names in alphabetical order.
    columns : mapping, optional
        Our column names to those of the file, such as ``{"label": "truth", "probability": "p"}``; the usual names, such
        as ``y_true`` and ``y_pred``, are known.
    threshold : float, optional
        The second of two classes is predicted from this probability on, instead of where it is the larger.

    Returns
    -------
    Predictions

    Raises
    ------
    DataError
        If a file or a shard is missing, damaged, lacks a column or holds what `Predictions` refuses.
    """
    path = Path(path)
    if not is_utf8(path):
        raise DataError(f"{str(path)!r}: expected a path in UTF-8 for tables: rename it")
    try:
        if path.is_dir():
            if classes is not None or columns or threshold is not None:
                raise DataError(
                    f"{path} is a folder with its own names: give classes, columns and a threshold for files only"
                )
            return read_folder(path)
        if not path.is_file():
            raise DataError(f"{path} is missing: expected a folder or file of predictions")
        if path.suffix == ".npz" and is_reduced(path):
            return read_reduced(path)
        return read_file(path, classes, columns or {}, threshold)
    except (
        pl.exceptions.PolarsError,
        OSError,
        EOFError,
        BadZipFile,
        ValueError,
        KeyError,
        TypeError,
        *UNREADABLE,
    ) as error:
        raise DataError(f"{path} is damaged or of another format ({first_line(error)})") from error


def read_folder(folder: Path) -> Predictions:
    """The shards of a folder as one table; `DataError` if one is missing or belongs to another run."""
    beside = folder / PROVENANCE
    if not beside.is_file():
        raise DataError(f"{beside} is missing: expected a folder that `python -m workbench predict` wrote")
    shards = sorted(folder.glob(SHARDS))
    counts = {shard_count(shard) for shard in shards}
    if len(counts) != 1 or counts != {len(shards)}:
        expected = f"{max(counts)} shards" if counts else TABLE
        raise DataError(
            f"{folder}: {expected} expected, {len(shards)} there; one is missing: "
            "run the same `python -m workbench predict` again, and it resumes where it stopped"
        )
    text = read_text(beside)
    if strange := [shard.name for shard in shards if origin_of(shard) not in (None, text)]:
        raise DataError(f"{folder / strange[0]} belongs to another run than {PROVENANCE}: predict again with --force")
    values = parse_json(text, str(beside), "predict again with --force")
    try:
        classes = class_names(values.pop("classes"))
        provenance = Provenance.from_json(values)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{beside} is damaged ({first_line(error)}): predict again with --force") from error
    table = conform(pl.scan_parquet(shards, glob=False), len(classes), shards[0], ours=True)
    return Predictions(table, classes, provenance, files=shards)
