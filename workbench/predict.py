"""Predictions: a classifier over images, on one process or several, in memory or into files."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from workbench import store
from workbench.errors import DataError
from workbench.files import refuse_to_overwrite, write_atomically
from workbench.predictions import Predictions
from workbench.records import ImageSet, ProbabilityArray, Provenance

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
    rows: range | None = None,
    batch: int = BATCH,
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> Predictions:
    """Probabilities (float32 softmax), predicted classes and embeddings of every image, or of ``rows``.

    ``precision`` is that of the model's products; bfloat16 is faster where the processor has it (AVX512-BF16, AMX),
    and moves probabilities in the third digit. ``progress(done, total)`` is called after each batch. The model is
    left as it was.

    Raises
    ------
    DataError
        If classes or image size differ from the model's, or its output is not finite.
    """
    import torch

    from workbench.classifier import untouched

    if images.classes != classifier.classes:
        raise DataError(
            f"the model has {len(classifier.classes)} classes ({', '.join(classifier.classes[:3])} ...), the data "
            f"{len(images.classes)} ({', '.join(images.classes[:3])} ...): use the data that the model was trained on"
        )
    rows = range(len(images)) if rows is None else rows
    probability: list[ProbabilityArray] = []
    embedding: list[ProbabilityArray] = []
    half = torch.autocast(classifier.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with untouched(classifier.module), torch.inference_mode(), half:
        if classifier.embedding_layer is not None:
            layer = classifier.module.get_submodule(classifier.embedding_layer)
            layer.register_forward_hook(lambda _, inputs, __: embedding.append(inputs[0].float().cpu().numpy()))
        for first in range(rows.start, rows.stop, batch):
            last = min(first + batch, rows.stop)
            logits = classifier.module(classifier.prepare(images.pixels[first:last]))
            probability.append(logits.float().softmax(1).cpu().numpy())
            if progress is not None:
                progress(last - rows.start, len(rows))
    whole = np.concatenate(probability)
    if not np.isfinite(whole).all():
        raise DataError("the model's output is not finite: its weights are damaged; train or copy it again")
    return Predictions.from_arrays(
        images.labels[rows.start : rows.stop],
        whole,
        classifier.classes,
        index=np.arange(rows.start, rows.stop),
        embedding=np.concatenate(embedding) if embedding else None,
        provenance=_provenance(classifier, images, precision),
    )


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
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write this process's shard of the predictions into ``folder`` and return its path.

    Every 5,000 rows are written as they are done, so that a killed run goes on where it stopped when
    the same command is given again. Without ``force`` a finished shard is an error.

    Raises
    ------
    DataError
        As `predict`, or if an unfinished run of other weights, data, precision or processes lies in the folder.
    OutputError
        If the shard exists, the disk is full or the folder can't be written.
    """
    if len(images) < world:
        raise DataError(f"{world} processes for {len(images)} images: start at most one an image")
    origin = store.origin(classifier.classes, _provenance(classifier, images, precision))
    shard, rows = folder / store.shard_name(rank, world), share(len(images), rank, world)
    mine = [folder / store.shard_name(number, world) for number in range(world)]
    others = [path for path in sorted(folder.glob(store.SHARDS)) if path not in mine]
    complete = (folder / store.PROVENANCE).is_file() and all(path.is_file() for path in mine)
    finished = shard.is_file() and store.origin_of(shard) == origin and not force
    if not finished or (rank == 0 and complete):
        refuse_to_overwrite([*others, shard], force)
    if not finished:
        _write_shard(classifier, images, shard, rows, origin, precision, progress)
    if rank == 0:
        store.write_provenance(folder, origin)
        for path in others:
            path.unlink()
    return shard


def _write_shard(
    classifier: Classifier,
    images: ImageSet,
    shard: Path,
    rows: range,
    origin: str,
    precision: Precision,
    progress: Progress | None,
) -> None:
    """Predict in parts, each kept as it is done; at the end they become the shard."""
    folder = shard.with_name(f".{shard.name}.parts")
    begun, identity = folder / "identity.json", json.dumps([rows.start, rows.stop, origin])
    if begun.is_file() and begun.read_text(encoding="utf-8") != identity:
        raise DataError(f"{folder} holds an unfinished run of other weights or data: delete it, or use its own")
    parts = []
    for first in range(rows.start, rows.stop, PART):
        part_rows = range(first, min(first + PART, rows.stop))
        part = folder / f"{first:012d}.parquet"
        done = first - rows.start
        if not part.is_file():
            report = None if progress is None else _shifted(progress, done, len(rows))
            found = predict(classifier, images, rows=part_rows, precision=precision, progress=report)
            if not begun.is_file():  # only now: bad input leaves nothing behind
                write_atomically(begun, lambda path: path.write_text(identity, encoding="utf-8"))
            table = store.as_lists(found.table)
            write_atomically(part, lambda path, table=table: table.sink_parquet(path))  # type: ignore[misc]
        elif progress is not None:
            progress(done + len(part_rows), len(rows))
        parts.append(part)
    store.write_table(shard, pl.scan_parquet(parts), len(classifier.classes), origin)
    shutil.rmtree(folder)


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    return lambda count, _: progress(done + count, total)
