"""What the views draw from: a run's table as columns of numbers, its matrix and its summaries, ready for a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.analysis.calibration import reliability
from workbench.analysis.classes import class_report
from workbench.analysis.compare import Comparison
from workbench.analysis.confusion import confusion_matrix, similarity_order
from workbench.analysis.robustness import Robustness
from workbench.core.predictions import DERIVED, Predictions
from workbench.core.records import ConfusionMatrix
from workbench.explorer.words import COHORT
from workbench.images import render

BROWSER_ROWS = 2_000_000
CATEGORIES = 250
Kind = Literal["class", "number", "flag", "category"]
TITLES: Mapping[str, str] = {
    "index": "row id",
    "label": "true class",
    "predicted": "predicted class",
    "correct": "correct or misclassified",
    "confidence": "confidence",
    "label_probability": "probability of the true class",
    "margin": "margin of the true class",
    "loss": "loss (nats)",
    "entropy": "entropy (nats)",
    "cause": "cause",
    "certainty": "certainty of the cause",
    "outcome": "outcome of the comparison",
    "nearest_similarity": "similarity to the nearest train image",
    "votes_entropy": "entropy of human labels (bits)",
    "votes_for_label": "share of human labels for the label",
    "soft_loss": "loss against human labels (nats)",
    "smallest_change": "smallest change that flips the answer (1: the strongest harmless one)",
    "smallest_change_kind": "kind of the smallest change that flips the answer",
    "harmless_flips": "harmless changes that flip the answer",
    "harmless_corrects": "harmless changes that correct the answer",
}


@dataclass(frozen=True)
class Column:
    """A column as numbers ``(N,)``: indices of classes and categories, 0 or 1 for flags, nan for missing numbers."""

    title: str
    kind: Kind
    values: NDArray[Any]
    categories: tuple[str, ...] = ()

    def header(self) -> dict[str, Any]:
        """Everything but the values, as JSON values; ``dtype`` is NumPy's name for their type, little-endian."""
        return {
            "title": self.title,
            "kind": self.kind,
            "dtype": self.values.dtype.str[1:],
            "categories": list(self.categories),
        }


def shown_rows(predictions: Predictions, limit: int = BROWSER_ROWS, seed: int = 0) -> pl.DataFrame | None:
    """Row ids of all errors and of a random sample of the correct rows, at most ``limit``; None if all rows fit."""
    if len(predictions) <= limit:
        return None
    wrong = np.flatnonzero(~predictions.correct)[:limit]
    right = np.flatnonzero(predictions.correct)
    drawn = np.random.default_rng(seed).choice(right, limit - len(wrong), replace=False)
    return pl.DataFrame({"index": predictions.index[np.sort(np.concatenate([wrong, drawn]))]})


def columns_of(predictions: Predictions, rows: pl.DataFrame | None = None) -> dict[str, Column]:
    """The columns that a browser can hold, for all rows or for those in ``rows``, in the order of row ids.

    `DERIVED` and the user's own numbers, flags, and texts with at most 250 distinct values; matrices and lists are
    omitted.
    """
    scan = predictions.scan()
    schema = scan.collect_schema()
    names = [name for name, kind in schema.items() if not kind.is_nested()]
    table = scan.select(names).sort("index")
    if rows is not None:
        table = table.join(rows.lazy(), on="index", how="semi")
    frame = table.collect(engine="streaming")
    found = {name: _column(frame[name], predictions.classes) for name in _ordered(names)}
    return {name: column for name, column in found.items() if column is not None}


def _ordered(names: Sequence[str]) -> list[str]:
    first = [name for name in ("index", "label", "predicted", *DERIVED) if name in names]
    return first + [name for name in names if name not in first]


def _column(series: pl.Series, classes: tuple[str, ...]) -> Column | None:
    name = series.name
    title = name if name.startswith(COHORT) else TITLES.get(name, name.replace("_", " "))
    if name in ("label", "predicted"):
        return Column(title, "class", series.to_numpy().astype(np.uint16), classes)
    if series.dtype == pl.Boolean:
        filled = series.fill_null(False).to_numpy().astype(np.uint8)
        return Column(title, "flag", filled, ("misclassified", "correct") if name == "correct" else ("no", "yes"))
    if series.dtype.is_numeric():
        kind = np.float32 if series.dtype == pl.Float32 else np.float64
        return Column(title, "number", series.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(kind))
    if series.dtype in (pl.String, pl.Categorical, pl.Enum):
        return category(title, series.cast(pl.String))
    return None


def category(title: str, words: pl.Series) -> Column | None:
    """A column of categories in alphabetical order, missing ones as ``none``; None if there are more than 250."""
    names = tuple(words.fill_null("none").unique().sort().to_list())
    if len(names) > CATEGORIES:
        return None
    numbers = words.fill_null("none").replace_strict(names, range(len(names)), return_dtype=pl.UInt8)
    return Column(title, "category", numbers.to_numpy(), names)


def header_of(name: str, predictions: Predictions, notes: Sequence[str] = ()) -> dict[str, Any]:
    """What the views show of the run as a whole, as JSON values.

    ``cells`` is a flat list: true class, predicted class and row count of each cell of the matrix that is not empty.
    """
    matrix = confusion_matrix(predictions)
    report, diagram = class_report(matrix), reliability(predictions)
    rates = report.error_rate
    return {
        "name": name,
        "notes": list(notes),
        "classes": list(predictions.classes),
        "rows": len(predictions),
        "errors": predictions.error_count,
        "cells": _cells(matrix),
        "order": similarity_order(matrix).tolist(),
        "class_report": [
            {"support": int(s), "errors": int(e), "rate": _number(v), "low": float(low), "high": float(high)}
            for s, e, v, low, high in zip(
                report.support, report.errors, rates.value, rates.low, rates.high, strict=True
            )
        ],
        "reliability": {
            "edges": diagram.edges.tolist(),
            "counts": diagram.counts.tolist(),
            **{
                name: [_number(v) for v in getattr(diagram, name)] for name in ("confidence", "accuracy", "low", "high")
            },
            "error": [diagram.error.value, diagram.error.low, diagram.error.high],
            "direction": diagram.direction,
        },
        "ramps": {str(signed).lower(): _ramp(signed) for signed in (False, True)},
        "palette": list(render.PALETTE),
        "provenance": predictions.provenance.to_json(),
    }


def robustness_header(measured: Robustness) -> dict[str, Any]:
    """What the views show of changed images, as JSON values.

    ``curves`` has for each of ``groups``, all images first, and each corruption accuracy, lower and upper bound at
    strengths 1 to 5, ``clean`` the same of the images as they are.
    """
    sentences = [line for lines in measured.values.get("sentences", {}).values() for line in lines]
    found: dict[str, Any] = {"sentences": sentences, "names": [], "groups": []}
    if measured.curves is None:
        return found
    ordered = measured.curves.sort("strength", maintain_order=True)
    names = [name for name in measured.curves["corruption"].unique(maintain_order=True) if name != "none"]
    clean, curves = [], []
    for (_, group), frame in ordered.group_by("kind", "group", maintain_order=True):
        points = {
            str(name): part.select("accuracy", "low", "high").rows()
            for (name,), part in frame.group_by("corruption", maintain_order=True)
        }
        clean.append(points.pop("none")[0])
        curves.append(points)
        found["groups"].append({"name": group, "rows": int(frame["rows"].max() or 0)})  # type: ignore[arg-type]
    return {**found, "names": names, "clean": clean, "curves": curves}


def comparison_header(name: str, comparison: Comparison, after: Predictions) -> dict[str, Any]:
    """What the views show of a comparison with a second run, as JSON values; ``after``: its predictions."""
    counts = ("rows", "both_right", "fixed", "broken", "both_wrong", "both_wrong_alike", "churn", "difference")
    found = {key: getattr(comparison, key) for key in counts}
    classes = comparison.classes.with_columns(pl.col(pl.Float64).fill_nan(None)).to_dicts()
    return {
        "name": name,
        **found,
        "low": comparison.low,
        "high": comparison.high,
        "p_value": comparison.test.p_value,
        "classes": classes,
        "cells": _cells(confusion_matrix(after)),
    }


def _cells(matrix: ConfusionMatrix) -> list[int]:
    true, predicted = np.nonzero(matrix.counts)
    found = np.stack([true, predicted, matrix.counts[true, predicted]], axis=1)
    return [int(value) for value in found.ravel()]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _ramp(signed: bool) -> list[int]:
    return np.rint(render.colour_ramp(signed) * 255).astype(int).ravel().tolist()
