"""Images in Parquet files, as Hugging Face data sets store them."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from workbench.core.labels import class_numbers
from workbench.core.names import ClassNames
from workbench.core.records import ImageArray, ImageSet
from workbench.errors import DataError, first_line
from workbench.images.decode import decode
from workbench.images.digests import digest_files
from workbench.images.reading import DEFAULT, Reading
from workbench.images.survey import SAMPLE, survey

BLOCK, BLOCKS = 128, 16
WHOLE_BYTES = 64 * 2**20  # of files that are read at once
ARROW = ".arrow"


def from_parquet(
    files: Sequence[Path],
    split: str = "test",
    *,
    classes: ClassNames | None = None,
    columns: Mapping[str, str] | None = None,
    reading: Reading = DEFAULT,
) -> ImageSet:
    """Images whose bytes are stored in Parquet files, as in Hugging Face data sets; row ids are the positions in them.

    Also the ``.arrow`` files of ``save_to_disk``, which are read into memory.

    The image column is a struct with ``bytes``, or binary; class names come from ``classes``, else from the files'
    metadata, else they are the class numbers.

    Raises
    ------
    DataError
        If a file is damaged or lacks the columns.
    """
    called = columns or {}
    try:
        streams = [pl.read_ipc_stream(path) for path in files if path.suffix == ARROW]
        table = pl.concat(streams).lazy() if streams else pl.scan_parquet(list(files), glob=False)
        schema = table.collect_schema()
        image, label = called.get("image") or image_column(table), called.get("label") or _label_column(schema)
        if image is None or image not in schema or label not in schema:
            raise DataError(f"{files[0]}: expected columns of image bytes and of labels, not {', '.join(schema)}")
        column = table.select(pl.col(label)).collect()[label]
        described = _beside(files[0], label) if streams else _described(files[0], label)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{files[0]} is not a readable Parquet file ({first_line(error)})") from error
    labels, names = class_numbers(column, classes or described, str(files[0]))
    cell = pl.col(image).struct.field("bytes") if isinstance(schema[image], pl.Struct) else pl.col(image)
    content = table.select(cell.alias("bytes"))
    first = content.head(SAMPLE).collect()["bytes"].drop_nulls().to_list()
    if not first and len(labels):
        raise DataError(
            f"{files[0]} has no image bytes in {image!r}, as where a data set keeps paths of files: give that data set "
            "to from_dataset, or save it with save_to_disk, which stores the images"
        )
    one, notes = survey(first, reading)
    whole = sum(path.stat().st_size for path in files) <= WHOLE_BYTES
    pixels = _ParquetPixels(content, str(files[0]), len(labels), one, max(len(labels), 1) if whole else BLOCK)
    digest = lambda: digest_files(files, labels, names, files[0].parent)  # noqa: E731
    return ImageSet(pixels, labels, names, split, digest, notes=tuple(notes), reading=reading.remark)


def _label_column(schema: pl.Schema) -> str:
    """``label``, or the one column that ends with it, such as CIFAR-100's ``fine_label``."""
    others = [name for name in schema if name.endswith("label")]
    return others[0] if "label" not in schema and len(others) == 1 else "label"


@dataclass(frozen=True)
class _ParquetPixels:
    """Images in a Parquet column: ``block`` adjacent cells are read at once, and the latest blocks kept in memory."""

    table: pl.LazyFrame
    name: str
    rows: int
    reading: Reading
    block: int = BLOCK
    kept: OrderedDict[int, pl.Series] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, place: int, /) -> ImageArray:
        number = place // self.block
        with self.lock:
            block = self.kept.get(number)
            if block is None:
                block = self.table.slice(number * self.block, self.block).collect()["bytes"]
                self.kept[number] = block
                while len(self.kept) > BLOCKS:
                    self.kept.popitem(last=False)
        content = block[place % self.block]
        if content is None:
            raise DataError(f"{self.name} row {place} holds no image: repair or remove the row")
        return decode(content, f"{self.name} row {place}", self.reading)


def image_column(table: pl.LazyFrame) -> str | None:
    """The column with image bytes: a struct with the field ``bytes``, else the first binary one."""
    try:
        schema = table.collect_schema()
    except (pl.exceptions.PolarsError, OSError):  # reported by the code that reads the file
        return None
    structs = [n for n, kind in schema.items() if isinstance(kind, pl.Struct) and "bytes" in kind.to_schema()]
    return next(iter(structs + [n for n, kind in schema.items() if kind == pl.Binary]), None)


def has_images(path: Path) -> bool:
    """Whether a Parquet file has a column of image bytes."""
    return image_column(pl.scan_parquet(path, glob=False)) is not None


def is_other_table(path: Path) -> bool:
    """Whether a Parquet file is a table without images, such as predictions; not if it is damaged."""
    try:
        return not has_images(path) and bool(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, OSError):  # reported by the code that reads the file
        return False


def _described(path: Path, label: str) -> list[str] | None:
    """Class names in the metadata that Hugging Face's writer stores in a Parquet file."""
    return _names_in(pl.read_parquet_metadata(path).get("huggingface"), ("info", "features", label, "names"))


def _beside(path: Path, label: str) -> list[str] | None:
    """Class names in the file that ``save_to_disk`` writes beside the data."""
    beside = path.parent / "dataset_info.json"
    return _names_in(beside.read_text(encoding="utf-8") if beside.is_file() else None, ("features", label, "names"))


def _names_in(text: str | None, keys: Sequence[str]) -> list[str] | None:
    try:
        found = json.loads(text) if text else None
        for key in keys:
            found = found[key] if found else None
    except (ValueError, KeyError, TypeError, RecursionError):  # other metadata names no classes
        return None
    return [str(name) for name in found] if isinstance(found, list) else None
