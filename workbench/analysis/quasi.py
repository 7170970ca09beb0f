"""Errors as they would fall if no two classes were confused in particular."""

from __future__ import annotations

import numpy as np

from workbench.core.records import FloatArray, IntArray

ROUNDS, CLOSE = 500, 1e-8


def expected_errors(errors: IntArray) -> FloatArray:
    """The counts off the diagonal that quasi-independence gives, float64 ``(K, K)``, of those seen ``(K, K)``.

    Each class keeps its number of errors (row sum) and of wrong answers (column sum), and a cell is the product of
    a factor of its row and one of its column, the diagonal being 0 (Goodman 1968, doi 10.1080/01621459.1968.10480916).
    Fitted by iterative proportional fitting (Deming & Stephan 1940, doi 10.1214/aoms/1177731829).
    """
    wanted = errors.astype(np.float64)
    rows, columns = wanted.sum(1), wanted.sum(0)
    fitted: FloatArray = 1.0 - np.eye(len(wanted))
    fitted *= (rows > 0)[:, None] & (columns > 0)
    for _ in range(ROUNDS):
        sums = fitted.sum(1)
        fitted *= np.divide(rows, sums, out=np.zeros_like(rows), where=sums > 0)[:, None]
        sums = fitted.sum(0)
        fitted *= np.divide(columns, sums, out=np.zeros_like(columns), where=sums > 0)
        if np.abs(fitted.sum(1) - rows).max(initial=0) <= CLOSE * max(1.0, rows.sum()):
            break
    return fitted
