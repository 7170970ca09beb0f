"""How often groups of rows are misclassified, against all other rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from workbench.analysis.statistics import newcombe, wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import IntArray

SCHEMA = {
    "cohort": pl.String,
    "rows": pl.Int64,
    "errors": pl.Int64,
    **dict.fromkeys(("error_rate", "low", "high", "rest_rate"), pl.Float64),
    **dict.fromkeys(("difference", "difference_low", "difference_high"), pl.Float64),
}


def cohort_rates(predictions: Predictions, cohorts: Mapping[str, IntArray]) -> pl.DataFrame:
    """The error rate of each group of row ids, and how far it is from that of all other rows.

    Parameters
    ----------
    predictions : Predictions
    cohorts : mapping of name to int64 array (n,)
        Row ids; those that the predictions lack are not counted.

    Returns
    -------
    polars.DataFrame
        A row for each: cohort, rows, errors, error_rate with Wilson's 95 % interval, rest_rate (of all other rows), and
        difference (error_rate less rest_rate) with Newcombe's 95 % interval (`statistics.newcombe`). A rate of no rows
        is null. The difference describes: a cohort that was chosen because it holds errors has more of them.
    """
    index, wrong = predictions.index, ~predictions.correct
    lines = []
    for name, ids in cohorts.items():
        inside = np.isin(index, ids)
        rows, errors = int(inside.sum()), int((inside & wrong).sum())
        others, rest = len(index) - rows, int((~inside & wrong).sum())
        low, high = wilson_interval(errors, rows)
        rate = errors / rows if rows else None
        rest_rate = rest / others if others else None
        between = (None, None, None) if rate is None or rest_rate is None else newcombe(errors, rows, rest, others)
        lines.append((name, rows, errors, rate, float(low), float(high), rest_rate, *between))
    return pl.DataFrame(lines, schema=SCHEMA, orient="row")
