"""Predictions with their embeddings in a few directions, 8 bits each: small enough to go with a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.core.directions import principal_directions
from workbench.core.files import write_atomically
from workbench.core.predictions import Predictions
from workbench.core.records import Provenance
from workbench.errors import DataError
from workbench.store.arrays import DAMAGED

WIDTH = 64
_STEPS = 127  # either side of 0
_ARRAYS = ("index", "label", "probability", "codes", "scale", "directions", "about")


def write_reduced(predictions: Predictions, path: Path, width: int = WIDTH) -> None:
    """Keep predictions, with their embeddings in ``width`` principal directions, in an ``.npz``.

    A coordinate is rounded to one of 255 steps of its direction's range; probabilities are float16. What `store.read`
    makes of the file has embeddings of the former width, of which the other directions are 0.

    Raises
    ------
    DataError
        If there are no embeddings or probabilities, or fewer columns than ``width``.
    OutputError
        If the file can't be written.
    """
    if predictions.embedding is None or not predictions.has_probabilities:
        raise DataError("reduced predictions: expected embeddings and probabilities")
    if not 1 <= width <= predictions.embedding.shape[1]:
        raise DataError(f"width: expected 1 to {predictions.embedding.shape[1]} directions, not {width}")
    directions = principal_directions(predictions.embedding, width)
    along = predictions.embedding @ directions
    scale = np.maximum(np.abs(along).max(0) / _STEPS, np.finfo(np.float32).tiny)
    about = {"classes": list(predictions.classes), "provenance": predictions.provenance.to_json()}
    arrays: dict[str, NDArray[np.generic]] = {
        "index": predictions.index,
        "label": predictions.label,
        "probability": predictions.probability.astype(np.float16),
        "codes": np.rint(along / scale).astype(np.int8),
        "scale": scale.astype(np.float32),
        "directions": directions.astype(np.float16),
        "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
    }

    def save(file: Path) -> None:
        with file.open("wb") as opened:
            np.savez_compressed(opened, **arrays)  # type: ignore[arg-type]

    write_atomically(path, save)


def is_reduced(path: Path) -> bool:
    """Whether an ``.npz`` is one that `write_reduced` wrote."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return set(_ARRAYS) <= set(arrays.files)
    except DAMAGED:
        return False  # reading it as another's says what is wrong


def read_reduced(path: Path) -> Predictions:
    """The predictions in a file of `write_reduced`.

    Raises
    ------
    DataError
        If it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in _ARRAYS}
        about = json.loads(found["about"].tobytes())
        directions = found["directions"].astype(np.float32)
        features = (found["codes"] * found["scale"]) @ directions.T
        probability = found["probability"].astype(np.float32)
        return Predictions.from_arrays(
            found["label"],
            probability / probability.sum(1, keepdims=True),
            about["classes"],
            index=found["index"],
            embedding=features,
            provenance=Provenance.from_json(about["provenance"]),
        )
    except (*DAMAGED, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}): write it again") from error
