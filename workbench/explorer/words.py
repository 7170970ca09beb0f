"""Words that the kernel and the views share: they are defined here alone, and travel in the header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.analysis.compare import BOTH_CORRECT, BOTH_WRONG, BROKEN, FIXED
from workbench.core.records import TARGETS, VERDICTS

TAGS = ("wrong label", "ambiguous", "ignore", "interesting", "label confirmed")
WRONG, AMBIGUOUS, IGNORE, *_, CONFIRMED = TAGS  # the first three decide what becomes of a train row
ANSWERS: Mapping[str, str] = {"yes": WRONG, "no": CONFIRMED, "unsure": AMBIGUOUS}  # to "is the label wrong?"
MARKS: Mapping[str, str] = dict(zip(TAGS, "≠?⊘★✓", strict=True))  # of each tag, on its picture
YES, NO = "yes", "no"
COHORT = "cohort: "  # what the column of a cohort is called, before its name
PRINCIPAL, NEIGHBOURS = "principal", "neighbours"
LAYOUTS: Mapping[str, str] = {PRINCIPAL: "principal components", NEIGHBOURS: "neighbours (t-SNE)"}
AT_ONCE = (
    *("start", "thumbnails", "detail", "explain", "what_if", "decide", "undo", "redo", "decisions"),
    *("cohorts", "save_cohort", "remove_cohort", "similar", "counterparts", "origins"),
    *("code", "ping", "table"),
)
SLOWLY = ("findings", "map", "evidence", "group", "concepts", "flips", "figure", "warm_up")
START: Mapping[str, Any] = {
    "steps": [],
    "wrong_only": True,
    "order": "loss",
    "descending": True,
    "selected": -1,
    "picked": [],
    "methods": ["Grad-CAM"],
    "layers": [],
    "targets": ["predicted", "true"],
}


def shared_words() -> dict[str, Any]:
    """The words as JSON values: tags, verdicts, outcomes by their count's name, layouts, targets, questions."""
    return {
        "tags": list(TAGS),
        "verdicts": list(VERDICTS),
        "outcomes": {"fixed": FIXED, "broken": BROKEN, "both_wrong": BOTH_WRONG, "both_right": BOTH_CORRECT},
        "answers": dict(ANSWERS),
        "marks": dict(MARKS),
        "cohort": COHORT,
        "layouts": dict(LAYOUTS),
        "targets": list(TARGETS),
        "questions": [*AT_ONCE, *SLOWLY],
    }
