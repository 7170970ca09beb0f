"""Corruptions of the image under which accuracy falls most."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy

from workbench.analysis.compare import newcombe_paired
from workbench.analysis.statistics import sign_test
from workbench.core.records import IntArray
from workbench.findings.known import Known
from workbench.findings.record import Finding, Found

MILDEST, LEAST_DROP, LEVEL, NAMED = 1, 0.02, 0.05, 3
MISSING = "corrupted: accuracy under corruptions (python -m workbench robustness --out DIR, then --robustness DIR)"


def find(known: Known) -> Found:
    """Corruptions whose mildest strength already costs accuracy.

    Each of the corruptions at strength 1 of 5 is compared with the same rows as they are: exact McNemar test, interval
    of Newcombe for paired proportions. Those that cost 2 points or more are reported together, the largest first, if
    their p-values hold when multiplied by the number of corruptions (Bonferroni); the intervals are as wide, so that
    all of them hold together at 95 %. It is about images that these data need not hold, so that none of the errors is
    explained by it.
    """
    curves = None if known.robustness is None else known.robustness.curves
    if curves is None:
        return Found(missing=(MISSING,))
    mild = curves.filter(pl.col("kind") == "all", pl.col("strength") == MILDEST)
    tests = len(mild)
    drops = sorted((_drop(row, tests) for row in mild.iter_rows(named=True)), reverse=True)
    worse = [drop for drop in drops if drop[0] >= LEAST_DROP and drop[3] * tests <= LEVEL]
    if not worse:
        return Found(tests=tests)
    words = [
        f"{name} {100 * value:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
        for value, low, high, _, name in worse[:NAMED]
    ]
    value, low, high, p_value, name = worse[0]
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
                f"accuracy on images as they are less accuracy under the corruption, largest of {tests}",
                "the same images as they are",
                "an intervention: images corrupted as for CIFAR-10-C and predicted again; exact McNemar test; interval "
                f"for {tests} comparisons together",
                f"if images like these occur where it is used: collect some, and measure whether training with {name} "
                "helps",
                errors=int(known.wrong[np.isin(known.predictions.index, rows)].sum()),
                p_value=p_value,
                needed=("robustness",),
                explains=False,
            )
        ],
        tests,
    )


def _drop(row: dict[str, int | str], tests: int) -> tuple[float, float, float, float, str]:
    """The fall of accuracy with its interval, the p-value, and the corruption's name."""
    rows, correct, fixed, broken = (int(row[name]) for name in ("rows", "correct", "fixed", "broken"))
    z = float(scipy.stats.norm.ppf(1 - LEVEL / (2 * tests)))
    low, high = newcombe_paired(correct - fixed, broken, fixed, rows - correct - broken, z)
    return (broken - fixed) / rows, low, high, sign_test(fixed, broken), str(row["corruption"])


def _rows(known: Known) -> IntArray:
    """Row ids of the images that were corrupted, of those that are judged."""
    measured = [] if known.robustness is None else known.robustness.values["corruptions"]["rows"]
    return known.predictions.index[np.isin(known.predictions.index, measured)]
