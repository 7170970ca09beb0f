"""The directions in which features have most of their length."""

from __future__ import annotations

import numpy as np

from workbench.core.records import ProbabilityArray


def principal_directions(features: ProbabilityArray, width: int) -> ProbabilityArray:
    """The first ``width`` principal directions of features ``(N, D)`` about their origin, float32 ``(D, width)``.

    Products of features are kept as well as that many directions can (Eckart & Young 1936, doi 10.1007/BF02288367):
    the directions are those of the second moments, not about the mean, as products are what influence needs.
    """
    values = np.asarray(features, np.float32)
    moments = (values.T @ values).astype(np.float64)
    return np.linalg.eigh(moments)[1][:, ::-1][:, :width].astype(np.float32)
