"""Words that the kernel and the views share: they are defined here alone, and travel in the header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.analysis.compare import BOTH_CORRECT, BOTH_WRONG, BROKEN, FIXED
from workbench.core.records import TARGETS, VERDICTS

TAGS = ("wrong label", "ambiguous", "ignore", "interesting")
WRONG, AMBIGUOUS, IGNORE, *_ = TAGS  # those that decide what becomes of a train row
PRINCIPAL, NEIGHBOURS = "principal", "neighbours"
LAYOUTS: Mapping[str, str] = {PRINCIPAL: "principal components", NEIGHBOURS: "neighbours (t-SNE)"}
AT_ONCE = (
    *("start", "thumbnails", "detail", "explain", "what_if", "decide", "undo", "redo", "decisions"),
    *("code", "ping", "table"),
)
SLOWLY = ("findings", "map", "evidence", "figure", "warm_up")
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
    """The words as JSON values: tags, verdicts, outcomes by their count's name, layouts, targets and questions."""
    return {
        "tags": list(TAGS),
        "verdicts": list(VERDICTS),
        "outcomes": {"fixed": FIXED, "broken": BROKEN, "both_wrong": BOTH_WRONG, "both_right": BOTH_CORRECT},
        "layouts": dict(LAYOUTS),
        "targets": list(TARGETS),
        "questions": [*AT_ONCE, *SLOWLY],
    }
