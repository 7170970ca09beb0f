"""The index of errors: rows found by a query, in a stable order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from workbench.analysis.expressions import check_expression
from workbench.core.predictions import DERIVED, Predictions
from workbench.core.records import IntArray, Query
from workbench.errors import DataError, first_line

MATRICES = ("probability", "embedding", "votes")
NAMES = ("true_class", "predicted_class")
TAGS = "tags"
SAMPLE = 20


def select(predictions: Predictions, query: Query, *, first: int = 0, count: int | None = None) -> pl.DataFrame:
    """The rows that the query asks for, in its order; with ``count`` only that page of them, from ``first`` on.

    Columns: index, label, predicted, those of `DERIVED`, ``true_class`` and ``predicted_class`` (names), and
    the user's own columns except for matrices. ``query.where`` may use all of these and the
    functions of Polars' SQL, such as ``confidence > 0.9 AND true_class IN ('cat', 'dog')``.

    Raises
    ------
    DataError
        If the query names a class or column that does not exist, or its expression is not understood.
    """
    if count is None:
        return _collected(table_of(predictions, query, first=first), query)
    # only the column that orders is computed for every row, the other columns only for the page
    page = _collected(table_of(predictions, query, first=first, count=count).select("index"), query)["index"]
    rows = _named(predictions.scan().filter(pl.col("index").is_in(page.to_list())), predictions.classes)
    return page.to_frame().join(
        _collected(rows.select(pl.exclude(MATRICES)), query), on="index", how="left", maintain_order="left"
    )


def table_of(predictions: Predictions, query: Query, *, first: int = 0, count: int | None = None) -> pl.LazyFrame:
    """The same as `select`, lazily, for further Polars expressions."""
    found = _found(predictions, query)
    schema = found.collect_schema()
    if query.order not in schema or query.order in MATRICES:
        known = ", ".join(name for name in schema if name not in MATRICES)
        raise DataError(f"order: expected one of {known}, not {query.order!r}")
    keys = [query.order] if query.order == "index" else [query.order, "index"]
    descending = [query.descending] + [False] * (len(keys) - 1)
    page = found.sort(keys, descending=descending, nulls_last=True).slice(first, count)
    return page.select(pl.exclude(MATRICES))


def _named(table: pl.LazyFrame, classes: tuple[str, ...]) -> pl.LazyFrame:
    """The rows with the names of their classes; filters after it are slower than before it."""
    names = pl.lit(pl.Series(classes, dtype=pl.String))
    return table.with_columns(
        true_class=names.gather(pl.col("label")), predicted_class=names.gather(pl.col("predicted"))
    )


def _found(predictions: Predictions, query: Query) -> pl.LazyFrame:
    classes, table = predictions.classes, predictions.scan()
    for column, wanted in (("label", query.true), ("predicted", query.predicted)):
        if wanted is not None:
            if not 0 <= wanted < len(classes):
                raise DataError(f"{column}: expected a class from 0 to {len(classes) - 1}, not {wanted}")
            table = table.filter(pl.col(column) == wanted)
    if query.wrong_only:
        table = table.filter(~DERIVED["correct"])
    if query.where.strip() and not any(name in query.where for name in NAMES):
        return _named(_where(table, query.where), classes)
    named = _named(table, classes)
    return _where(named, query.where) if query.where.strip() else named


def _collected(table: pl.LazyFrame, query: Query) -> pl.DataFrame:
    try:
        return table.collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        if not query.where.strip():
            raise
        raise DataError(f"expression {query.where!r} is not understood ({first_line(error)})") from error


def _where(table: pl.LazyFrame, expression: str) -> pl.LazyFrame:
    known = ", ".join(table.collect_schema())
    check_expression(expression, list(table.collect_schema()))
    try:
        filtered = table.filter(pl.sql_expr(expression))
        filtered.collect_schema()
    except pl.exceptions.PolarsError as error:
        reason = first_line(error)
        raise DataError(f"expression {expression!r} is not understood ({reason}); the columns are {known}") from error
    return filtered


def error_index(predictions: Predictions) -> pl.DataFrame:
    """Every misclassified row, highest loss first; without probabilities in order of row ids."""
    order = Query(wrong_only=True)
    if not predictions.has_probabilities:
        order = Query(wrong_only=True, order="index", descending=False)
    return select(predictions, order)


def sample_errors(predictions: Predictions, count: int = SAMPLE, seed: int = 0) -> IntArray:
    """Row ids of ``count`` misclassified rows drawn without replacement, sorted: a fair sample, not the worst.

    Raises
    ------
    DataError
        If no row is misclassified.
    """
    wrong = predictions.index[~predictions.correct]
    if len(wrong) == 0:
        raise DataError("no row is misclassified: there is no error to show")
    return np.sort(np.random.default_rng(seed).choice(wrong, min(count, len(wrong)), replace=False))


def tag(predictions: Predictions, tags: Mapping[str, Iterable[int]]) -> Predictions:
    """The predictions with the user's own tags on some rows: ``{"blurred": [row ids], ...}``.

    The column ``tags`` (a list of words a row, in alphabetical order, empty for none) can be queried with
    ``array_contains(tags, 'blurred')`` and is stored in files. Existing tags are kept.

    Raises
    ------
    DataError
        If a row id is not in the predictions.
    """
    words = [word for word, rows in tags.items() for _ in rows]
    given = pl.DataFrame(
        {"index": [int(row) for rows in tags.values() for row in rows], TAGS: words},
        schema={"index": pl.Int64, TAGS: pl.String},
    )
    if strange := given.filter(~pl.col("index").is_in(predictions.index))["index"].to_list():
        raise DataError(f"tags: no row with the id {strange[0]} in the predictions")
    table = predictions.table
    if TAGS in table.collect_schema():
        older = table.select("index", TAGS).explode(TAGS).drop_nulls().collect()
        given, table = pl.concat([older, given]), table.drop(TAGS)
    lists = given.unique().group_by("index").agg(pl.col(TAGS).sort())
    every = pl.DataFrame({"index": predictions.index}).join(lists, on="index", how="left", maintain_order="left")
    filled = every.with_columns(pl.col(TAGS).fill_null(pl.lit([""]).list.head(0)))
    return predictions.of_same_rows(table).join(filled)


tagged = tag  # its name in version 0.1


def row_ids(frame: pl.DataFrame) -> IntArray:
    """The row ids of a selection, int64 ``(n,)``, in its order."""
    return frame["index"].to_numpy().astype("int64")
