"""Predictions: a classifier over images, on one process or several, in memory or into files."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from workbench import store
from workbench.errors import DataError
from workbench.files import refuse_to_overwrite, write_atomically
from workbench.predictions import Predictions
from workbench.records import ImageSet, ProbabilityArray

if TYPE_CHECKING:
    from workbench.classifier import Classifier

BATCH = 250
PART = 5_000
Progress = Callable[[int, int], None]


def predict(
    classifier: Classifier,
    images: ImageSet,
    *,
    rows: range | None = None,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Predictions:
    """Probabilities (float32 softmax), predicted classes and embeddings of every image, or of ``rows``.

    ``progress(done, total)`` is called after each batch. The model is left as it was.

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
    with untouched(classifier.module), torch.inference_mode():
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
        provenance=dataclasses.replace(classifier.provenance, data=images.fingerprint, split=images.split),
    )


def rank_and_world() -> tuple[int, int]:
    """Rank of this process and number of processes, as ``torchrun`` tells them in the environment."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def share(total: int, rank: int, world: int) -> range:
    """The rows of one process: neighbouring rows, so that the shards in order are the table of one process."""
    return range(rank * total // world, (rank + 1) * total // world)


def predict_into(
    classifier: Classifier,
    images: ImageSet,
    folder: Path,
    *,
    rank: int = 0,
    world: int = 1,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write this process's shard of the predictions into ``folder`` and return its path.

    Every 5,000 rows are written as they are done, so that a killed run goes on where it stopped when
    the same command is given again. Without ``force`` a finished shard is an error.

    Raises
    ------
    DataError
        As `predict`, or if an unfinished run of other weights, data or processes lies in the folder.
    OutputError
        If the shard exists, the disk is full or the folder can't be written.
    """
    provenance = dataclasses.replace(classifier.provenance, data=images.fingerprint, split=images.split)
    shard = folder / store.shard_name(rank, world)
    others = [path for path in sorted(folder.glob(store.SHARDS)) if store.shard_count(path) != world]
    refuse_to_overwrite([shard, *others], force)
    if len(images) < world:
        raise DataError(f"{world} processes for {len(images)} images: start at most one an image")
    rows = share(len(images), rank, world)
    parts_folder = folder / f".{shard.name}.parts"
    identity = json.dumps({"first": rows.start, "last": rows.stop, **provenance.to_json()}, sort_keys=True)
    begun = parts_folder / "identity.json"
    if begun.is_file() and begun.read_text(encoding="utf-8") != identity:
        raise DataError(f"{parts_folder} holds an unfinished run of other weights or data: delete it, or use its own")
    parts = []
    for first in range(rows.start, rows.stop, PART):
        part_rows = range(first, min(first + PART, rows.stop))
        part = parts_folder / f"{first:012d}.parquet"
        done = first - rows.start
        if not part.is_file():
            report = None if progress is None else _shifted(progress, done, len(rows))
            table = store.as_lists(predict(classifier, images, rows=part_rows, progress=report).table)
            if not begun.is_file():  # only now: bad input leaves nothing behind
                write_atomically(begun, lambda path: path.write_text(identity, encoding="utf-8"))
            write_atomically(part, lambda path, table=table: table.sink_parquet(path))  # type: ignore[misc]
        elif progress is not None:
            progress(done + len(part_rows), len(rows))
        parts.append(part)
    whole = pl.scan_parquet(parts)
    write_atomically(shard, lambda path: whole.sink_parquet(path, compression="zstd"))
    if rank == 0:
        store.write_provenance(folder, classifier.classes, provenance)
        for path in others:
            path.unlink()
    for path in (*parts, begun):
        path.unlink()
    parts_folder.rmdir()
    return shard


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    return lambda count, _: progress(done + count, total)
