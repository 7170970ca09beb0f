"""Predictions written to files: each process saves its share part by part, so that a killed run resumes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from workbench import store
from workbench.core.files import is_utf8, lock, refuse_to_overwrite, write_atomically, write_json
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet, IntArray, Precision
from workbench.core.texts import read_json
from workbench.errors import DataError, OutputError
from workbench.models.match import match_classes
from workbench.models.predict import BATCH, Progress, predict, provenance_of

if TYPE_CHECKING:
    from workbench.models.classifier import Classifier

PART = 5_000


def rank_and_world() -> tuple[int, int]:
    """Rank of this process and number of processes, as ``torchrun`` sets them in the environment."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def share(total: int, rank: int, world: int) -> range:
    """The rows of one process: consecutive rows, so that the shards in order are the table of a single process.

    Shares begin at batch boundaries where there are enough batches, so that every batch is one that a single process
    would have.
    """
    unit = BATCH if total >= world * BATCH else 1
    units = -(-total // unit)
    return range(min(total, rank * units // world * unit), min(total, (rank + 1) * units // world * unit))


def predict_into(
    classifier: Classifier,
    images: ImageSet,
    folder: Path,
    *,
    rank: int = 0,
    world: int = 1,
    precision: Precision = "float32",
    skip: bool = False,
    force: bool = False,
    memory_gb: float | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write this process's shard of the predictions into ``folder`` and return its path.

    Every 5,000 rows are written as they are done, so that a killed run resumes where it stopped when
    the same command is run again. Without ``force`` a finished shard is an error. With ``skip`` images that can't be
    read are omitted, and a file beside the shard names them with the reasons (`store.skipped`).

    Raises
    ------
    DataError
        As `predict`, or if the folder holds an unfinished run with other weights, data, precision or processes.
    OutputError
        If the shard exists, another process is writing it, the disk is full or the folder can't be written.
    """
    if not is_utf8(folder):
        raise OutputError(f"{str(folder)!r}: expected a folder whose name is UTF-8 for tables: name another --out")
    if len(images) < world:
        raise DataError(f"{world} processes for {len(images)} images: start at most one an image")
    images = match_classes(images, classifier.classes)
    origin = store.origin(classifier.classes, provenance_of(classifier, images, precision))
    part = share(len(images), rank, world)
    shard, rows = folder / store.shard_name(rank, world), images.rows[part.start : part.stop]
    mine = [folder / store.shard_name(number, world) for number in range(world)]
    others = [path for path in sorted(folder.glob(store.SHARDS)) if path not in mine]
    complete = (folder / store.PROVENANCE).is_file() and all(path.is_file() for path in mine)
    finished = not force and shard.is_file() and _is_of(shard, origin)
    if not finished or (rank == 0 and complete):
        refuse_to_overwrite([*others, shard], force)
    if not finished:
        _Shard(classifier, images, shard, rows, origin, precision, skip, memory_gb, progress).write()
    if rank == 0:
        store.write_provenance(folder, origin)
        for path in others:
            path.unlink()
            store.write_skipped(path, {})
    return shard


def _is_of(shard: Path, origin: str) -> bool:
    """Whether a shard is whole and of this origin."""
    try:
        return store.origin_of(shard) == origin
    except (pl.exceptions.PolarsError, OSError):
        return False


@dataclass(frozen=True)
class _Shard:
    """A shard in progress: predicted in parts, each saved as it is done; at the end they become the shard."""

    classifier: Classifier
    images: ImageSet
    path: Path
    rows: IntArray
    origin: str
    precision: Precision
    skip: bool
    memory_gb: float | None
    progress: Progress | None

    @property
    def _folder(self) -> Path:
        return self.path.with_name(f".{self.path.name}.parts")

    @property
    def _begun(self) -> Path:
        return self._folder / "identity.json"

    def write(self) -> None:
        """Predict the missing parts, and write the shard."""
        identity = json.dumps([len(self.rows), int(self.rows[0]), int(self.rows[-1]), self.origin])
        if self._begun.is_file() and self._begun.read_text(encoding="utf-8") != identity:
            raise DataError(
                f"{self._folder} holds an unfinished run of other weights or data: delete it, or resume it with the "
                "weights and data that it was started with"
            )
        with ExitStack() as held:
            if self._begun.is_file():
                held.enter_context(lock(self._folder / "lock"))

            def begin() -> None:
                if not self._begun.is_file():
                    held.enter_context(lock(self._folder / "lock"))
                    write_atomically(self._begun, lambda path: path.write_text(identity, encoding="utf-8"))

            reasons: dict[str, str] = {}
            for first in range(0, len(self.rows), PART):
                reasons |= self._part(first, begin)
            tables = (self._files(first)[0] for first in range(0, len(self.rows), PART))
            parts = [table for table in tables if table.is_file()]
            if not parts:
                shutil.rmtree(self._folder)  # there is nothing to resume
                raise DataError(f"none of {len(self.rows):,} images can be read: {next(iter(reasons.values()))}")
            store.write_skipped(self.path, reasons)  # first, so that a table that exists is complete
            store.write_table(self.path, pl.scan_parquet(parts, glob=False), len(self.classifier.classes), self.origin)
            shutil.rmtree(self._folder)

    def _files(self, first: int) -> tuple[Path, Path]:
        """The table of the part that begins at row ``first``, and the file that marks the part as done."""
        return self._folder / f"{first:012d}.parquet", self._folder / f"{first:012d}.json"

    def _part(self, first: int, begin: Callable[[], None]) -> dict[str, str]:
        """Predict one part unless it is done; return why some of its images can't be read, by row id."""
        table, beside = self._files(first)
        wanted = self.rows[first : first + PART]
        if beside.is_file():
            if self.progress is not None:
                self.progress(first + len(wanted), len(self.rows))
            return dict(read_json(beside, f"delete {self._folder}"))
        skipped: dict[int, str] | None = {} if self.skip else None
        found = self._predicted(wanted, first, skipped)
        begin()  # only now: bad input leaves nothing behind
        if found is not None:
            write_atomically(table, lambda path: store.as_lists(found.table).sink_parquet(path))
        reasons = {str(row): reason for row, reason in (skipped or {}).items()}
        write_json(beside, reasons)
        return reasons

    def _predicted(self, rows: IntArray, first: int, skipped: dict[int, str] | None) -> Predictions | None:
        """The predictions of some rows; None if none of their images can be read."""
        report = None if self.progress is None else _shifted(self.progress, first, len(self.rows))
        try:
            return predict(
                self.classifier,
                self.images,
                rows=rows,
                precision=self.precision,
                memory_gb=self.memory_gb,
                skipped=skipped,
                progress=report,
            )
        except DataError:
            if skipped is None or len(skipped) < len(rows):
                raise
            return None


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    return lambda count, _: progress(done + count, total)
