"""Where confidence and accuracy differ, and in which direction."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.calibration import temperature
from workbench.analysis.gaps import calibration_p_value, signed_gap
from workbench.core.records import FloatArray
from workbench.findings.groups import gap_of
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

    A gap is mean accuracy less mean confidence (`analysis.gaps.signed_gap`). Under calibration each row is correct with
    its own confidence, which gives the number of correct rows its distribution; the test is two-sided
    (`analysis.gaps.calibration_p_value`). The whole and the classes are taken up by significance, and what one of them
    explains is taken out of the others: the rows of a class, or, once the overall gap is a finding, what recalibration
    of all rows together mends (isotonic regression, Zadrozny & Elkan 2002, doi 10.1145/775047.775151). So one
    miscalibrated class does not make the whole model a finding, nor the whole model every class. A band is a finding
    where its gap has the other sign than the overall one, or there is no overall one.
    """
    if not known.predictions.has_probabilities:
        return Found(missing=("calibration: give the model's probabilities, not its predicted classes alone",))
    confidence, correct = known.predictions.confidence.astype(np.float64), ~known.wrong
    bands, others = _bands(confidence), _whole_and_classes(known)
    left, chance, overall = np.ones(len(correct), bool), confidence, 0.0
    found: list[Finding] = []
    while others and len(found) < MOST:
        scores = [_p_value(group.mask & left, chance, correct) for group in others]
        best = int(np.argmin(scores))
        group = others.pop(best)
        if scores[best] > 0.05:
            break
        found.append(_finding(known, group, left, scores[best], None if overall == 0 else chance))
        if group.words:
            left &= ~group.mask
        else:
            overall = signed_gap(confidence[left], correct[left]).value
            chance = _recalibrated(confidence, correct)
    for group in bands:
        mask = group.mask & left
        p_value = _p_value(mask, confidence, correct)
        if p_value <= 0.05 and overall * signed_gap(confidence[mask], correct[mask]).value <= 0:
            found.append(_finding(known, group, left, p_value, None))
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


def _recalibrated(confidence: FloatArray, correct: Mask) -> FloatArray:
    """How often rows of each confidence are correct, as a rising function of it."""
    from sklearn.isotonic import IsotonicRegression

    return np.asarray(IsotonicRegression(y_min=0, y_max=1).fit_transform(confidence, correct.astype(np.float64)))


def _p_value(mask: Mask, chance: FloatArray, correct: Mask) -> float:
    """Two-sided, for rows that are correct with the chances given."""
    own = np.clip(chance[mask], 1e-6, 1 - 1e-6)
    return 1.0 if len(own) < LEAST else calibration_p_value(own, correct[mask])


def _finding(known: Known, group: _Group, left: Mask, p_value: float, chance: FloatArray | None) -> Finding:
    """The finding of a group's gap; with ``chance`` the gap to the recalibrated confidence."""
    mask = group.mask & left
    confidence, correct = known.predictions.confidence.astype(np.float64), ~known.wrong
    gap = signed_gap((confidence if chance is None else chance)[mask], correct[mask])
    where = f"Of rows {group.words}, " if group.words else ""
    if chance is None:
        size = f"{abs(100 * gap.value):.1f} points {'below' if gap.value > 0 else 'above'}"
        sentence = (
            f"{where}confidence is {size} accuracy: {gap.accuracy:.1%} are correct at a mean confidence of "
            f"{gap.confidence:.1%}."
        )
    else:
        sentence = (
            f"{where}{gap.accuracy:.1%} are correct, where {gap.confidence:.1%} would follow from their confidence, "
            "recalibrated on all rows."
        )
    return Finding(
        "calibration",
        group.words or "confidence",
        sentence[0].upper() + sentence[1:],
        known.rows(mask),
        gap.value,
        gap.low,
        gap.high,
        "accuracy less mean confidence" if chance is None else "accuracy less mean recalibrated confidence",
        "a calibrated model" if chance is None else "the same confidence in all classes",
        "test of the number of correct rows, given each row's confidence",
        "recalibrate these confidences on rows kept aside; as long as their order is kept, no prediction changes"
        if group.words
        else _temperature(known),
        errors=int((~correct[mask]).sum()),
        p_value=p_value,
        explains=False,
        gap=gap_of(known, mask),
    )


def _temperature(known: Known) -> str:
    """What to do about confidence as a whole: with validation rows, the temperature and what it leaves."""
    if known.validation is None:
        return "fit a temperature on rows that the model is not judged on; it changes confidences and no prediction"
    fitted = temperature(known.predictions, fitted_on=known.validation)
    left = fitted.gap_after
    return (
        f"divide the logits by {fitted.temperature:.2f}, fitted on {fitted.fitted_rows:,} validation rows: confidence "
        f"is then {abs(100 * left.value):.1f} points {'below' if left.value > 0 else 'above'} accuracy "
        f"(accuracy less confidence {100 * left.low:+.1f} to {100 * left.high:+.1f}), and no prediction changes"
    )
