"""Whether the model is better than nothing."""

from __future__ import annotations

import numpy as np

from workbench.analysis.compare import newcombe_paired
from workbench.analysis.statistics import wilson_interval
from workbench.findings.known import Known
from workbench.findings.record import Finding, Found

LEAST = 50
NEVER = 0.25  # upper bound of the recall of classes that are never predicted, from which that is worth a sentence


def find(known: Known) -> Found:
    """No better than always answering the most frequent class, and classes that are never predicted.

    The first compares accuracies on the same rows, of at least 50; the interval says how much better the model may be
    elsewhere. The second is a count: classes without a single prediction whose
    recall, by Wilson's interval, is at most 25 %.
    """
    return Found([*_no_better(known), *_never_predicted(known)])


def _no_better(known: Known) -> list[Finding]:
    classes = known.predictions.classes
    support = np.bincount(known.label, minlength=len(classes))
    most = int(support.argmax())
    constant, correct = known.label == most, ~known.wrong
    model_only, constant_only = int((correct & ~constant).sum()), int((constant & ~correct).sum())
    if model_only > constant_only or not known.wrong.any() or len(known.label) < LEAST:
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
            "both answers counted on the same rows; interval of Newcombe for paired proportions",
            "judge the model by balanced accuracy and the recall of each class; weight or resample the rare classes",
            errors=int(known.wrong.sum()),
            cost=float(known.wrong.sum()),
            explains=False,
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
