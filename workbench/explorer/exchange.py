"""Out to other tools: tasks for Label Studio, and Parquet that Hugging Face ``datasets`` opens with images."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from workbench.core.records import IntArray
from workbench.errors import DataError
from workbench.explorer.decisions import PATH, Decision
from workbench.explorer.words import CONFIRMED
from workbench.runs.run import Run

MOST_IMAGES = 20_000  # in one file
CONFIG = '<View><Image name="image" value="$image"/><Choices name="label" toName="image">{}</Choices></View>'


def label_studio(run: Run, rows: Iterable[int], decisions: Mapping[int, Decision]) -> list[dict[str, Any]]:
    """The rows as tasks that Label Studio imports, each with the model's answer and what was decided.

    A task's ``data`` holds ``image`` (the path of its file, or the picture itself as PNG where it has none), row id,
    label, tags and note; ``predictions`` the model's class with its confidence; ``annotations`` the corrected label, or
    the label where it was confirmed. `config_of` is the project's labelling interface.

    Raises
    ------
    DataError
        If there are no rows, too many, or an image without a path that can't be read.
    """
    ids = _checked(rows)
    predictions = run.predictions
    paths = _paths(run)
    tasks: list[dict[str, Any]] = []
    for row in ids.tolist():
        place = predictions.position(row)
        label, answer = (predictions.classes[int(of[place])] for of in (predictions.label, predictions.predicted))
        decision = decisions.get(row, Decision())
        known = label if CONFIRMED in decision.tags else None
        known = known if decision.label is None else predictions.classes[decision.label]
        score = float(predictions.confidence[place]) if predictions.has_probabilities else None
        given = {"index": row, "label": label, "tags": list(decision.tags), "note": decision.note}
        tasks.append(
            {
                "data": {**given, "image": paths[row] if row in paths else _data_url(run, row)},
                "predictions": [{"model_version": run.name, "score": score, "result": [_choice(answer)]}],
                "annotations": [] if known is None else [{"result": [_choice(known)]}],
            }
        )
    return tasks


def config_of(run: Run) -> str:
    """The labelling interface of a Label Studio project for these classes, as XML."""
    from xml.sax.saxutils import quoteattr

    return CONFIG.format("".join(f"<Choice value={quoteattr(name)}/>" for name in run.predictions.classes))


def parquet(run: Run, rows: Iterable[int], decisions: Mapping[int, Decision]) -> bytes:
    """The rows as Parquet with their pictures, as Hugging Face ``datasets`` and other readers of Parquet take them.

    Columns: image (a struct of bytes, PNG, and path), index, label, predicted and corrected_label (names of classes;
    null: not corrected), tags, note, and confidence where there are probabilities. In ``datasets`` the pictures open
    after ``cast_column("image", datasets.Image())``.

    Raises
    ------
    DataError
        If there are no rows, too many, or an image can't be read.
    """
    ids = _checked(rows)
    predictions = run.predictions
    places = [predictions.position(row) for row in ids.tolist()]
    decided = [decisions.get(row, Decision()) for row in ids.tolist()]
    names = predictions.classes
    columns: dict[str, Any] = {
        "index": ids,
        "label": [names[k] for k in predictions.label[places]],
        "predicted": [names[k] for k in predictions.predicted[places]],
        "corrected_label": [None if one.label is None else names[one.label] for one in decided],
        "tags": ["; ".join(one.tags) for one in decided],
        "note": [one.note for one in decided],
    }
    kinds: dict[str, Any] = {"index": pl.Int64, "corrected_label": pl.String}
    if predictions.has_probabilities:
        columns["confidence"] = predictions.confidence[places]
    if run.images is not None:
        columns = {"image": [{"bytes": _png(run, row), "path": f"{row}.png"} for row in ids.tolist()], **columns}
        kinds["image"] = pl.Struct({"bytes": pl.Binary, "path": pl.String})
    stream = io.BytesIO()
    pl.DataFrame(columns, schema_overrides=kinds).write_parquet(stream)
    return stream.getvalue()


def _checked(rows: Iterable[int]) -> IntArray:
    ids = np.fromiter((int(row) for row in rows), np.int64)
    if not 1 <= len(ids) <= MOST_IMAGES:
        raise DataError(f"export: expected 1 to {MOST_IMAGES:,} rows, not {len(ids):,}: select fewer")
    return ids


def _choice(name: str) -> dict[str, Any]:
    return {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [name]}}


def _paths(run: Run) -> dict[int, str]:
    """The path of each row's file, where the predictions know it."""
    if PATH not in run.predictions.table.collect_schema():
        return {}
    frame = run.predictions.columns("index", PATH).drop_nulls(PATH)
    return dict(frame.iter_rows())


def _data_url(run: Run, row: int) -> str | None:
    """The picture as a data URL; None where the images are not on this machine."""
    return None if run.images is None else f"data:image/png;base64,{base64.b64encode(_png(run, row)).decode()}"


def _png(run: Run, row: int) -> bytes:
    if run.images is None:
        raise DataError("export: the images are not on this machine: open the run with data=")
    stream = io.BytesIO()
    Image.fromarray(run.images.image(row)).save(stream, "PNG")
    return stream.getvalue()
