"""A person's decisions on train rows: to drop, relabel, or weight them in the loss."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.dataset import DataSet
from training.errors import TrainingError

FORMAT = 1


@dataclass(frozen=True)
class Fixes:
    """The train split with a person's decisions applied.

    ``train`` has the corrected labels; ``kept`` bool ``(N,)`` is False for rows omitted from training and
    validation; ``weights`` float32 ``(N,)`` multiply the rows' losses; ``relabelled`` counts rows; ``digest`` is the
    SHA-256 of the file.
    """

    train: DataSet
    kept: NDArray[np.bool_]
    weights: NDArray[np.float32]
    relabelled: int
    digest: str

    def summary(self) -> dict[str, Any]:
        """What was fixed, for the checkpoint's sidecar."""
        return {
            "sha256": self.digest,
            "dropped": int((~self.kept).sum()),
            "relabelled": self.relabelled,
            "weighted": int((self.weights != 1).sum()),
        }


def read_fixes(path: Path, train: DataSet) -> Fixes:
    """The fixes in a JSON file for this train split.

    The file has ``format`` 1, ``data`` (the fingerprint), ``split`` "train" and ``rows``, each with an ``index``
    and an ``action``: ``drop``; ``relabel`` with a class name ``label``; or ``weight`` with a ``weight`` above 0 and at
    most 10.

    Raises
    ------
    TrainingError
        If the file is missing, damaged, of another format or for other data, or a row is out of range, listed twice
        or has an invalid action.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError("no regular file")
        text = path.read_bytes()
        values = json.loads(text)
        bound = (values["format"], values["data"], values["split"])
        rows = [(int(row["index"]), str(row["action"]), row) for row in values["rows"]]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise TrainingError(f"{path} is missing or not a fixes file ({error}): export it from the explorer") from error
    if bound[0] != FORMAT or bound[2] != "train":
        raise TrainingError(f"{path}: expected format {FORMAT} and the split train, not {bound[0]!r} and {bound[2]!r}")
    if bound[1] != train.fingerprint:
        raise TrainingError(f"{path} belongs to other data: point --data at the data that it was exported for")
    labels, kept = train.labels.copy(), np.ones(len(train), bool)
    weights = np.ones(len(train), np.float32)
    seen: set[int] = set()
    for index, action, row in rows:
        if not 0 <= index < len(train) or index in seen:
            raise TrainingError(f"{path}: row {index}: expected each row from 0 to {len(train) - 1} at most once")
        seen.add(index)
        if action == "drop":
            kept[index] = False
        elif action == "relabel" and row.get("label") in train.classes:
            labels[index] = train.classes.index(row["label"])
        elif action == "weight" and isinstance(row.get("weight"), int | float) and 0 < row["weight"] <= 10:
            weights[index] = row["weight"]
        else:
            raise TrainingError(
                f"{path}: row {index}: expected drop, relabel with one of the classes, or weight above 0 and at most "
                f"10, not { ({k: v for k, v in row.items() if k != 'index'}) }"
            )
    if not kept.any():
        raise TrainingError(f"{path} drops every row, so that none is left to train on: keep some")
    relabelled = int((labels != train.labels).sum())
    return Fixes(replace(train, labels=labels), kept, weights, relabelled, hashlib.sha256(text).hexdigest())
