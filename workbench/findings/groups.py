"""A group of rows that fails more often than comparable ones, as a finding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.strata import Excess, Strata, excess
from workbench.findings.known import Known
from workbench.findings.record import Finding

LIKE = "the other rows, class by class (Mantel-Haenszel)"
TEST = "Mantel-Haenszel test within classes"
MEASURE = "difference of error rates"


def excess_within_classes(known: Known, inside: NDArray[np.bool_], among: NDArray[np.bool_] | None = None) -> Excess:
    """How much more often the rows ``inside`` fail than others of their classes; ``among``: bool ``(N,)``, or all."""
    if among is None:
        return excess(Strata.of(inside, known.wrong, known.label))
    return excess(Strata.of(inside[among], known.wrong[among], known.label[among]))


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
) -> Finding:
    """The finding that rows ``inside`` ``(N,)``, called ``words``, are misclassified more often."""
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
        action,
        errors=int((inside & known.wrong).sum()),
        cost=max(0.0, found.difference) * int(inside.sum()),
        p_value=found.p_value,
        stable=stable,
        needed=needed,
    )
