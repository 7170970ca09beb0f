"""The columns that follow from labels and probabilities, as lazy expressions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

FEW = 64
_TINY = float(np.finfo(np.float32).smallest_subnormal)
_P = pl.col("probability")
# classes are in range, as checked; but for rows that a condition masks, Polars looks up a class that does not exist
_CONFIDENCE = _P.arr.get(pl.col("predicted"), null_on_oob=True)
_OF_LABEL = _P.arr.get(pl.col("label"), null_on_oob=True)
IS_CORRECT = pl.col("label") == pl.col("predicted")
DERIVED: Mapping[str, pl.Expr] = {
    "correct": IS_CORRECT,
    "confidence": _CONFIDENCE,
    "label_probability": _OF_LABEL,
    # for a correct row the strongest other class is the second most probable, else it is the predicted class
    "margin": _OF_LABEL - pl.when(IS_CORRECT).then(_P.arr.sort(descending=True).arr.get(1)).otherwise(_CONFIDENCE),
    "loss": -pl.max_horizontal(_OF_LABEL, pl.lit(_TINY, pl.Float32)).cast(pl.Float64).log(),
    "entropy": -_P.arr.to_list()
    .list.eval(pl.element().cast(pl.Float64) * pl.max_horizontal(pl.element(), _TINY).cast(pl.Float64).log())
    .list.sum(),
}


def margin_of_few(classes: int) -> pl.Expr:
    """The margin without sorting a row's probabilities: three times as fast for ten classes, slower for hundreds."""
    others = [pl.when(pl.col("label") != k).then(_P.arr.get(k)) for k in range(classes)]
    return _OF_LABEL - pl.max_horizontal(others)
