"""Errors as they would fall if no two classes were confused in particular."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.core.records import FloatArray, IntArray

ROUNDS, CLOSE = 500, 1e-9


def expected_errors(errors: IntArray, left_out: NDArray[np.bool_] | None = None) -> FloatArray:
    """The counts off the diagonal that quasi-independence gives, float64 ``(K, K)``, of those seen ``(K, K)``.

    A cell is the product of a factor of its row and one of its column, the diagonal being 0, and each class keeps its
    number of errors (row sum) and of wrong answers (column sum) (Goodman 1968, doi 10.1080/01621459.1968.10480916).
    Cells ``left_out`` ``(K, K)`` do not count in these sums; what is expected of them follows from the others. Fitted
    by iterative proportional fitting (Deming & Stephan 1940, doi 10.1214/aoms/1177731829).
    """
    off = ~np.eye(len(errors), dtype=bool)
    open_ = off if left_out is None else off & ~left_out
    seen = np.where(open_, errors, 0).astype(np.float64)
    rows, columns = seen.sum(1), seen.sum(0)
    row, column = rows.copy(), np.ones(len(errors))
    for _ in range(ROUNDS):
        before = row
        row = _factor(rows, open_ @ column)
        column = _factor(columns, open_.T @ row)
        if np.abs(row - before).max(initial=0) <= CLOSE * max(1e-12, float(np.abs(row).max(initial=0))):
            break
    return np.where(off, row[:, None] * column[None, :], 0.0)


def _factor(wanted: FloatArray, sums: FloatArray) -> FloatArray:
    return np.asarray(np.divide(wanted, sums, out=np.zeros_like(wanted), where=sums > 0))
