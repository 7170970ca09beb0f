"""Corruptions of the image under which accuracy falls most."""

from __future__ import annotations

import numpy as np
import polars as pl

from workbench.analysis.compare import newcombe_paired
from workbench.analysis.statistics import sign_test
from workbench.core.records import IntArray
from workbench.findings.known import Known
from workbench.findings.record import Finding, Found

MILDEST, LEAST_DROP, NAMED = 1, 0.02, 3
MISSING = "corrupted: accuracy under corruptions (python -m workbench robustness --out DIR, then --robustness DIR)"


def find(known: Known) -> Found:
    """Corruptions whose mildest strength already costs accuracy.

    Each of the corruptions at strength 1 of 5 is compared with the same rows as they are: exact McNemar test, interval
    of Newcombe for paired proportions. Those that may cost 2 points or more are reported together, by the largest.
    It is about images that these data need not hold, so that none of the errors is explained by it.
    """
    curves = None if known.robustness is None else known.robustness.curves
    if curves is None:
        return Found(missing=(MISSING,))
    mild = curves.filter(pl.col("kind") == "all", pl.col("strength") == MILDEST)
    drops = sorted((_drop(row) for row in mild.iter_rows(named=True)), reverse=True)
    worse = [drop for drop in drops if drop[1] > 0 and drop[0] >= LEAST_DROP]
    if not worse:
        return Found(tests=len(drops))
    words = [
        f"{name} {100 * value:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
        for value, low, high, _, name in worse[:NAMED]
    ]
    value, low, high, _, name = worse[0]
    more = f" and {len(worse) - NAMED} others less" if len(worse) > NAMED else ""
    rows = _rows(known)
    return Found(
        [
            Finding(
                "corrupted",
                name,
                f"At the mildest of five strengths of corruption accuracy falls: under {', '.join(words)}{more}.",
                rows,
                value,
                low,
                high,
                "accuracy on images as they are less accuracy under the corruption",
                "the same images as they are",
                "an intervention: images corrupted as for CIFAR-10-C and predicted again; exact McNemar test",
                f"if images like these occur where it is used: train with {name} as augmentation, and collect some",
                errors=int(known.wrong[np.isin(known.predictions.index, rows)].sum()),
                p_value=worse[0][3],
                needed=("robustness",),
                explains=False,
            )
        ],
        len(drops),
    )


def _drop(row: dict[str, int | str]) -> tuple[float, float, float, float, str]:
    """The fall of accuracy with its interval, the p-value, and the corruption's name."""
    rows, correct, fixed, broken = (int(row[name]) for name in ("rows", "correct", "fixed", "broken"))
    low, high = newcombe_paired(correct - fixed, broken, fixed, rows - correct - broken)
    return (broken - fixed) / rows, low, high, sign_test(fixed, broken), str(row["corruption"])


def _rows(known: Known) -> IntArray:
    """Row ids of the images that were corrupted, of those that are judged."""
    measured = [] if known.robustness is None else known.robustness.values["rows"]
    return known.predictions.index[np.isin(known.predictions.index, measured)]
