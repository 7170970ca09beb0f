"""How much one column tells of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.core.records import IntArray


def entropy(*columns: NDArray[np.integer]) -> float:
    """Joint entropy of columns of whole numbers ``(N,)``, in nats, with the correction of Miller 1955 for few rows.

    The estimate from frequencies is too low by about ``(m - 1) / 2N`` for m values that occur, which is added.
    """
    joint = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, codes = np.unique(column, return_inverse=True)
        joint = joint * len(values) + codes
        joint = np.unique(joint, return_inverse=True)[1]
    share = np.bincount(joint) / len(joint)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum() + (len(share) - 1) / (2 * len(joint)))


def told(column: IntArray, by: IntArray, given: IntArray | None = None) -> float:
    """The share of a column's entropy that another column tells, 0 to 1, where ``given`` is known already.

    Theil's uncertainty coefficient (Theil 1970, doi 10.1086/224909), ``I(column; by | given) / H(column | given)``,
    all ``(N,)``. 0 for a column that ``given`` determines.
    """
    fixed = () if given is None else (given,)
    base = entropy(*fixed) if fixed else 0.0
    own = entropy(column, *fixed) - base
    if own <= 1e-9:
        return 0.0
    shared = own + entropy(by, *fixed) - entropy(column, by, *fixed)
    return float(np.clip(shared / own, 0.0, 1.0))
