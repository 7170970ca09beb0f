"""Rows of predictions by their ids."""

from __future__ import annotations

import numpy as np

from workbench.core.predictions import Predictions
from workbench.core.records import IntArray
from workbench.errors import DataError


def positions(predictions: Predictions, index: IntArray) -> IntArray:
    """Positions of row ids, int64 ``(n,)``.

    Raises
    ------
    DataError
        If a row is absent.
    """
    wanted = np.asarray(index, np.int64)
    order = np.argsort(predictions.index, kind="stable")
    places = np.searchsorted(predictions.index, wanted, sorter=order)
    found = order[np.minimum(places, len(order) - 1)]
    absent = wanted[predictions.index[found] != wanted]
    if len(absent):
        raise DataError(f"expected rows of the predictions; {len(absent)} are not among them, such as {absent[0]}")
    return np.asarray(found, np.int64)


def aligned(other: Predictions, index: IntArray) -> Predictions:
    """Another model's predictions of the rows ``index`` ``(n,)``, in that order.

    Raises
    ------
    DataError
        If a row is absent.
    """
    return Predictions(other.take(positions(other, index)).lazy(), other.classes, other.provenance)
