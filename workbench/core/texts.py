"""Text and JSON that anything may have written: bounded, checked, and one line for whatever is off."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from workbench.errors import DataError, first_line

MOST_BYTES = 2**28


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without its mark.

    Raises
    ------
    DataError
        If it is missing, no regular file, larger than 256 MiB, or no such text.
    """
    try:
        if not path.is_file():
            raise DataError(f"{path} is {'no regular file' if path.exists() else 'missing'}: expected text in UTF-8")
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} has {path.stat().st_size:,} bytes: expected at most {MOST_BYTES:,}")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as text in UTF-8 ({first_line(error)})") from error


def parse_json(text: str | bytes, name: str, remedy: str = "write it again") -> Any:
    """The values of JSON with finite numbers and text that UTF-8 can hold; ``name`` is what messages call it.

    Raises
    ------
    DataError
        If it is no such JSON; the message ends with ``remedy``.
    """
    try:
        values = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is damaged ({first_line(error)}): {remedy}") from error
    return values


def read_json(path: Path, remedy: str = "write it again") -> Any:
    """The values of a JSON file; `DataError` as in `read_text` and `parse_json`."""
    return parse_json(read_text(path), str(path), remedy)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


def csv_bytes(table: pl.DataFrame) -> bytes:
    """A table as CSV in UTF-8 that no spreadsheet computes with.

    Text that begins as a formula does (``=``, ``@``, a tab, or the sign of what is no number) gets an apostrophe before
    it, so that it is shown and not run (OWASP, "CSV Injection"); the explorer's own CSV follows the same rule.
    """
    plain = table.with_columns(cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))
    names = _shown(pl.Series("name", table.columns, pl.String)).to_list()
    safe = [_shown(column) if column.dtype == pl.String else column for column in plain]
    return pl.DataFrame(safe).rename(dict(zip(table.columns, names, strict=True))).write_csv().encode()


def _shown(column: pl.Series) -> pl.Series:
    """Text with an apostrophe before what a spreadsheet would compute."""
    signed = column.str.contains(r"^[+-]") & column.cast(pl.Float64, strict=False).is_null()
    formula = column.str.contains(r"^[=@\t\r]") | signed
    return pl.select(pl.when(formula).then("'" + column).otherwise(column).alias(column.name)).to_series()
