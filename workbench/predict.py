"""Predictions: a classifier over images, and their files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from workbench.errors import DataError
from workbench.files import refuse_to_overwrite, write_atomically
from workbench.records import ImageSet, Predictions, ProbabilityArray, Provenance

if TYPE_CHECKING:
    from workbench.classifier import Classifier

TABLE, PROVENANCE = "predictions.parquet", "provenance.json"
BATCH = 250


def predict(
    classifier: Classifier, images: ImageSet, *, batch: int = BATCH, progress: Callable[[int, int], None] | None = None
) -> Predictions:
    """Probabilities (float32 softmax), predicted classes and embeddings of every image.

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
    probability: list[ProbabilityArray] = []
    embedding: list[ProbabilityArray] = []
    with untouched(classifier.module), torch.inference_mode():
        if classifier.embedding_layer is not None:
            layer = classifier.module.get_submodule(classifier.embedding_layer)
            layer.register_forward_hook(lambda _, inputs, __: embedding.append(inputs[0].float().cpu().numpy()))
        for first in range(0, len(images), batch):
            logits = classifier.module(classifier.prepare(images.pixels[first : first + batch]))
            probability.append(logits.float().softmax(1).cpu().numpy())
            if progress is not None:
                progress(min(first + batch, len(images)), len(images))
    whole = np.concatenate(probability)
    if not np.isfinite(whole).all():
        raise DataError("the model's output is not finite: its weights are damaged; train or copy it again")
    return Predictions(
        index=np.arange(len(images)),
        label=images.labels,
        predicted=whole.argmax(1),
        probability=whole,
        classes=classifier.classes,
        embedding=np.concatenate(embedding) if embedding else None,
        provenance=dataclasses.replace(classifier.provenance, data=images.fingerprint, split=images.split),
    )


def write(predictions: Predictions, folder: Path, *, force: bool = False) -> None:
    """Write ``predictions.parquet`` and ``provenance.json`` atomically.

    Columns: ``index``, ``label`` and ``predicted`` int64, ``probability`` a list of K float32 and, if
    there is one, ``embedding`` a list of D float32.

    Raises
    ------
    OutputError
        If they exist and ``force`` is off, the disk is full or the folder can't be written.
    """
    refuse_to_overwrite([folder / TABLE, folder / PROVENANCE], force)
    columns = {
        "index": predictions.index,
        "label": predictions.label,
        "predicted": predictions.predicted,
        "probability": pl.Series(predictions.probability).arr.to_list(),
    }
    if predictions.embedding is not None:
        columns["embedding"] = pl.Series(predictions.embedding).arr.to_list()
    beside = {"classes": list(predictions.classes), **predictions.provenance.to_json()}
    text = json.dumps(beside, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / TABLE, lambda path: pl.DataFrame(columns).write_parquet(path, compression="zstd"))
    write_atomically(folder / PROVENANCE, lambda path: path.write_text(text, encoding="utf-8"))


def read(folder: Path) -> Predictions:
    """The predictions that `write` left in ``folder``.

    Raises
    ------
    DataError
        If a file is missing, damaged or lacks a column.
    """
    table, beside = folder / TABLE, folder / PROVENANCE
    for path in (table, beside):
        if not path.is_file():
            raise DataError(f"{path} is missing: expected a folder that `python -m workbench predict` wrote")
    try:
        values = json.loads(beside.read_text(encoding="utf-8"))
        frame = pl.read_parquet(table)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise DataError(f"{folder} is damaged ({str(error).splitlines()[0]}): predict again") from error
    if missing := [c for c in ("index", "label", "predicted", "probability") if c not in frame.columns]:
        raise DataError(f"{table} lacks the column {missing[0]!r}; it has {', '.join(frame.columns)}")
    classes = tuple(values.pop("classes"))

    def matrix(name: str) -> ProbabilityArray:
        widths = frame[name].list.len().unique()
        if len(widths) != 1:
            raise DataError(f"{table}: expected lists of one length in {name!r}, not of {sorted(widths)}")
        flat = frame[name].explode().cast(pl.Float32).to_numpy()
        return np.ascontiguousarray(flat.reshape(len(frame), int(widths[0])))

    return Predictions(
        index=frame["index"].to_numpy().astype(np.int64),
        label=frame["label"].to_numpy().astype(np.int64),
        predicted=frame["predicted"].to_numpy().astype(np.int64),
        probability=matrix("probability"),
        classes=classes,
        embedding=matrix("embedding") if "embedding" in frame.columns else None,
        provenance=Provenance(**values),
    )
