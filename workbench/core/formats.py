"""Tables in files, by their extension: text with any usual separator, JSON, Arrow and Parquet."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import polars as pl

from workbench.core.memory import available
from workbench.errors import DataError, first_line

SEPARATORS = (",", ";", "\t", "|")
MOST_BYTES = 16 * 2**30  # of a text once decompressed; and at most a share of the memory that is free
SHARE, CHUNK = 0.25, 2**24
ROW = 24  # bytes of a row that are held at once, whatever its columns: its id, label and predicted class
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def scan_table(path: Path) -> pl.LazyFrame:
    """The table in a file, by its extension (`KINDS`, text and JSON also with ``.gz``).

    Text is UTF-8, or UTF-16 with its mark; fields are separated by commas, semicolons, tabs, bars or blanks, whichever
    the first line has; numbers may have decimal commas where commas do not separate. Blanks around names and values,
    empty lines at the end and the unnamed first column of a data frame's index are dropped. A column of whole numbers
    with leading zeros stays text. Parquet and Arrow stay lazy, the others are read into memory.

    Raises
    ------
    DataError
        If the extension is none of these, the text is neither UTF-8 nor UTF-16, or the file is damaged.
    """
    suffix = _suffix(path)
    if suffix not in KINDS:
        raise DataError(f"{path}: expected a table ({', '.join(KINDS)}), not {suffix or 'a file without extension'}")
    try:
        return KINDS[suffix](path)
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error, MemoryError) as error:
        raise DataError(f"{path} is damaged or of another format ({first_line(error)})") from error


def is_table(path: Path) -> bool:
    """Whether a file's extension is that of a table."""
    return _suffix(path) in KINDS


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix if name.endswith(".gz") else Path(name).suffix


def _content(path: Path) -> bytes:
    """The bytes of a file, decompressed, as UTF-8 without a mark."""
    most = min(MOST_BYTES, int(SHARE * available()))
    parts, size = [], 0
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
        while part := stream.read(CHUNK):
            parts.append(bytes(part))
            size += len(part)
            if size > most:
                raise DataError(
                    f"{path} has more than {most:,} bytes once decompressed, which is what the free memory allows: "
                    "save it as .parquet"
                )
    content = b"".join(parts)
    encoding = next((name for mark, name in _BOMS.items() if content.startswith(mark)), None)
    try:
        if encoding is not None:
            return content.decode(encoding).encode("utf-8")
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: expected text in UTF-8, or UTF-16 with its mark, not the byte "
            f"{content[error.start]:#04x} (it may be Latin-1): save it as UTF-8, in Excel 'CSV UTF-8'"
        ) from error
    return content


def _text(path: Path) -> pl.LazyFrame:
    content = _content(path).lstrip(b"\r\n").rstrip(b"\r\n ")
    content = re.sub(rb"\Asep=.\r?\n", b"", content)  # Excel's own first line
    if not content:
        raise DataError(f"{path} is empty: expected a line of column names, and rows")
    lines = content[:65_536].decode("utf-8", "ignore").splitlines()
    separator = _separator(lines[0])
    if separator == " ":
        content = re.sub(rb"[ \t]+", b" ", re.sub(rb"(?m)^[ \t]+|[ \t\r]+$", b"", content))
    comma = separator != "," and _has_decimal_comma(content, separator)

    def read(columns: list[str] | None, *, infer: bool) -> pl.DataFrame:
        return pl.read_csv(
            BytesIO(content),
            separator=separator,
            decimal_comma=comma,
            columns=columns,
            infer_schema=infer,
            infer_schema_length=None,
        )

    table = read(None, infer=True)
    if numbers := [name for name, kind in table.schema.items() if kind.is_integer()]:
        written = read(numbers, infer=False)
        zeros = [n for n in numbers if written[n].str.contains(r"^\s*0\d").any()]
        table = table.with_columns(written[name].str.strip_chars() for name in zeros)
    table = table.rename({name: name.strip() for name in table.columns})
    return _tidy(table).lazy()


def _has_decimal_comma(content: bytes, separator: str) -> bool:
    """Whether a whole cell anywhere is a number with a decimal comma."""
    edge = re.escape(separator.encode())
    return re.search(rb"(?m)(?:^|" + edge + rb') *"?-?\d+,\d+"? *(?:' + edge + rb"|\r?$)", content) is not None


def _separator(header: str) -> str:
    """What separates the names in the first line: the most frequent of `SEPARATORS` outside quotes, else blanks."""
    bare = re.sub(r'"[^"]*"', "", header)
    best = max(SEPARATORS, key=bare.count)
    return best if best in bare else " " if len(bare.split()) > 1 else ","


def _tidy(table: pl.DataFrame) -> pl.DataFrame:
    """Text without blanks around it, as numbers where all of it is, and without an unnamed first column."""
    for name, kind in table.schema.items():
        if kind == pl.String:
            column = table[name].str.strip_chars()
            if not column.str.contains(r"^0\d").any():
                number = column.cast(pl.Float64, strict=False)
                if number.null_count() == column.null_count() < len(column):
                    column = number
            table = table.with_columns(column)
    first = table.columns[0]
    return table.drop(first) if first in ("", "Unnamed: 0", "column_1") and table[first].dtype.is_numeric() else table


def _json_lines(path: Path) -> pl.LazyFrame:
    return pl.read_ndjson(BytesIO(_content(path)), infer_schema_length=None).lazy()


def _json(path: Path) -> pl.LazyFrame:
    return pl.read_json(BytesIO(_content(path)), infer_schema_length=None).lazy()


def _parquet(path: Path) -> pl.LazyFrame:
    return _bounded(path, pl.scan_parquet(path, glob=False))


def _arrow(path: Path) -> pl.LazyFrame:
    return _bounded(path, pl.scan_ipc(path, glob=False))


def _bounded(path: Path, table: pl.LazyFrame) -> pl.LazyFrame:
    """The table, unless a few bytes stand for more rows than the free memory holds."""
    rows = int(table.select(pl.len()).collect().item())
    if rows * ROW > SHARE * available():
        raise DataError(f"{path} has {rows:,} rows, more than the free memory allows: split it into several files")
    return table


KINDS: Mapping[str, Callable[[Path], pl.LazyFrame]] = {
    ".csv": _text,
    ".tsv": _text,
    ".txt": _text,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
}
