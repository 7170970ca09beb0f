"""What a table of predictions must hold; checked once, when it is opened."""

from __future__ import annotations

import numpy as np
import polars as pl

from workbench.core.derived import KEPT, score_columns
from workbench.errors import DataError

TOLERANCE = 1e-3
_PROBABILITY = pl.col("probability")


def check_schema(table: pl.LazyFrame, classes: int) -> None:
    """Raise `DataError` unless the columns are there with the types of `Predictions`."""
    schema = table.collect_schema()
    if classes < 2:
        raise DataError(f"classes: expected at least 2, not {classes}")
    if "embedding" in schema and not isinstance(schema["embedding"], pl.Array):
        raise DataError(f"embedding: expected arrays of float32, not {schema['embedding']}")
    for name in ("index", "label", "predicted"):
        if schema.get(name) != pl.Int64:
            raise DataError(f"{name}: expected a column of int64, not {schema.get(name, 'none')}")
    if "probability" in schema and schema["probability"] != pl.Array(pl.Float32, classes):
        raise DataError(
            f"probability: expected arrays of {classes} float32, not {schema['probability']}: "
            "name as many classes as the model has"
        )


def check_ids(table: pl.LazyFrame, classes: int) -> None:
    """Raise `DataError` unless row ids are unique and classes in range."""
    numbers = ("index", "label", "predicted")
    bounds = table.select(
        pl.len().alias("rows"),
        *(pl.col(n).null_count().alias(f"{n} missing") for n in numbers),
        *(pl.col(n).min().alias(f"{n} low") for n in numbers),
        *(pl.col(n).max().alias(f"{n} high") for n in numbers),
    )
    found = bounds.collect(engine="streaming").row(0, named=True)
    if found["rows"] == 0:
        raise DataError("predictions hold no row: expected at least one")
    for name in numbers:
        if found[f"{name} missing"]:
            raise DataError(f"{name}: {found[f'{name} missing']:,} rows have none; fill or drop them")
    for name in ("label", "predicted"):
        if not 0 <= found[f"{name} low"] <= found[f"{name} high"] < classes:
            raise DataError(
                f"{name}: expected 0 to {classes - 1}, not {found[f'{name} low']} to {found[f'{name} high']}"
            )
    ids = table.select("index").collect(engine="streaming")["index"].to_numpy()
    if not (np.diff(ids) > 0).all() and len(np.unique(ids)) != len(ids):
        raise DataError("index: expected unique row ids, but some occur twice: renumber or drop those rows")


def scores_of(table: pl.LazyFrame, classes: int, threshold: float | None = None) -> pl.DataFrame:
    """The columns `derived.KEPT` of every row, from the one pass that checks the probabilities.

    With a ``threshold`` the second of two classes must be predicted from this probability on.

    Raises
    ------
    DataError
        Unless probabilities are finite, sum to 1 and are largest for the predicted class.
    """
    total = _PROBABILITY.arr.sum()
    beaten = _PROBABILITY.arr.max() > _PROBABILITY.arr.get(pl.col("predicted"), null_on_oob=True)
    if threshold is not None:
        beaten = (_PROBABILITY.arr.get(1) >= threshold) != (pl.col("predicted") == 1)
    rows = table.select(
        **score_columns(classes),
        missing=_PROBABILITY.is_null() | (_PROBABILITY.arr.count_matches(None) > 0),
        total=total,
        lowest=_PROBABILITY.arr.min(),
        beaten=beaten,
    ).collect(engine="streaming")
    found = rows.select(
        pl.col("missing", "beaten").sum(),
        finite=pl.col("total").is_finite().all(),
        lowest=pl.col("lowest").min(),
        worst=(pl.col("total").cast(pl.Float64) - 1).abs().max(),
    ).row(0, named=True)
    if found["missing"] or not found["finite"] or found["lowest"] is None or found["lowest"] < 0:
        raise DataError(
            "probability: expected finite values from 0 to 1, but some are missing, negative or not finite: "
            "if these are logits, name the column `logit`; otherwise predict again"
        )
    if found["worst"] > TOLERANCE:
        raise DataError(
            f"probability: expected rows that sum to 1, but one is off by {found['worst']:.3g}, more than rounding "
            "explains: if these are logits, name the column `logit`; if a row may have several classes, this analysis "
            "does not fit"
        )
    if found["beaten"]:
        raise DataError(
            f"predicted: expected the most probable class, but {found['beaten']:,} rows have another: omit the column, "
            "and it is computed; if two classes are decided by a threshold, name the threshold"
        )
    return rows.select(KEPT)
