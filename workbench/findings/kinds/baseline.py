"""Whether the model is better than nothing."""

from __future__ import annotations

import numpy as np
from scipy import stats

from workbench.analysis.compare import newcombe_paired
from workbench.analysis.statistics import wilson_interval
from workbench.findings.known import Known
from workbench.findings.record import Finding, Found

NEVER = 0.25  # upper bound of the recall of classes that are never predicted, from which that is worth a sentence


def find(known: Known) -> Found:
    """No better than always answering the most frequent class, and classes that are never predicted.

    The first compares the model with that constant answer row by row: the exact McNemar test in one direction. It is
    a finding where the model is not shown to be better at 5 %: for few rows that is no proof of the contrary, and
    the interval says how much better it may be. The second is a count: classes without a single prediction whose
    recall, by Wilson's interval, is at most 25 %.
    """
    return Found([*_no_better(known), *_never_predicted(known)])


def _no_better(known: Known) -> list[Finding]:
    classes = known.predictions.classes
    support = np.bincount(known.label, minlength=len(classes))
    most = int(support.argmax())
    constant, correct = known.label == most, ~known.wrong
    model_only, constant_only = int((correct & ~constant).sum()), int((constant & ~correct).sum())
    together = model_only + constant_only
    p_value = float(stats.binomtest(model_only, together, 0.5, "greater").pvalue) if together else 1.0
    if p_value <= 0.05 or not known.wrong.any():
        return []
    both, neither = int((correct & constant).sum()), int((known.wrong & ~constant).sum())
    low, high = newcombe_paired(both, model_only, constant_only, neither)
    accuracy, base = float(correct.mean()), float(constant.mean())
    answers = len(np.unique(known.predictions.predicted))
    collapsed = f"; it answers {answers} of {len(classes)} classes" if answers < len(classes) else ""
    return [
        Finding(
            "baseline",
            f"always answering {classes[most]}",
            f"No better than always answering {classes[most]}: accuracy {accuracy:.1%} against {base:.1%}{collapsed}.",
            known.rows(known.wrong),
            accuracy - base,
            low,
            high,
            "accuracy less that of the constant answer",
            f"always answering {classes[most]}, the most frequent label",
            "exact McNemar test of the two answers, row by row",
            "judge the model by balanced accuracy and the recall of each class; weight or resample the rare classes",
            errors=int(known.wrong.sum()),
            cost=float(known.wrong.sum()),
        )
    ]


def _never_predicted(known: Known) -> list[Finding]:
    classes = known.predictions.classes
    support = np.bincount(known.label, minlength=len(classes))
    answered = np.bincount(known.predictions.predicted, minlength=len(classes))
    never = np.flatnonzero((answered == 0) & (support > 0))
    rows = int(support[never].sum())
    _, high = wilson_interval(0, rows)
    if not rows or high > NEVER:
        return []
    names = ", ".join(classes[k] for k in never[:5]) + (f" and {len(never) - 5} more" if len(never) > 5 else "")
    inside = np.isin(known.label, never)
    many = f"{len(never)} of {len(classes)} classes are never predicted: {names}"
    which = f"{names} is never predicted" if len(never) == 1 else many
    return [
        Finding(
            "baseline",
            names,
            f"{which}: all {rows:,} rows with that label are misclassified.",
            known.rows(inside),
            0.0,
            0.0,
            float(high),
            "recall of these classes",
            "any prediction of them",
            "count of predictions",
            "look at their scores: a threshold of their own, weights or more images of them in training",
            errors=rows,
            cost=float(rows),
        )
    ]
