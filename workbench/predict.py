"""Predictions: a classifier over images, on one process or several, in memory or into files."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from workbench import store
from workbench.errors import DataError
from workbench.files import alone, refuse_to_overwrite, write_atomically, write_json
from workbench.predictions import Predictions
from workbench.records import ImageArray, ImageSet, IntArray, ProbabilityArray, Provenance

if TYPE_CHECKING:
    from workbench.classifier import Classifier

BATCH = 250
PART = 5_000
Progress = Callable[[int, int], None]
Precision = Literal["float32", "bfloat16"]


def predict(
    classifier: Classifier,
    images: ImageSet,
    *,
    rows: IntArray | None = None,
    batch: int = BATCH,
    precision: Precision = "float32",
    skipped: dict[int, str] | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Probabilities (float32 softmax), predicted classes and embeddings of every image, or of the row ids ``rows``.

    ``precision`` is that of the model's products; bfloat16 is faster where the processor has it (AVX512-BF16, AMX),
    and moves probabilities in the third digit. An image that can't be read is an error, or with ``skipped`` left out
    and its reason put there by row id. Out of memory, the batch is halved, with a warning that says so.
    ``progress(done, total)`` is called after each batch. The model is left as it was.

    Raises
    ------
    DataError
        If classes or image size differ from the model's, an image can't be read, or the model's output is not finite.
    """
    import torch

    from workbench.classifier import untouched
    from workbench.images import batches

    if images.classes != classifier.classes:
        raise DataError(
            f"the model has {len(classifier.classes)} classes ({', '.join(classifier.classes[:3])} ...), the data "
            f"{len(images.classes)} ({', '.join(images.classes[:3])} ...): use the data that the model was trained on"
        )
    rows = images.rows if rows is None else rows
    found: list[tuple[IntArray, ProbabilityArray, ProbabilityArray | None]] = []
    half = torch.autocast(classifier.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    done = 0
    with untouched(classifier.module), torch.inference_mode(), half:
        model = _Model(classifier)
        for good, pixels, bad in batches(classifier.seen(images), rows, batch):
            if bad and skipped is None:
                raise DataError(f"{next(iter(bad.values()))} (or leave such images out with --skip-unreadable)")
            if skipped is not None:
                skipped.update(bad)
            if len(good):
                found.append((good, *model(pixels)))
            done += len(good) + len(bad)
            if progress is not None:
                progress(done, len(rows))
    if not found:
        raise DataError(f"none of {len(rows):,} images can be read: {next(iter((skipped or {}).values()), 'no rows')}")
    index, whole = (np.concatenate([part[k] for part in found]) for k in (0, 1))
    embedding = [part[2] for part in found if part[2] is not None]
    if not np.isfinite(whole).all():
        raise DataError("the model's output is not finite: its weights are damaged; train or copy it again")
    return Predictions.from_arrays(
        images.labels_of(index),
        whole,
        classifier.classes,
        index=index,
        embedding=np.concatenate(embedding) if embedding else None,
        provenance=_provenance(classifier, images, precision),
    )


class _Model:
    """Probabilities and embeddings of batches, a batch in parts once it did not fit into memory."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._most = sys.maxsize
        self._read: list[ProbabilityArray] = []
        if classifier.embedding_layer is not None:
            layer = classifier.module.get_submodule(classifier.embedding_layer)
            layer.register_forward_hook(lambda _, inputs, __: self._read.append(inputs[0].float().cpu().numpy()))

    def __call__(self, pixels: ImageArray) -> tuple[ProbabilityArray, ProbabilityArray | None]:
        """float32 ``(n, K)`` and ``(n, D)``, None without a layer to read it at."""
        if len(pixels) > self._most:
            most = self._most  # the parts may shrink further meanwhile
            parts = [self(pixels[first : first + most]) for first in range(0, len(pixels), most)]
            embedding = [part[1] for part in parts if part[1] is not None]
            return np.concatenate([part[0] for part in parts]), np.concatenate(embedding) if embedding else None
        from workbench.classifier import out_of_memory

        self._read.clear()
        try:
            logits = self._classifier.module(self._classifier.prepare(pixels))
            return logits.float().softmax(1).cpu().numpy(), self._read[-1] if self._read else None
        except (MemoryError, RuntimeError) as error:
            if len(pixels) == 1 or not out_of_memory(error):
                raise
        self._most = len(pixels) // 2
        warnings.warn(
            f"out of memory at {len(pixels)} images: {self._most} at a time from here on", ResourceWarning, stacklevel=3
        )
        return self(pixels)


def _provenance(classifier: Classifier, images: ImageSet, precision: Precision) -> Provenance:
    return dataclasses.replace(classifier.provenance, data=images.fingerprint, split=images.split, precision=precision)


def rank_and_world() -> tuple[int, int]:
    """Rank of this process and number of processes, as ``torchrun`` tells them in the environment."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def share(total: int, rank: int, world: int) -> range:
    """The rows of one process: neighbouring rows, so that the shards in order are the table of one process.

    Shares begin at whole batches where there are enough, so that every batch is one that a single process would have.
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
    progress: Progress | None = None,
) -> Path:
    """Write this process's shard of the predictions into ``folder`` and return its path.

    Every 5,000 rows are written as they are done, so that a killed run goes on where it stopped when
    the same command is given again. Without ``force`` a finished shard is an error. With ``skip`` images that can't be
    read are left out, and a file beside the shard names them with the reasons (`store.skipped`).

    Raises
    ------
    DataError
        As `predict`, or if an unfinished run of other weights, data, precision or processes lies in the folder.
    OutputError
        If the shard exists, another process writes it, the disk is full or the folder can't be written.
    """
    if len(images) < world:
        raise DataError(f"{world} processes for {len(images)} images: start at most one an image")
    origin = store.origin(classifier.classes, _provenance(classifier, images, precision))
    part = share(len(images), rank, world)
    shard, rows = folder / store.shard_name(rank, world), images.rows[part.start : part.stop]
    mine = [folder / store.shard_name(number, world) for number in range(world)]
    others = [path for path in sorted(folder.glob(store.SHARDS)) if path not in mine]
    complete = (folder / store.PROVENANCE).is_file() and all(path.is_file() for path in mine)
    finished = shard.is_file() and store.origin_of(shard) == origin and not force
    if not finished or (rank == 0 and complete):
        refuse_to_overwrite([*others, shard], force)
    if not finished:
        _write_shard(classifier, images, shard, rows, origin, precision, skip, progress)
    if rank == 0:
        store.write_provenance(folder, origin)
        for path in others:
            path.unlink()
            store.write_skipped(path, {})
    return shard


def _write_shard(
    classifier: Classifier,
    images: ImageSet,
    shard: Path,
    rows: IntArray,
    origin: str,
    precision: Precision,
    skip: bool,
    progress: Progress | None,
) -> None:
    """Predict in parts, each kept as it is done; at the end they become the shard."""
    folder = shard.with_name(f".{shard.name}.parts")
    begun, identity = folder / "identity.json", json.dumps([len(rows), int(rows[0]), int(rows[-1]), origin])
    if begun.is_file() and begun.read_text(encoding="utf-8") != identity:
        raise DataError(f"{folder} holds an unfinished run of other weights or data: delete it, or use its own")
    with ExitStack() as held:
        if begun.is_file():
            held.enter_context(alone(folder / "lock"))
        parts: list[Path] = []
        reasons: dict[str, str] = {}
        for first in range(0, len(rows), PART):
            part, beside = folder / f"{first:012d}.parquet", folder / f"{first:012d}.json"
            wanted = rows[first : first + PART]
            if not beside.is_file():
                report = None if progress is None else _shifted(progress, first, len(rows))
                skipped: dict[int, str] | None = {} if skip else None
                try:
                    found = predict(
                        classifier, images, rows=wanted, precision=precision, skipped=skipped, progress=report
                    )
                except DataError:
                    if skipped is None or len(skipped) < len(wanted):
                        raise
                    found = None  # not one image of this part can be read
                if not begun.is_file():  # only now: bad input leaves nothing behind
                    held.enter_context(alone(folder / "lock"))
                    write_atomically(begun, lambda path: path.write_text(identity, encoding="utf-8"))
                if found is not None:
                    table = store.as_lists(found.table)
                    write_atomically(part, lambda path, table=table: table.sink_parquet(path))  # type: ignore[misc]
                write_json(beside, {str(row): reason for row, reason in (skipped or {}).items()})
            elif progress is not None:
                progress(first + len(wanted), len(rows))
            parts += [part] if part.is_file() else []
            reasons |= json.loads(beside.read_text(encoding="utf-8"))
        if not parts:
            raise DataError(f"none of {len(rows):,} images can be read: {next(iter(reasons.values()))}")
        store.write_skipped(shard, reasons)  # first: a table that is there is whole
        store.write_table(shard, pl.scan_parquet(parts), len(classifier.classes), origin)
        shutil.rmtree(folder)


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    return lambda count, _: progress(done + count, total)
