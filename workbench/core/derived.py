"""The columns that follow from labels and probabilities, as lazy expressions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

CORE = ("index", "label", "predicted", "probability", "embedding")
FEW = 64
_TINY = float(np.finfo(np.float32).smallest_subnormal)
_P = pl.col("probability")
# classes are in range, as checked; but for rows that a condition masks, Polars looks up a class that does not exist
_CONFIDENCE = _P.arr.get(pl.col("predicted"), null_on_oob=True)
_OF_LABEL = _P.arr.get(pl.col("label"), null_on_oob=True)
IS_CORRECT = pl.col("label") == pl.col("predicted")
KEPT = ("confidence", "label_probability", "margin", "entropy")
# of a table that has the columns of `KEPT`
DERIVED: Mapping[str, pl.Expr] = {
    "correct": IS_CORRECT,
    "confidence": pl.col("confidence"),
    "label_probability": pl.col("label_probability"),
    "margin": pl.col("margin"),
    "loss": -pl.max_horizontal("label_probability", pl.lit(_TINY, pl.Float32)).cast(pl.Float64).log(),
    "entropy": pl.col("entropy"),
}


def score_columns(classes: int) -> Mapping[str, pl.Expr]:
    """The columns of `KEPT` from labels and probabilities: computed once, as each reads a whole row."""
    # for a correct row the strongest other class is the second most probable, else it is the predicted class
    other = pl.when(IS_CORRECT).then(_P.arr.sort(descending=True).arr.get(1)).otherwise(_CONFIDENCE)
    if classes <= FEW:  # without sorting, three times as fast for ten classes and slower for hundreds
        other = pl.max_horizontal([pl.when(pl.col("label") != k).then(_P.arr.get(k)) for k in range(classes)])
    terms = pl.element().cast(pl.Float64) * pl.max_horizontal(pl.element(), _TINY).cast(pl.Float64).log()
    return {
        "confidence": _CONFIDENCE,
        "label_probability": _OF_LABEL,
        "margin": _OF_LABEL - other,
        "entropy": -_P.arr.to_list().list.eval(terms).list.sum(),
    }


def without_nan(table: pl.LazyFrame) -> pl.LazyFrame:
    """The table whose own numbers are missing where they are NaN, wherever rows are sorted and filtered."""
    kinds = table.collect_schema()
    own = [name for name, kind in kinds.items() if kind.is_float() and name not in CORE]
    return table.with_columns(pl.col(own).fill_nan(None)) if own else table
