"""A bundle: figures, tables and numbers, written with a manifest of what they were computed from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench import figures
from workbench.core.files import sha256, write_atomically, write_json
from workbench.core.stamp import NAME, stamp_of, text_of
from workbench.core.texts import csv_bytes, read_json
from workbench.errors import OutputError
from workbench.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANIFEST, METRICS, INDEX = "manifest.json", "metrics.json", "errors"


@dataclass
class Bundle:
    """What is to be written: figures, tables and JSON records by name, numbers, and what is omitted and why."""

    figures: dict[str, Callable[[], Figure]] = field(default_factory=dict)
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    records: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    omitted: list[str] = field(default_factory=list)

    def add(self, other: Bundle) -> None:
        """Add the contents of another bundle; where two metrics share a name, the later one counts."""
        self.figures |= other.figures
        self.tables |= other.tables
        self.records |= other.records
        self.metrics |= other.metrics
        self.omitted += other.omitted


@dataclass(frozen=True)
class _Writer:
    """Writes the parts of a bundle into a folder: all of them, or the file ``only``."""

    run: Run
    out: Path
    only: str | None
    files: list[Path] = field(default_factory=list)

    def wants(self, name: str) -> bool:
        return self.only is None or Path(self.only).stem == name

    def figure(self, name: str, draw: Callable[[], Figure]) -> None:
        if self.wants(name):
            stamp = stamp_of(self.run.predictions, "report", name)
            self.files.extend(figures.save(draw(), self.out / name, stamp))

    def table(self, name: str, table: pl.DataFrame) -> None:
        if self.wants(name):
            content = csv_bytes(_flat(table))
            self._file(f"{name}.csv", lambda path: path.write_bytes(content))
            if name == INDEX:
                said = {NAME: text_of(stamp_of(self.run.predictions, "report", name))}
                self._file(f"{name}.parquet", functools.partial(table.write_parquet, metadata=said))

    def record(self, name: str, values: Any) -> None:
        if self.wants(name):
            write_json(self.out / f"{name}.json", values)
            self.files.append(self.out / f"{name}.json")

    def document(self, name: str, make: Callable[[], str]) -> None:
        if self.wants(Path(name).stem):
            self._file(name, functools.partial(_write_text, make()))

    def _file(self, name: str, write: Callable[[Path], object]) -> None:
        write_atomically(self.out / name, write)
        self.files.append(self.out / name)


def write_bundle(
    bundle: Bundle,
    run: Run,
    out: Path,
    *,
    documents: Mapping[str, Callable[[], str]],
    command: Sequence[str],
    only: str | None,
) -> None:
    """Write a bundle into ``out``, replacing an older one; see `report.write_report`."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file: expected a folder, name another --out")
    older = _written_before(out)
    (out / MANIFEST).unlink(missing_ok=True)  # first: a bundle that is interrupted from here on is incomplete
    for name in older:
        (out / name).unlink(missing_ok=True)
    writer = _Writer(run, out, only)
    for name, draw in bundle.figures.items():
        writer.figure(name, draw)
    for name, table in bundle.tables.items():
        writer.table(name, table)
    for name, values in {**bundle.records, Path(METRICS).stem: bundle.metrics}.items():
        writer.record(name, values)
    for name, make in documents.items():
        writer.document(name, make)
    manifest = {
        "run": run.name,
        "rows": len(run.predictions),
        "errors": run.predictions.error_count,
        "accuracy": run.predictions.accuracy,
        "provenance": run.predictions.provenance.to_json(),
        "images": None if run.images is None else run.images.fingerprint,
        "left_out": bundle.omitted,
        "stamp": stamp_of(run.predictions, "report", ""),
        "command": list(command),
        "files": {path.name: sha256(path) for path in sorted(writer.files)},
    }
    write_json(out / MANIFEST, manifest)


def _flat(table: pl.DataFrame) -> pl.DataFrame:
    """The table as a CSV can hold it: lists of strings joined, other lists omitted."""
    words = [n for n, kind in table.schema.items() if kind == pl.List(pl.String)]
    joined = table.with_columns(pl.col(n).list.join(" ") for n in words)
    return joined.select(pl.exclude([n for n, kind in joined.schema.items() if kind.is_nested()]))


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _written_before(out: Path) -> list[str]:
    """The files of an older bundle in the folder, so that none of them stays beside the new ones."""
    if not (out / MANIFEST).is_file():
        return []
    values = read_json(out / MANIFEST, "delete the folder, or choose another --out")
    names = values.get("files") if isinstance(values, dict) else None
    if not isinstance(names, dict | list):
        raise OutputError(f"{out / MANIFEST} is damaged: delete the folder, or choose another --out")
    plain = [name for name in names if isinstance(name, str) and Path(name).name == name and "\0" not in name]
    return [name for name in plain if (out / name).is_file()]
