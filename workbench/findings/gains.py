"""What one set of answers gains over another on the same rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.compare import newcombe_paired


def paired_gain(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[float, float, float]:
    """The difference of two accuracies on the same rows ``(N,)``, with its 95 % interval (Newcombe 1998, paired)."""
    both, fixed = int((before & after).sum()), int((after & ~before).sum())
    broken, neither = int((before & ~after).sum()), int((~before & ~after).sum())
    return (fixed - broken) / len(before), *newcombe_paired(both, fixed, broken, neither)
