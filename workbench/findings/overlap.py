"""Findings that are about the same rows: the strongest stays, and the others have to hold without its rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.findings.groups import LEVEL, excess_within_classes, holds_without
from workbench.findings.known import Known
from workbench.findings.record import Finding
from workbench.findings.registry import KINDS


def without_overlap(known: Known, found: Sequence[Finding]) -> list[Finding]:
    """The findings that hold beside the others.

    Groups of rows are taken up by the strength of their excess over all rows, so that the dark images of one class,
    which carry the blurred, the flat and all dark ones with them, are one finding: each further group has to hold
    without the rows of those before it (`groups.holds_without`). Findings of the kinds that are judged afterwards, such
    as labels, which images that the model misreads seem to contradict, have to be found again on the rows of no group,
    about the same subject and in the same direction.
    """
    groups = [finding for finding in found if KINDS[finding.kind].groups]
    left = np.ones(len(known.label), bool)
    kept: list[Finding] = []
    whole = {id(one): excess_within_classes(known, _inside(known, one)) for one in groups}
    for finding in sorted(groups, key=lambda one: whole[id(one)].p_value):
        inside = _inside(known, finding)
        if not kept or holds_without(whole[id(finding)], excess_within_classes(known, inside, left), len(groups)):
            kept.append(finding)
            left &= ~inside
    others = _without_parts([finding for finding in found if not KINDS[finding.kind].groups])
    if left.all():
        return [*kept, *others]
    return [*kept, *_found_again(known.part(left), others)]


def _inside(known: Known, finding: Finding) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.isin(known.predictions.index, finding.rows)


def _without_parts(found: Sequence[Finding]) -> list[Finding]:
    """The findings but for confusions of a pair of classes whose rows are all in a block's."""
    confusions = [finding for finding in found if finding.kind == "confusions"]
    return [
        finding
        for finding in found
        if finding.kind != "confusions"
        or not any(
            len(other.rows) > len(finding.rows) and np.isin(finding.rows, other.rows).all() for other in confusions
        )
    ]


def _found_again(rest: Known, found: Sequence[Finding]) -> list[Finding]:
    judged = {finding.kind for finding in found if KINDS[finding.kind].afterwards and finding.p_value is not None}
    again = {
        (one.kind, one.subject, one.effect > 0)
        for kind in judged
        for one in (KINDS[kind].find(rest).candidates if len(rest.label) else ())
        if one.p_value is not None and one.p_value <= LEVEL
    }
    return [
        finding
        for finding in found
        if finding.kind not in judged
        or finding.p_value is None
        or (finding.kind, finding.subject, finding.effect > 0) in again
    ]
