"""Classes for which a promise of coverage does not hold."""

from __future__ import annotations

import numpy as np
from scipy import stats

from workbench.analysis.conformal import Sets, conformal_sets
from workbench.findings.known import Known
from workbench.findings.record import Finding, Found

PROMISE, LEAST = 0.95, 50


def find(known: Known) -> Found:
    """Classes whose labels conformal sets hold less often than promised for all classes together.

    Sets by `analysis.conformal.conformal_sets` with LAC and a promise of 95 %, calibrated on one half of the rows. For
    each class with at least 50 rows in the other half: the binomial test that its coverage is the overall one.
    What the promise costs in reviews stands in ``metrics.json`` under ``review``.
    """
    if not known.predictions.has_probabilities:
        return Found(missing=("review: give the model's probabilities",))
    if len(known.label) < 4 * LEAST:
        return Found()
    sets = conformal_sets(known.predictions, promise=PROMISE)
    label = known.label[sets.places]
    support = np.bincount(label, minlength=len(known.predictions.classes))
    hit = sets.member[np.arange(len(label)), label]
    tried = np.flatnonzero(support >= LEAST)
    candidates = []
    for k in tried:
        covered = int(hit[label == k].sum())
        p_value = float(stats.binomtest(covered, int(support[k]), sets.overall, "less").pvalue)
        if p_value <= 0.05:
            candidates.append(_finding(known, sets.overall, int(k), sets, p_value))
    return Found(candidates, len(tried))


def _finding(known: Known, overall: float, k: int, sets: Sets, p_value: float) -> Finding:
    name, coverage, value = known.predictions.classes[k], sets.coverage, sets.coverage.value[k]
    inside = known.label == k
    return Finding(
        "review",
        name,
        f"Sets of classes that promise to hold the label for {PROMISE:.0%} of all rows hold it for {value:.1%} of "
        f"{name}.",
        known.rows(inside),
        float(value - overall),
        float(coverage.low[k] - overall),
        float(coverage.high[k] - overall),
        "coverage of the class less that of all rows",
        f"coverage of all rows, {overall:.1%}",
        "binomial test on the half of the rows that the sets were not calibrated on",
        "calibrate the sets class by class (conformal_sets(..., by_class=True)), or send this class to a person",
        errors=int((inside & known.wrong).sum()),
        p_value=p_value,
        explains=False,
    )
