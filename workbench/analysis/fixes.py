"""Decisions on train rows, as the explorer exports them, as labels and weights of the train rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray
from workbench.core.rows import positions
from workbench.errors import DataError

FORMAT = 1  # of what `python -m training.run --fixes` reads


def check_trainable(rows: Predictions) -> None:
    """Raise `DataError` unless these are rows that training reads: of a known train split, read as it reads images."""
    of = rows.provenance
    if of.split != "train" or of.data is None:
        raise DataError(
            f"fixes: expected rows of the train split, not of the split {of.split!r}: predict the train split with "
            "`python -m workbench predict --split train`, and decide there"
        )
    if of.reading is not None:
        raise DataError(
            f"fixes: training reads images in the default way, and these were read with {of.reading}: predict the "
            "train split without these options"
        )


def fixes_of_labels(train: Predictions, label: IntArray, weight: FloatArray) -> dict[str, Any]:
    """The file of fixes that gives train rows other labels or weights ``(N,)``, the reverse of `labels_and_weights`.

    Raises
    ------
    DataError
        If it is not known which data the rows are of, their images were read in a way in which training does not read
        them, nothing changes, or a row is both relabelled and weighted.
    """
    check_trainable(train)
    changed, weighted = label != train.label, weight != 1
    if not (changed | weighted).any() or bool((changed & weighted & (weight > 0)).any()):
        raise DataError("expected rows to relabel, to weight or to drop, each one of them")
    rows: list[dict[str, Any]] = []
    for place in np.flatnonzero(changed | weighted):
        row = {"index": int(train.index[place])}
        if weight[place] == 0:
            rows.append({**row, "action": "drop"})
        elif changed[place]:
            rows.append({**row, "action": "relabel", "label": train.classes[label[place]]})
        else:
            rows.append({**row, "action": "weight", "weight": float(weight[place])})
    return {"format": FORMAT, "data": train.provenance.data, "split": "train", "rows": rows}


def labels_and_weights(values: Mapping[str, Any], train: Predictions) -> tuple[IntArray, FloatArray]:
    """Labels and weights ``(N,)`` of train rows after fixes, as the explorer exports them (`training.fixes`).

    Raises
    ------
    DataError
        If it is not such a file, or names rows, classes or actions that do not exist.
    """
    label, weight = train.label.copy(), np.ones(len(train))
    try:
        rows = [(int(row["index"]), str(row["action"]), row) for row in values["rows"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"fixes: not a fixes file ({error}): export it from the explorer") from error
    of = train.provenance
    if values.get("format") != FORMAT or len({index for index, *_ in rows}) < len(rows):
        raise DataError("fixes: expected format 1 and each row at most once: export them from the explorer again")
    if values.get("split") != "train" or (of.data is not None and values.get("data") != of.data):
        raise DataError("fixes: they belong to other data than the train predictions: export them for these")
    for place, (_, action, row) in zip(positions(train, np.array([row[0] for row in rows])), rows, strict=True):
        if action == "drop":
            weight[place] = 0
        elif action == "relabel" and row.get("label") in train.classes:
            label[place] = train.classes.index(row["label"])
        elif action == "weight" and isinstance(row.get("weight"), int | float) and 0 < row["weight"] <= 10:
            weight[place] = row["weight"]
        else:
            raise DataError(f"fixes: row {row['index']}: expected drop, relabel with a class, or weight of 0 to 10")
    return label, weight
