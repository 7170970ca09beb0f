"""Tables from other systems: columns under our names or theirs, converted to the types of `Predictions`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from workbench.core.formats import KINDS, is_table, scan_table
from workbench.core.labels import class_numbers, whole_numbers
from workbench.core.names import ClassNames, class_names
from workbench.core.predictions import Predictions
from workbench.core.records import Provenance
from workbench.errors import DataError, first_line
from workbench.store.arrays import ALIASES, ARRAYS, read_npy, read_npz
from workbench.store.conform import conform, renormalise
from workbench.store.scores import MATRICES, Scores, find_scores

if TYPE_CHECKING:
    import pandas

NAMED = (*ARRAYS, "path")


def from_frame(
    frame: pl.DataFrame | pl.LazyFrame | pandas.DataFrame,
    *,
    classes: ClassNames | None = None,
    columns: Mapping[str, str] | None = None,
    threshold: float | None = None,
) -> Predictions:
    """The predictions in a Polars or pandas table with the columns, options and errors of `reader.read`.

    Raises
    ------
    DataError
        If a column is missing or holds what `Predictions` refuses.
    """
    try:
        if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
            frame = _of_pandas(frame)
        return _from_table(frame.lazy(), "the table", classes, columns or {}, threshold)
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        raise DataError(f"the table is not understood ({first_line(error)})") from error


def _of_pandas(frame: pandas.DataFrame) -> pl.DataFrame:
    """A pandas table in Polars: missing values are null, and categories keep their order."""
    names = [str(name) for name in frame.columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"the table has two columns {twice[0]!r}: expected unique names; rename one")
    columns = []
    for name, (_, column) in zip(names, frame.items(), strict=True):
        values = column.astype(object).where(column.notna(), None).tolist()
        categories = getattr(column.dtype, "categories", None)
        kind = pl.Enum(list(categories)) if categories is not None and categories.inferred_type == "string" else None
        columns.append(pl.Series(name, values, dtype=kind, strict=False))
    return pl.DataFrame(columns)


def to_pandas(frame: pl.DataFrame) -> pandas.DataFrame:
    """A table of any analysis as pandas; lists become Python lists."""
    import pandas

    return pandas.DataFrame(frame.to_dict(as_series=False))


def read_file(
    path: Path, classes: ClassNames | None, names: Mapping[str, str], threshold: float | None = None
) -> Predictions:
    """The predictions in a file from another system, by its extension; options and errors as `reader.read`."""
    if path.suffix == ".npz":
        table, kept = read_npz(path, names)
        return _from_table(table, path, classes or kept, {}, threshold)
    if path.suffix == ".npy":
        return _from_table(read_npy(path, names), path, classes, {}, threshold)
    if not is_table(path):
        kinds = ", ".join((*KINDS, ".npz", ".npy"))
        raise DataError(f"{path}: expected one of {kinds}, not {path.suffix or 'no extension'}")
    return _from_table(scan_table(path), path, classes, names, threshold)


def _from_table(
    table: pl.LazyFrame,
    path: Path | str,
    classes: ClassNames | None,
    names: Mapping[str, str],
    threshold: float | None,
) -> Predictions:
    """Predictions of a foreign table; ``path`` names it in messages."""
    given = None if classes is None else class_names(classes)
    table = _embedding(_renamed(table, names, path))
    if "label" not in (schema := table.collect_schema()):
        raise DataError(
            f"{path} lacks the column 'label'; it has {', '.join(list(schema)[:20])}: name the one with the true class "
            "(label=NAME)"
        )
    scores = find_scores(table, given, path)
    named = _classes(scores, given, path)
    table = scores.table
    if scores.names is not None and named != scores.names:
        order = [scores.names.index(name) for name in named]
        table = table.with_columns(pl.col(str(scores.name)).list.gather(order))
    notes = []
    if scores.single:
        notes.append(f"{scores.name!r} is read as that of {named[1]!r}, the second of two classes")
    for column in ("label", "predicted"):
        if column in table.collect_schema():
            table = _numbered(table, column, named, scores.first, path)
    table = conform(table, len(named), path)
    if scores.name == "probability":
        table, done = renormalise(table, len(named))
        notes += [done] if done else []
    if threshold is not None:
        table = _decided(table, len(named), threshold, path)
    if scores.name is None:
        notes.append("there are predicted classes and no probabilities: what needs a confidence is omitted")
    # the others are in memory
    files = [path] if isinstance(path, Path) and path.suffix in (".parquet", ".arrow", ".feather") else []
    origin = Provenance(threshold=threshold)
    return Predictions(table, named, origin, files=files, notes=tuple(f"{path}: {note}." for note in notes))


def _decided(table: pl.LazyFrame, classes: int, threshold: float, path: Path | str) -> pl.LazyFrame:
    """The table in which the second of two classes is predicted where its probability reaches a threshold."""
    if not isinstance(threshold, int | float) or not 0 < threshold < 1:
        raise DataError(f"threshold: expected a probability between 0 and 1, not {threshold}")
    if classes != 2 or "probability" not in table.collect_schema():
        raise DataError(f"{path}: a threshold decides between two classes by probability: omit it here")
    return table.with_columns(predicted=(pl.col("probability").arr.get(1) >= threshold).cast(pl.Int64))


def _classes(scores: Scores, given: tuple[str, ...] | None, path: Path | str) -> tuple[str, ...]:
    """The class names: the caller's, else those that the columns or the labels say, else the numbers of the columns."""
    if given is not None:
        if scores.names is not None and set(given) != set(scores.names):
            strange = sorted(set(given) ^ set(scores.names))[0]
            raise DataError(
                f"{path}: its columns are called {', '.join(scores.names[:20])}: {strange!r} is not in both"
            )
        if scores.name is not None and len(given) != scores.width:
            raise DataError(
                f"{path}: {len(given)} class names for {scores.width} columns: name all classes in their order"
            )
        return given
    if scores.names is not None:
        return class_names(scores.names)
    kind = scores.table.collect_schema()["label"]
    if isinstance(kind, pl.Enum) and len(kind.categories) == (scores.width or len(kind.categories)):
        return class_names(kind.categories.to_list())
    labels = _distinct(scores.table, "label")
    if scores.name is None:
        predicted = _distinct(scores.table, "predicted")
        if (labels.dtype == pl.String) != (predicted.dtype == pl.String):
            raise DataError(
                f"{path}: one of 'label' and 'predicted' has names, the other numbers: name the classes in the order "
                "of the numbers"
            )
        labels = pl.concat([labels, predicted.cast(labels.dtype)]).unique()
    if labels.dtype != pl.String:
        width = scores.width or int(labels.max() or 0) + 1  # type: ignore[arg-type]
        return tuple(map(str, range(scores.first, scores.first + max(width, 2))))
    found = sorted(labels.to_list())
    if all(name.isdigit() for name in found):
        found = sorted(found, key=int)  # as text, 10 would come before 2
    if scores.name is not None and len(found) != scores.width:
        raise DataError(
            f"{path}: {len(found)} class names for {scores.width} columns: name all classes in the order of the columns"
        )
    return class_names(found)


def _distinct(table: pl.LazyFrame, column: str) -> pl.Series:
    """The distinct labels or predicted classes, as whole numbers or names."""
    return whole_numbers(table.select(pl.col(column).drop_nulls().unique()).collect()[column])


def _numbered(table: pl.LazyFrame, column: str, classes: tuple[str, ...], first: int, path: Path | str) -> pl.LazyFrame:
    """The table with labels or predicted classes as class numbers."""
    cell, kind = pl.col(column), table.collect_schema()[column]
    missing, rows = table.select(cell.is_null().sum(), pl.len().alias("rows")).collect().row(0)
    if kind.is_float():
        missing = int(table.select((cell.is_null() | cell.is_nan()).sum()).collect().item())
    if missing:
        raise DataError(f"{path}: {missing:,} of {rows:,} rows have no {column!r}: fill or drop them")
    found = _distinct(table, column)
    if found.dtype == pl.String:
        class_numbers(found, classes, f"{path}: {column}")
        text = cell.cast(pl.String)
        return table.with_columns(text.replace_strict(list(classes), range(len(classes)), return_dtype=pl.Int64))
    if not found.dtype.is_integer():
        raise DataError(f"{path}: expected whole numbers or names in {column!r}, not {found.dtype}")
    truth = {name.lower(): number for number, name in enumerate(classes)}
    if kind == pl.Boolean and truth.keys() == {"true", "false"}:
        return table.with_columns(pl.when(cell).then(truth["true"]).otherwise(truth["false"]).alias(column))
    numbers = cell.cast(pl.Int64)
    called = {str(number) for number in found.to_list()}
    if not first and all(name.isdigit() for name in classes) and called <= set(classes):  # numbers that are names
        text = numbers.cast(pl.String)
        return table.with_columns(
            text.replace_strict(list(classes), range(len(classes)), return_dtype=pl.Int64).alias(column)
        )
    low, high = int(found.min()), int(found.max())  # type: ignore[arg-type]
    if first and 1 <= low <= high < len(classes):
        raise DataError(
            f"{path}: the columns count from 1 and {column!r} runs from {low} to {high}, which may count from 0 or "
            "from 1: give names instead of numbers, or columns that count from 0"
        )
    if first and low >= 1:
        numbers -= 1
        found -= 1
    class_numbers(found, classes, f"{path}: {column}")
    return table.with_columns(numbers.alias(column))


def _renamed(table: pl.LazyFrame, names: Mapping[str, str], path: Path | str) -> pl.LazyFrame:
    """The table with the caller's names, else the usual ones, changed to ours; ``p`` also matches ``p_0`` and so on."""
    present = list(table.collect_schema())
    mapping: dict[str, str] = {}
    for ours, theirs in names.items():
        if ours not in NAMED:
            raise DataError(f"columns: expected one of {', '.join(NAMED)} to be named, not {ours!r}")
        found = _matching(present, ours, theirs)
        if not found:
            raise DataError(f"{path} has no column {theirs!r}; it has {', '.join(present[:20])}")
        mapping |= found
    for ours, usual in ALIASES.items():
        exact = ours in present or (ours in MATRICES and any(c.startswith(f"{ours}_") for c in present))
        if ours not in names and not exact:
            known = [_matching([c for c in present if c not in mapping], ours, name) for name in (ours, *usual)]
            if len(matches := [one for one in known if one]) == 1:
                mapping |= matches[0]
    return table.rename(mapping)


def _matching(present: Sequence[str], ours: str, theirs: str) -> dict[str, str]:
    """The columns called ``theirs``, or ``theirs_0``, ``theirs_NAME`` and so on, with what they are called here."""
    theirs = theirs.lower()
    if theirs in (lower := {name.lower(): name for name in present}):
        return {lower[theirs]: ours}
    if ours not in (*MATRICES, "embedding"):
        return {}
    return {c: f"{ours}_{c[len(theirs) + 1 :]}" for c in present if re.fullmatch(re.escape(theirs) + r"_.+", c.lower())}


def _embedding(table: pl.LazyFrame) -> pl.LazyFrame:
    """The table with ``embedding_0``, ``embedding_1`` ... as one list, and a JSON list parsed."""
    schema = table.collect_schema()
    if schema.get("embedding") == pl.String:
        return table.with_columns(pl.col("embedding").str.json_decode(pl.List(pl.Float32)))
    parts = [c for c in schema if re.fullmatch(r"embedding_\d+", c)]
    if "embedding" in schema or not parts:
        return table
    ordered = [f"embedding_{k}" for k in range(len(parts))]
    if missing := sorted(set(ordered) - set(parts)):
        raise DataError(f"embedding: expected embedding_0 to embedding_{len(parts) - 1}, but {missing[0]} is missing")
    return table.with_columns(pl.concat_list(pl.col(ordered).cast(pl.Float32)).alias("embedding")).drop(ordered)
