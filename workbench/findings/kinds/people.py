"""Images on which people disagree."""

from __future__ import annotations

from workbench.analysis.votes import VOTES
from workbench.findings.groups import excess_within_classes, group_finding
from workbench.findings.known import Known
from workbench.findings.record import Found

AGREED = 0.9  # share of the votes for one class below which people disagree: at least one in ten says otherwise
MISSING = "people: add human labels (--votes counts.npy, or workbench.with_votes(run, votes))"


def find(known: Known) -> Found:
    """Rows whose most frequent human label has less than 90 % of the votes, against the others of their classes."""
    if not known.has_votes:
        return Found(missing=(MISSING,))
    divided = known.array(VOTES).max(1) < AGREED
    if not divided.any():
        return Found(tests=1)
    found = excess_within_classes(known, divided)
    return Found(
        [
            group_finding(
                known,
                "people",
                "images that people disagree on",
                f"People disagree on {divided.sum():,} images (less than {AGREED:.0%} of the votes for one class)",
                divided,
                found,
                "accept these errors, or train and judge on the votes as soft labels",
                checked="human labels; Mantel-Haenszel test within classes",
                needed=("human labels",),
            )
        ],
        1,
    )
