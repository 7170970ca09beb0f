"""Images in Parquet files, as Hugging Face data sets store them."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from workbench.core.records import ImageArray, ImageSet
from workbench.errors import DataError
from workbench.images.decode import decode
from workbench.images.digests import digest_files
from workbench.core.labels import class_numbers

BLOCK, BLOCKS = 128, 16


def from_parquet(
    files: Sequence[Path],
    split: str = "test",
    *,
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> ImageSet:
    """Images whose bytes are stored in Parquet files, as in Hugging Face data sets; row ids are the positions in them.

    The image column is a struct with ``bytes``, or binary; class names come from ``classes``, else from the files'
    metadata, else they are the class numbers.

    Raises
    ------
    DataError
        If a file is damaged or lacks the columns.
    """
    called = columns or {}
    try:
        table = pl.scan_parquet(list(files))
        schema = table.collect_schema()
        image, label = called.get("image") or image_column(table), called.get("label", "label")
        if image is None or image not in schema or label not in schema:
            raise DataError(f"{files[0]}: expected columns of image bytes and of labels, not {', '.join(schema)}")
        column = table.select(pl.col(label)).collect()[label]
        described = _described(files[0], label)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{files[0]} is not a readable Parquet file ({str(error).splitlines()[0]})") from error
    labels, names = class_numbers(column, classes or described, str(files[0]))
    cell = pl.col(image).struct.field("bytes") if isinstance(schema[image], pl.Struct) else pl.col(image)
    pixels = _ParquetPixels(table.select(cell.alias("bytes")), str(files[0]), len(labels))
    return ImageSet(pixels, labels, names, split, lambda: digest_files(files, labels, names, files[0].parent))


@dataclass(frozen=True)
class _ParquetPixels:
    """Images in a Parquet column: blocks of adjacent cells are read at once, and the latest are kept in memory."""

    table: pl.LazyFrame
    name: str
    rows: int
    kept: OrderedDict[int, pl.Series] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, place: int, /) -> ImageArray:
        number = place // BLOCK
        with self.lock:
            block = self.kept.get(number)
            if block is None:
                block = self.table.slice(number * BLOCK, BLOCK).collect()["bytes"]
                self.kept[number] = block
                while len(self.kept) > BLOCKS:
                    self.kept.popitem(last=False)
        content = block[place % BLOCK]
        if content is None:
            raise DataError(f"{self.name} row {place} holds no image: repair or remove the row")
        return decode(content, f"{self.name} row {place}")


def image_column(table: pl.LazyFrame) -> str | None:
    """The column with image bytes: a struct with the field ``bytes``, else the first binary one."""
    try:
        schema = table.collect_schema()
    except (pl.exceptions.PolarsError, OSError):  # reported by the code that reads the file
        return None
    structs = [n for n, kind in schema.items() if isinstance(kind, pl.Struct) and "bytes" in kind.to_schema()]
    return next(iter(structs + [n for n, kind in schema.items() if kind == pl.Binary]), None)


def _described(path: Path, label: str) -> list[str] | None:
    """Class names in the metadata that Hugging Face's writer stores in a Parquet file."""
    text = pl.read_parquet_metadata(path).get("huggingface")
    try:
        names = json.loads(text)["info"]["features"][label]["names"] if text else None
    except (ValueError, KeyError, TypeError):  # other metadata names no classes
        return None
    return [str(name) for name in names] if isinstance(names, list) else None
