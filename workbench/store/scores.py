"""The columns of a foreign table that hold a model's scores, as one list column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.selectors import by_name

from workbench.errors import DataError

MATRICES = ("probability", "logit")
SEEN, NEAR = 100, 0.02
TAKEN = ("index", "label", "predicted", "confidence", "path")
FORMS = (
    "a list or one column a class in 'probability' or 'logit' (probability_0, probability_1 ... or probability_NAME), "
    "columns called as the classes, for two classes one column 'probability' of the second, or at least 'predicted'"
)


@dataclass(frozen=True)
class Scores:
    """A table whose scores are one list column, ``name``, of ``width`` values; or one that has predicted classes alone.

    ``names`` are the class names that the columns say, and ``first`` is the number that the first column has.
    """

    table: pl.LazyFrame
    name: str | None
    width: int = 0
    names: tuple[str, ...] | None = None
    first: int = 0
    single: bool = False


def find_scores(table: pl.LazyFrame, classes: Sequence[str] | None, where: Path | str) -> Scores:
    """The scores of a table, in any of the forms that people have them (`FORMS`).

    Raises
    ------
    DataError
        If there are none, or they are incomplete.
    """
    schema = table.collect_schema()
    for name in MATRICES:
        if name in schema:
            return _of_cells(table, name, where)
        parts = [c for c in schema if c.startswith(f"{name}_") and (schema[c].is_numeric() or _is_number(c, name))]
        if parts:
            return _of_columns(table, name, parts, where)
    called = list(classes) if classes is not None and set(classes) <= set(schema) else _called_as_labels(table, schema)
    if called:
        lowest = table.select(pl.min_horizontal(by_name(*called)).min()).collect().item()
        name = "logit" if lowest is not None and lowest < 0 else "probability"
        return Scores(_listed(table, name, called), name, len(called), tuple(called))
    if "predicted" in schema:
        return Scores(table, None)
    raise DataError(f"{where} lacks the column 'probability': expected {FORMS}; it has {', '.join(list(schema)[:20])}")


def _is_number(column: str, name: str) -> bool:
    """Whether a column is one of numbered ones, such as ``logit_2``, whatever it holds."""
    return re.fullmatch(rf"{name}_\d+", column) is not None


def _of_cells(table: pl.LazyFrame, name: str, where: Path | str) -> Scores:
    """Scores in the cells of one column: lists, lists as text, or one value for two classes."""
    kind = table.collect_schema()[name]
    if kind == pl.String:
        table, kind = _parsed(table, name, where), pl.List(pl.Float32)
    if kind.is_numeric():
        value = pl.col(name).cast(pl.Float32)
        highest = table.select(pl.col(name).max()).collect().item() if name == "probability" else None
        whole = 100 if highest is not None and 1 < highest <= 100 else 1  # percent
        first = whole - value if name == "probability" else pl.lit(0, pl.Float32)
        return Scores(table.with_columns(pl.concat_list(first, value).alias(name)), name, 2, single=True)
    if not isinstance(kind, pl.List | pl.Array):
        raise DataError(f"{where}: expected {FORMS}, not {kind} in {name!r}")
    found = table.select(pl.col(name).drop_nulls().head(1)).collect()
    if len(found) == 0:
        raise DataError(f"{where} holds no row with {name!r}: expected at least one")
    return Scores(table, name, len(found.item()))


def _parsed(table: pl.LazyFrame, name: str, where: Path | str) -> pl.LazyFrame:
    """Lists as text: JSON, or what NumPy prints."""
    shown = table.select(pl.col(name).drop_nulls().head(1)).collect()
    text = str(shown.item()) if len(shown) else ""
    if "..." in text:
        raise DataError(f"{where}: {name!r} holds shortened lists ({text[:40]}): export the arrays as .npz instead")
    cell = pl.col(name)
    if "," not in text:
        cell = cell.str.strip_chars("[] \n").str.replace_all(r"\s+", ",")
        cell = pl.lit("[") + cell.str.replace_all(r"(\d)\.(,|$)", "$1.0$2") + pl.lit("]")
    return table.with_columns(cell.str.json_decode(pl.List(pl.Float32)).alias(name))


def _of_columns(table: pl.LazyFrame, name: str, parts: list[str], where: Path | str) -> Scores:
    """Scores in one column a class, numbered from 0 or 1, or called by the classes' names."""
    ends = [part.removeprefix(f"{name}_") for part in parts]
    schema = table.collect_schema()
    if text := [part for part in parts if not schema[part].is_numeric()]:
        bad = table.select(
            pl.col(text[0]).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False).is_null().sum()
        )
        raise DataError(f"{where}: {text[0]}: {bad.collect().item():,} rows have no number: fill or drop them")
    if not all(re.fullmatch(r"\d+", end) for end in ends):
        return Scores(_listed(table, name, parts), name, len(parts), tuple(ends))
    numbers = sorted(map(int, ends))
    if numbers[0] > 1 or len(set(numbers)) < len(numbers):  # names that are numbers
        return Scores(_listed(table, name, parts), name, len(parts), tuple(ends))
    first = 1 if numbers[0] == 1 else 0
    if missing := sorted(set(range(first, numbers[-1] + 1)) - set(numbers)):
        raise DataError(
            f"{where}: {name}: expected {name}_{first} to {name}_{numbers[-1]}, but {name}_{missing[0]} is missing"
        )
    ordered = sorted(parts, key=lambda part: int(part.removeprefix(f"{name}_")))
    return Scores(_listed(table, name, ordered), name, len(parts), first=first)


def _called_as_labels(table: pl.LazyFrame, schema: pl.Schema) -> list[str]:
    """The numeric columns, if every label is the name of one of them; else none."""
    if schema.get("label") not in (pl.String, pl.Categorical, pl.Enum):
        return []
    found = table.select(pl.col("label").cast(pl.String).drop_nulls().unique()).collect()["label"].to_list()
    columns = [
        name
        for name, kind in schema.items()
        if kind.is_numeric() and name not in TAKEN and not name.startswith("embedding_")
    ]
    if not found or not set(found) <= set(columns):
        return []
    own = [name for name in columns if name in found]
    sums = table.select(pl.sum_horizontal(by_name(*own)).head(SEEN)).collect().to_series().to_list()
    # further numeric columns are classes without rows, unless those with rows hold all of the probability
    return own if all(any(abs(total / whole - 1) < NEAR for whole in (1, 100)) for total in sums) else columns


def _listed(table: pl.LazyFrame, name: str, columns: Sequence[str]) -> pl.LazyFrame:
    values = pl.concat_list(by_name(*columns).cast(pl.Float32)).alias(name)
    return table.with_columns(values).drop([column for column in columns if column != name])
