"""The index of errors: rows found by a query, in a stable order."""

from __future__ import annotations

import polars as pl

from workbench.errors import DataError
from workbench.records import ORDERS, IntArray, Predictions, Query


def select(predictions: Predictions, query: Query) -> pl.DataFrame:
    """The rows of `Predictions.frame` that the query asks for, with class names, in its order.

    Raises
    ------
    DataError
        If the query names an order or a class that does not exist.
    """
    if query.order not in ORDERS:
        raise DataError(f"order: expected one of {', '.join(ORDERS)}, not {query.order!r}")
    classes = len(predictions.classes)
    frame = predictions.frame().lazy()
    for column, wanted in (("label", query.true), ("predicted", query.predicted)):
        if wanted is not None:
            if not 0 <= wanted < classes:
                raise DataError(f"{column}: expected a class from 0 to {classes - 1}, not {wanted}")
            frame = frame.filter(pl.col(column) == wanted)
    if query.wrong_only:
        frame = frame.filter(~pl.col("correct"))
    names = pl.Series(predictions.classes, dtype=pl.String)
    return (
        frame.sort("index")
        .sort(query.order, descending=query.descending, maintain_order=True)
        .with_columns(
            true_class=pl.lit(names).gather(pl.col("label")),
            predicted_class=pl.lit(names).gather(pl.col("predicted")),
        )
        .collect()
    )


def error_index(predictions: Predictions) -> pl.DataFrame:
    """Every misclassified row, highest loss first."""
    return select(predictions, Query(wrong_only=True))


def row_ids(frame: pl.DataFrame) -> IntArray:
    """The row ids of a selection, int64 ``(n,)``, in its order."""
    return frame["index"].to_numpy().astype("int64")
