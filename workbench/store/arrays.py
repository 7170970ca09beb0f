"""Predictions in NumPy's files: the arrays of an ``.npz``, or a pair of ``.npy``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import polars as pl

from workbench.core.labels import label_column
from workbench.core.names import names_in
from workbench.errors import DataError

ARRAYS = ("index", "label", "predicted", "probability", "logit", "embedding", "classes")
ALIASES: Mapping[str, tuple[str, ...]] = {
    "label": ("labels", "y_true", "y_test", "true_label", "true_labels", "target", "targets", "truth", "ground_truth"),
    "predicted": ("y_pred", "pred", "preds", "prediction", "predictions", "predicted_label", "pred_label"),
    "probability": ("probabilities", "prob", "probs", "proba", "y_prob", "y_proba", "pred_probs", "softmax"),
    "logit": ("logits",),
}
# what `numpy.load` raises for damaged files
DAMAGED = (ValueError, OSError, EOFError, BadZipFile, MemoryError, RuntimeError, NotImplementedError)


def read_npz(path: Path, names: Mapping[str, str]) -> tuple[pl.LazyFrame, tuple[str, ...] | None]:
    """The arrays of an ``.npz`` as a table, and the class names in its array ``classes``.

    Raises
    ------
    DataError
        If it is damaged, or an array that ``names`` asks for is not there.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except DAMAGED as error:
        raise DataError(f"{path} is damaged or of another format ({error})") from error
    if missing := sorted(set(names.values()) - set(found)):
        raise DataError(f"{path} has no array {missing[0]!r}; it has {', '.join(found)}")
    taken = {ours: found[theirs] for ours in ARRAYS if (theirs := _called(ours, names, found)) is not None}
    kept = taken.pop("classes", None)
    return _table(taken, path), None if kept is None else names_in(kept)


def read_npy(path: Path, names: Mapping[str, str]) -> pl.LazyFrame:
    """A matrix of probabilities in one ``.npy``, and the labels in another beside it.

    The labels are in the file that ``names["label"]`` says, else in the one that is called ``label.npy`` or by one of
    the usual names (`ALIASES`).

    Raises
    ------
    DataError
        If a file is damaged, or there is not exactly one of labels.
    """
    folder = path.parent
    given = names.get("label")
    usual = [folder / f"{name}.npy" for name in ("label", *ALIASES["label"])]
    found = [folder / given] if given else [one for one in usual if one.is_file() and one != path]
    if len(found) != 1 or not found[0].is_file():
        there = ", ".join(one.name for one in found) or "none"
        raise DataError(
            f"{path}: expected its labels in one file beside it, such as {folder / 'labels.npy'}, not {there}: name it "
            "as the column of labels (label=FILE.npy)"
        )
    try:
        arrays = {name: np.load(one, allow_pickle=False) for name, one in (("label", found[0]), ("probability", path))}
    except DAMAGED as error:
        raise DataError(f"{path} or {found[0].name} is damaged or of another format ({error})") from error
    if "logit" in path.stem.lower():
        arrays["logit"] = arrays.pop("probability")
    return _table(arrays, path)


def _called(ours: str, names: Mapping[str, str], arrays: Mapping[str, Any]) -> str | None:
    """What a file calls one of our arrays; None if it has none."""
    if ours in names:
        return names[ours]
    free = [name for name in (ours, *ALIASES.get(ours, ())) if name in arrays and name not in names.values()]
    return free[0] if free else None


def _table(arrays: Mapping[str, Any], path: Path) -> pl.LazyFrame:
    columns: dict[str, Any] = {}
    for name, values in arrays.items():
        if name in ("label", "predicted"):
            columns[name] = label_column(values, f"{path}: {name}")
        elif name == "index":
            columns[name] = values
        else:
            flat = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 and name != "embedding" else values
            columns[name] = np.ascontiguousarray(flat, np.float32)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: expected arrays of one length, not {lengths}")
    return pl.DataFrame(columns).lazy()
