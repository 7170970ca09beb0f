"""Predictions as a folder of one or many Parquet shards, with their provenance."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from workbench.core.files import refuse_to_overwrite, write_atomically, write_json
from workbench.core.predictions import Predictions
from workbench.core.records import Provenance
from workbench.core.texts import read_json
from workbench.errors import DataError

TABLE, PROVENANCE = "predictions.parquet", "provenance.json"
SHARDS, SKIPPED = "predictions*.parquet", "skipped"
ORIGIN = "workbench"
_SHARD = re.compile(r"predictions-(\d{5})-of-(\d{5})\.parquet")


def shard_name(number: int, count: int) -> str:
    """The file name of one shard of ``count``, counted from 0; a single shard is ``predictions.parquet``."""
    return TABLE if count == 1 else f"predictions-{number:05d}-of-{count:05d}.parquet"


def shard_count(path: Path) -> int:
    """The number of shards, read from the file name of one of them."""
    match = _SHARD.fullmatch(path.name)
    return int(match[2]) if match else 1


def shard_place(path: Path) -> tuple[int, int]:
    """The number of the shard with this file name, counted from 0, and the number of shards."""
    match = _SHARD.fullmatch(path.name)
    return (int(match[1]), int(match[2])) if match else (0, 1)


def as_lists(table: pl.LazyFrame) -> pl.LazyFrame:
    """The table as files store it: arrays, such as ``probability`` and ``embedding``, as lists."""
    arrays = [name for name, kind in table.collect_schema().items() if isinstance(kind, pl.Array)]
    return table.with_columns(pl.col(name).arr.to_list() for name in arrays)


def origin(classes: Sequence[str], provenance: Provenance) -> str:
    """The class names and what predictions were computed from, as the text of ``provenance.json``.

    Every shard carries it too, so that shards of different runs are never read as one table.
    """
    return json.dumps({"classes": list(classes), **provenance.to_json()}, indent=2, ensure_ascii=False) + "\n"


def origin_of(shard: Path) -> str | None:
    """The `origin` that a shard carries; None if it carries none."""
    return pl.read_parquet_metadata(shard).get(ORIGIN)


def write_table(shard: Path, table: pl.LazyFrame, classes: int, text: str) -> None:
    """Write one shard atomically, with its `origin` and row groups that stay small for many classes."""
    group = max(1, min(262_144, 2**25 // classes))
    write_atomically(
        shard,
        lambda path: table.sink_parquet(path, compression="zstd", row_group_size=group, metadata={ORIGIN: text}),
    )


def write_provenance(folder: Path, text: str) -> None:
    """Write ``provenance.json``, the `origin`."""
    write_atomically(folder / PROVENANCE, lambda path: path.write_text(text, encoding="utf-8"))


def write_skipped(shard: Path, reasons: Mapping[str, str]) -> None:
    """Write the reasons why images were omitted from a shard, by row id, beside it; without any, write no file."""
    path = shard.with_name(shard.stem.replace("predictions", SKIPPED) + ".json")
    if reasons:
        write_json(path, dict(reasons))
    else:
        path.unlink(missing_ok=True)


def skipped(folder: Path) -> dict[int, str]:
    """Row ids omitted from the predictions in a folder because their images can't be read, with the reasons.

    Raises
    ------
    DataError
        If the record is damaged.
    """
    found: dict[int, str] = {}
    for path in sorted(folder.glob(f"{SKIPPED}*.json")):
        try:
            found |= {int(row): str(reason) for row, reason in read_json(path, "predict again with --force").items()}
        except (ValueError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({error}): predict again with --force") from error
    return found


def write(predictions: Predictions, folder: Path, *, force: bool = False) -> None:
    """Write ``predictions.parquet`` and ``provenance.json`` atomically.

    Columns: ``index``, ``label`` and ``predicted`` int64, ``probability`` a list of K float32,
    ``embedding`` (if there is one) a list of D float32, and the user's own.

    Raises
    ------
    OutputError
        If predictions already exist and ``force`` is off, the disk is full or the folder can't be written.
    """
    older = sorted(folder.glob(SHARDS))
    refuse_to_overwrite([*older, folder / PROVENANCE], force)
    text = origin(predictions.classes, predictions.provenance)
    write_table(folder / TABLE, as_lists(predictions.table), len(predictions.classes), text)
    write_provenance(folder, text)
    for path in [*(p for p in older if p.name != TABLE), *folder.glob(f"{SKIPPED}*.json")]:
        path.unlink()
