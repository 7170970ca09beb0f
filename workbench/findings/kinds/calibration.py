"""Where confidence and accuracy differ, and in which direction."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from workbench.analysis.gaps import signed_gap
from workbench.core.records import FloatArray
from workbench.findings.known import Known
from workbench.findings.record import Finding, Found

BANDS = (0.0, 0.5, 0.7, 0.9, 1.0)
LEAST, MOST = 50, 4
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Group:
    words: str
    mask: Mask


def find(known: Known) -> Found:
    """Signed gaps of calibration: overall, of each predicted class, and in bands of confidence.

    A gap is mean accuracy less mean confidence (`analysis.calibration.signed_gap`). Under calibration each row is
    correct with its own confidence, so that the number of correct rows has a known mean and variance: the test is the
    two-sided normal one of their standardised difference. The whole and the classes are taken up by significance, and
    what one of them explains is taken out of the others (its rows, or the overall gap), so that one miscalibrated class
    does not make the whole model a finding, nor the whole model every class. A band is a finding of its own where its
    gap has the other sign than the overall one, or there is no overall one.
    """
    if not known.predictions.has_probabilities:
        return Found(missing=("calibration: give the model's probabilities, not its predicted classes alone",))
    confidence, correct = known.predictions.confidence.astype(np.float64), ~known.wrong
    bands, others = _bands(confidence), _whole_and_classes(known)
    left, shift = np.ones(len(correct), bool), 0.0
    found: list[Finding] = []
    while others and len(found) < MOST:
        scores = [_p_value(group.mask & left, confidence, correct, shift) for group in others]
        best = int(np.argmin(scores))
        group = others.pop(best)
        if scores[best] > 0.05:
            break
        found.append(_finding(known, group, left, scores[best], shift))
        if group.words:
            left &= ~group.mask
        else:
            shift = signed_gap(confidence[left], correct[left]).value
    for group in bands:
        p_value = _p_value(group.mask & left, confidence, correct, 0.0)
        if p_value <= 0.05 and shift * signed_gap(confidence[group.mask & left], correct[group.mask & left]).value <= 0:
            found.append(_finding(known, group, left, p_value, 0.0))
    tests = len(bands) + 1 + int((np.bincount(known.predictions.predicted) >= LEAST).sum())
    return Found(found, tests)


def _bands(confidence: FloatArray) -> list[_Group]:
    bands = [
        _Group(f"between {low:.0%} and {high:.0%} confidence", (confidence >= low) & (confidence < high + (high == 1)))
        for low, high in itertools.pairwise(BANDS)
    ]
    return [band for band in bands if band.mask.sum() >= LEAST]


def _whole_and_classes(known: Known) -> list[_Group]:
    names, predicted = known.predictions.classes, known.predictions.predicted
    counts = np.bincount(predicted, minlength=len(names))
    classes = [_Group(f"predicted as {names[k]}", predicted == k) for k in np.flatnonzero(counts >= LEAST)]
    return [_Group("", np.ones(len(predicted), bool)), *classes]


def _p_value(mask: Mask, confidence: FloatArray, correct: Mask, shift: float) -> float:
    """Two-sided, for rows that are correct with their confidence plus ``shift``."""
    chance = np.clip(confidence[mask] + shift, 1e-6, 1 - 1e-6)
    variance = float((chance * (1 - chance)).sum())
    if len(chance) < LEAST or variance == 0:
        return 1.0
    return float(2 * stats.norm.sf(abs(correct[mask].sum() - chance.sum()) / np.sqrt(variance)))


def _finding(known: Known, group: _Group, left: Mask, p_value: float, shift: float) -> Finding:
    mask = group.mask & left
    confidence, correct = known.predictions.confidence.astype(np.float64), ~known.wrong
    gap = signed_gap(confidence[mask], correct[mask])
    where = f"Of rows {group.words}, " if group.words else ""
    overall = f", and {_points(shift)} overall" if shift else ""
    sentence = (
        f"{where}confidence is {_points(gap.value)} accuracy{overall}: {gap.accuracy:.1%} are correct at a mean "
        f"confidence of {gap.confidence:.1%}."
    )
    return Finding(
        "calibration",
        group.words or "confidence",
        sentence[0].upper() + sentence[1:],
        known.rows(mask),
        gap.value,
        gap.low,
        gap.high,
        "accuracy less mean confidence",
        "a calibrated model" if shift == 0 else "a model with the overall gap",
        "normal test of the number of correct rows, given each row's confidence",
        "recalibrate these confidences on rows kept aside; as long as their order is kept, no prediction changes"
        if group.words
        else "fit a temperature on rows that the model is not judged on; it changes confidences and no prediction",
        errors=int((~correct[mask]).sum()),
        p_value=p_value,
        explains=False,
    )


def _points(gap: float) -> str:
    """The size and direction of a gap in words."""
    return f"{abs(100 * gap):.1f} points {'below' if gap > 0 else 'above'}"
