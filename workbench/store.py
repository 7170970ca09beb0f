"""Files of predictions: our own folders, one file or many shards, and the tables of other systems."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import polars as pl

from workbench.errors import DataError
from workbench.files import refuse_to_overwrite, write_atomically, write_json
from workbench.predictions import Predictions
from workbench.records import Provenance

if TYPE_CHECKING:
    import pandas

TABLE, PROVENANCE = "predictions.parquet", "provenance.json"
SHARDS, SKIPPED = "predictions*.parquet", "skipped"
ORIGIN = "workbench"
MATRICES = ("probability", "logit")
ARRAYS = ("index", "label", "probability", "logit", "embedding", "classes")
UNREADABLE = (BadZipFile, EOFError, zlib.error, MemoryError, NotImplementedError, RuntimeError)  # of damaged archives
_SHARD = re.compile(r"predictions-(\d{5})-of-(\d{5})\.parquet")


def shard_name(number: int, count: int) -> str:
    """The file name of one shard of ``count``, counted from 0; a single shard is ``predictions.parquet``."""
    return TABLE if count == 1 else f"predictions-{number:05d}-of-{count:05d}.parquet"


def shard_count(path: Path) -> int:
    """How many shards the name of one says there are."""
    match = _SHARD.fullmatch(path.name)
    return int(match[2]) if match else 1


def shard_place(path: Path) -> tuple[int, int]:
    """Which shard a file name is, counted from 0, and of how many."""
    match = _SHARD.fullmatch(path.name)
    return (int(match[1]), int(match[2])) if match else (0, 1)


def as_lists(table: pl.LazyFrame) -> pl.LazyFrame:
    """The table as files have it: arrays, such as ``probability`` and ``embedding``, as lists."""
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
    """Write the reasons why images were left out of a shard, by row id, beside it; of none no file."""
    path = shard.with_name(shard.stem.replace("predictions", SKIPPED) + ".json")
    if reasons:
        write_json(path, dict(reasons))
    else:
        path.unlink(missing_ok=True)


def skipped(folder: Path) -> dict[int, str]:
    """Row ids that were left out of the predictions in a folder as their images can't be read, with the reasons.

    Raises
    ------
    DataError
        If the record is damaged.
    """
    found: dict[int, str] = {}
    for path in sorted(folder.glob(f"{SKIPPED}*.json")):
        try:
            found |= {int(row): str(reason) for row, reason in json.loads(path.read_text(encoding="utf-8")).items()}
        except (ValueError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({error}): predict again with --force") from error
    return found


def write(predictions: Predictions, folder: Path, *, force: bool = False) -> None:
    """Write ``predictions.parquet`` and ``provenance.json`` atomically.

    Columns: ``index``, ``label`` and ``predicted`` int64, ``probability`` a list of K float32, if
    there is one ``embedding`` a list of D float32, and the user's own.

    Raises
    ------
    OutputError
        If there are predictions and ``force`` is off, the disk is full or the folder can't be written.
    """
    older = sorted(folder.glob(SHARDS))
    refuse_to_overwrite([*older, folder / PROVENANCE], force)
    text = origin(predictions.classes, predictions.provenance)
    write_table(folder / TABLE, as_lists(predictions.table), len(predictions.classes), text)
    write_provenance(folder, text)
    for path in [*(p for p in older if p.name != TABLE), *folder.glob(f"{SKIPPED}*.json")]:
        path.unlink()


def read(path: Path, *, classes: Sequence[str] | None = None, columns: Mapping[str, str] | None = None) -> Predictions:
    """The predictions in a folder that `write` or ``workbench predict`` left, or in another system's file.

    A folder holds ``provenance.json`` and one or many shards. A file is Parquet, CSV or NumPy's
    ``.npz`` with ``label`` (a number, or a name) and either ``probability`` or ``logit``: a list, a JSON
    list in a CSV, or one column a class, ``probability_0`` to ``probability_{K-1}``. ``index`` (row
    ids, else the position) and ``embedding`` are taken if they are there. Parquet is read lazily, the others
    into memory. ``columns`` says what a file
    calls them, such as ``{"label": "y_true", "probability": "p"}``; ``classes`` names the classes of a
    file, by default by their numbers or, where labels are names, by the names in alphabetical order.

    Raises
    ------
    DataError
        If a file or a shard is missing, damaged, lacks a column or holds what `Predictions` refuses.
    """
    try:
        if path.is_dir():
            if classes is not None or columns:
                raise DataError(f"{path} is a folder with names of its own: give class and column names for files only")
            return _read_folder(path)
        if not path.is_file():
            raise DataError(f"{path} is missing: expected a folder or file of predictions")
        return _read_foreign(path, classes, columns or {})
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
        raise DataError(f"{path} is damaged or of another format ({str(error).splitlines()[0]})") from error


def from_frame(
    frame: pl.DataFrame | pl.LazyFrame | pandas.DataFrame,
    *,
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Predictions:
    """The predictions in a Polars or pandas table with the columns, options and errors of `read`.

    Raises
    ------
    DataError
        If a column is missing or holds what `Predictions` refuses.
    """
    if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
        frame = pl.DataFrame({str(name): column.tolist() for name, column in frame.items()})
    try:
        return _from_table(frame.lazy(), "the table", classes, columns or {})
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the table is not understood ({str(error).splitlines()[0]})") from error


def to_pandas(frame: pl.DataFrame) -> pandas.DataFrame:
    """A table of any analysis as pandas; lists become Python lists."""
    import pandas

    return pandas.DataFrame(frame.to_dict(as_series=False))


def _read_folder(folder: Path) -> Predictions:
    beside = folder / PROVENANCE
    if not beside.is_file():
        raise DataError(f"{beside} is missing: expected a folder that `python -m workbench predict` wrote")
    shards = sorted(folder.glob(SHARDS))
    counts = {shard_count(shard) for shard in shards}
    if len(counts) != 1 or counts != {len(shards)}:
        expected = f"{max(counts)} shards" if counts else TABLE
        raise DataError(
            f"{folder}: {expected} expected, {len(shards)} there; one is missing: "
            "run the same `python -m workbench predict` again, and it goes on where it stopped"
        )
    text = beside.read_text(encoding="utf-8")
    if strange := [shard.name for shard in shards if origin_of(shard) not in (None, text)]:
        raise DataError(f"{folder / strange[0]} belongs to another run than {PROVENANCE}: predict again with --force")
    values = json.loads(text)
    classes = tuple(values.pop("classes"))
    table = _conform(pl.scan_parquet(shards), len(classes), shards[0])
    return Predictions(table, classes, Provenance(**values), files=shards)


def _read_foreign(path: Path, classes: Sequence[str] | None, names: Mapping[str, str]) -> Predictions:
    if path.suffix == ".npz":
        table, classes = _read_arrays(path, names, classes)
        return _from_table(table, path, classes, {})
    if path.suffix not in (".csv", ".parquet"):
        raise DataError(f"{path}: expected .parquet, .csv or .npz, not {path.suffix or 'no extension'}")
    if path.suffix == ".csv":
        scanned = pl.read_csv(path, infer_schema_length=None, glob=False).lazy()
    else:
        scanned = pl.scan_parquet(path, glob=False)
    return _from_table(scanned, path, classes, names)


def _from_table(
    table: pl.LazyFrame, path: Path | str, classes: Sequence[str] | None, names: Mapping[str, str]
) -> Predictions:
    """Predictions of a foreign table; ``path`` names it in messages."""
    table = _gather_columns(_renamed(table, names, path))
    width = _width(table, path)
    if table.collect_schema().get("label") == pl.String:
        found = table.select(pl.col("label").unique().sort()).collect()["label"].to_list()
        if classes is None and all(str(name).isdigit() for name in found):
            found = sorted(found, key=int)  # as text, 10 would come before 2
        classes = tuple(classes) if classes is not None else tuple(map(str, found))
        if len(classes) != width or (strange := sorted(set(found) - set(classes))):
            what = f"label {strange[0]!r}" if len(classes) == width else f"{len(classes)} names for {width} columns"
            raise DataError(f"{path}: {what}: name all classes in the order of the columns (--classes)")
        table = table.with_columns(pl.col("label").replace_strict(list(classes), range(width), return_dtype=pl.Int64))
    named = tuple(classes) if classes is not None else tuple(map(str, range(width)))
    files = [path] if isinstance(path, Path) and path.suffix == ".parquet" else []  # the others lie in memory
    return Predictions(_conform(table, width, path), named, files=files)


def _renamed(table: pl.LazyFrame, names: Mapping[str, str], path: Path | str) -> pl.LazyFrame:
    """The table with the caller's names changed to ours; ``p`` also stands for ``p_0``, ``p_1`` and so on."""
    present = list(table.collect_schema())
    mapping: dict[str, str] = {}
    for ours, theirs in names.items():
        if ours not in ARRAYS:
            raise DataError(f"columns: expected one of {', '.join(ARRAYS)} to be named, not {ours!r}")
        numbered = {
            c: f"{ours}_{c[len(theirs) + 1 :]}" for c in present if re.fullmatch(re.escape(theirs) + r"_\d+", c)
        }
        found = {theirs: ours} if theirs in present else numbered
        if not found:
            raise DataError(f"{path} has no column {theirs!r}; it has {', '.join(present[:20])}")
        mapping |= found
    return table.rename(mapping)


def _gather_columns(table: pl.LazyFrame) -> pl.LazyFrame:
    """The table with ``name_0``, ``name_1`` ... as one list, and JSON lists parsed."""
    schema = table.collect_schema()
    for name in (*MATRICES, "embedding"):
        parts = [c for c in schema if re.fullmatch(rf"{name}_\d+", c)]
        if name in schema:
            if schema[name] == pl.String:
                table = table.with_columns(pl.col(name).str.json_decode(pl.List(pl.Float32)))
        elif parts:
            ordered = [f"{name}_{k}" for k in range(len(parts))]
            if missing := sorted(set(ordered) - set(parts)):
                raise DataError(f"{name}: expected {name}_0 to {name}_{len(parts) - 1}, {missing[0]} is missing")
            table = table.with_columns(pl.concat_list(pl.col(ordered).cast(pl.Float32)).alias(name)).drop(ordered)
    return table


def _read_arrays(
    path: Path, names: Mapping[str, str], classes: Sequence[str] | None
) -> tuple[pl.LazyFrame, Sequence[str] | None]:
    columns: dict[str, Any] = {}
    with np.load(path, allow_pickle=False) as arrays:
        if missing := sorted(set(names.values()) - set(arrays.files)):
            raise DataError(f"{path} has no array {missing[0]!r}; it has {', '.join(arrays.files)}")
        for ours in ARRAYS:
            if (theirs := names.get(ours, ours)) in arrays.files:
                columns[ours] = arrays[theirs]
    kept = columns.pop("classes", None)
    if classes is None and kept is not None:
        classes = [str(name) for name in kept]
    for name in (*MATRICES, "embedding"):
        if name in columns:
            columns[name] = np.ascontiguousarray(columns[name], np.float32)
    return pl.DataFrame(columns).lazy(), classes


def _width(table: pl.LazyFrame, path: Path | str) -> int:
    """Number of classes, from the first row."""
    schema = table.collect_schema()
    name = next((n for n in MATRICES if n in schema), "probability")
    for needed in ("label", name):
        if needed not in schema:
            raise DataError(f"{path} lacks the column {needed!r}; it has {', '.join(list(schema)[:20])}")
    if not isinstance(schema[name], pl.List | pl.Array):
        raise DataError(f"{path}: expected a list in {name!r}, or one column a class, {name}_0 ..., not {schema[name]}")
    first = table.select(pl.col(name).drop_nulls().head(1)).collect()
    if len(first) == 0:
        raise DataError(f"{path} holds no row with {name!r}: expected at least one")
    return len(first.item())


def _conform(table: pl.LazyFrame, classes: int, path: Path | str) -> pl.LazyFrame:
    """The table with the columns and types of `Predictions`; what it lacks but can be derived is added."""
    schema = table.collect_schema()
    name = next((n for n in MATRICES if n in schema), None)
    for needed in ("label", name or "probability"):
        if needed not in schema:
            raise DataError(f"{path} lacks the column {needed!r}; it has {', '.join(list(schema)[:20])}")
    for number in ("index", "label", "predicted"):
        if number in schema and not schema[number].is_integer():
            raise DataError(f"{path}: expected whole numbers in {number!r}, not {schema[number]}")
    if "index" not in schema:
        table = table.with_row_index("index")
    for matrix in (name, "embedding" if "embedding" in schema else None):
        if matrix is not None and isinstance(schema[matrix], pl.List):
            lengths = pl.col(matrix).list.len()
            low, high = table.select(low=lengths.min(), high=lengths.max()).collect(engine="streaming").row(0)
            if low != high or (matrix == name and low != classes):
                want = f"{classes} (the number of classes)" if matrix == name else "one length"
                raise DataError(f"{path}: expected lists of {want} in {matrix!r}, not of {low} to {high}")
            table = table.with_columns(pl.col(matrix).cast(pl.List(pl.Float32)).list.to_array(low))
    if name == "logit":
        table = table.with_columns(probability=_softmax(classes)).drop("logit")
    table = table.with_columns(pl.col("probability").cast(pl.Array(pl.Float32, classes)))
    if "predicted" not in schema:
        table = table.with_columns(predicted=pl.col("probability").arr.arg_max())
    return table.with_columns(pl.col("index", "label", "predicted").cast(pl.Int64))


def _softmax(classes: int) -> pl.Expr:
    """``exp(l - max) / sum`` of the logits, in float64, as float32."""

    def softmax(logits: pl.Series) -> pl.Series:
        values = logits.to_numpy().astype(np.float64)
        shares = np.exp(values - values.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        return pl.Series(shares.astype(np.float32), dtype=pl.Array(pl.Float32, classes))

    kind = pl.Array(pl.Float32, classes)
    return pl.col("logit").cast(kind).map_batches(softmax, return_dtype=kind, is_elementwise=True)
