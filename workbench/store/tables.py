"""Tables from other systems: columns under our names or theirs, converted to the types of `Predictions`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from workbench.core.predictions import Predictions
from workbench.errors import DataError

if TYPE_CHECKING:
    import pandas

MATRICES = ("probability", "logit")
ARRAYS = ("index", "label", "probability", "logit", "embedding", "classes")


def from_frame(
    frame: pl.DataFrame | pl.LazyFrame | pandas.DataFrame,
    *,
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Predictions:
    """The predictions in a Polars or pandas table with the columns, options and errors of `reader.read`.

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


def read_file(path: Path, classes: Sequence[str] | None, names: Mapping[str, str]) -> Predictions:
    """The predictions in a file from another system, by its extension; options and errors as `reader.read`."""
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
            what = (
                f"label {strange[0]!r} is not among the classes"
                if len(classes) == width
                else f"{len(classes)} class names for {width} columns"
            )
            raise DataError(f"{path}: {what}: name all classes in the order of the columns (--classes)")
        table = table.with_columns(pl.col("label").replace_strict(list(classes), range(width), return_dtype=pl.Int64))
    named = tuple(classes) if classes is not None else tuple(map(str, range(width)))
    files = [path] if isinstance(path, Path) and path.suffix == ".parquet" else []  # the others are in memory
    return Predictions(conform(table, width, path), named, files=files)


def _renamed(table: pl.LazyFrame, names: Mapping[str, str], path: Path | str) -> pl.LazyFrame:
    """The table with the caller's names changed to ours; ``p`` also matches ``p_0``, ``p_1`` and so on."""
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
                raise DataError(f"{name}: expected {name}_0 to {name}_{len(parts) - 1}, but {missing[0]} is missing")
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


def conform(table: pl.LazyFrame, classes: int, path: Path | str) -> pl.LazyFrame:
    """The table with the columns and types of `Predictions`; missing columns that can be derived are added."""
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
