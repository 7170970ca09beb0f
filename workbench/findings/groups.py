"""A group of rows that fails more often than comparable ones, as a finding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.gaps import Gap, signed_gap
from workbench.analysis.strata import Excess, Strata, excess
from workbench.findings.known import Known
from workbench.findings.record import Finding, Forecast

LIKE = "the other rows, class by class (Mantel-Haenszel)"
TEST = "Mantel-Haenszel test within classes"
MEASURE = "difference of error rates"
LEVEL = 0.05


def excess_within_classes(known: Known, inside: NDArray[np.bool_], among: NDArray[np.bool_] | None = None) -> Excess:
    """How much more often the rows ``inside`` fail than others of their classes; ``among``: bool ``(N,)``, or all."""
    if among is None:
        return excess(Strata.of(inside, known.wrong, known.label))
    return excess(Strata.of(inside[among], known.wrong[among], known.label[among]))


def holds_without(before: Excess, after: Excess, tried: int) -> bool:
    """Whether a group's excess holds where the rows of stronger groups are set aside.

    ``before`` and ``after`` are its excess with and without them: the test has to hold after Bonferroni's correction
    over the ``tried`` groups, and at least half of the errors beyond those of other rows have to be left.
    """
    return after.p_value <= LEVEL / tried and after.difference * after.rows >= 0.5 * before.difference * before.rows


def group_finding(
    known: Known,
    kind: str,
    subject: str,
    words: str,
    inside: NDArray[np.bool_],
    found: Excess,
    action: str,
    *,
    checked: str = TEST,
    note: str = "",
    stable: str = "",
    needed: tuple[str, ...] = (),
    among: NDArray[np.bool_] | None = None,
    where: str = "",
) -> Finding:
    """The finding that rows ``inside`` ``(N,)``, called ``words``, fail more often; ``among``: the rows judged.

    The forecast is that of an action on the train rows of which ``where`` holds, if one was made; the advice
    ends with what it shows.
    """
    acted = next((one for one in known.forecasts if where and one.where == where), None)
    forecast = None if acted is None else Forecast(acted.gain, acted.low, acted.high, acted.basis)
    return Finding(
        kind,
        subject,
        f"{words}: {found.rate:.1%} are misclassified, against {found.like_rate:.1%} of the other rows of the same "
        f"classes ({found.errors} of {found.rows:,}){note}.",
        known.rows(inside),
        found.difference,
        found.low,
        found.high,
        MEASURE,
        LIKE,
        checked,
        action if acted is None or forecast is None else f"{action}; to {acted.action} {forecast.verdict}",
        errors=int((inside & known.wrong).sum()),
        cost=max(0.0, found.difference) * int(inside.sum()),
        p_value=found.p_value,
        stable=stable,
        needed=needed,
        gap=gap_of(known, inside if among is None else inside & among),
        where=where,
        forecast=forecast,
    )


def gap_of(known: Known, rows: NDArray[np.bool_]) -> Gap | None:
    """The signed calibration gap of rows ``(N,)``; None without rows or probabilities."""
    if not known.predictions.has_probabilities or not rows.any():
        return None
    return signed_gap(known.predictions.confidence[rows].astype(np.float64), ~known.wrong[rows])
