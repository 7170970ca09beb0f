"""Decisions on train rows as what a training does about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.analysis.fixes import FORMAT, check_trainable
from workbench.core.predictions import Predictions
from workbench.errors import DataError
from workbench.explorer.words import AMBIGUOUS, IGNORE, WRONG

if TYPE_CHECKING:
    from workbench.explorer.decisions import Decision

AMBIGUOUS_WEIGHT = 0.5


def fixes_of(rows: Mapping[int, Decision], predictions: Predictions) -> dict[str, Any]:
    """What `python -m training.run --fixes` reads: for each row to fix an ``index`` and an ``action``.

    A row tagged *ignore* is dropped; one with a corrected label is relabelled; one tagged *wrong label* without a
    corrected one is dropped; one tagged *ambiguous* has half its weight in the loss. Other rows are unchanged.

    Raises
    ------
    DataError
        If these are not rows that training reads (`analysis.fixes.check_trainable`), or there is nothing to fix.
    """
    check_trainable(predictions)
    found = [_fix(row, rows[row], predictions.classes) for row in sorted(rows)]
    fixes = [fix for fix in found if fix is not None]
    if not fixes:
        raise DataError("nothing to fix: tag rows as wrong label, ambiguous or ignore, or correct their label")
    return {"format": FORMAT, "data": predictions.provenance.data, "split": "train", "rows": fixes}


def _fix(row: int, decision: Decision, classes: tuple[str, ...]) -> dict[str, Any] | None:
    if IGNORE in decision.tags or (WRONG in decision.tags and decision.label is None):
        return {"index": row, "action": "drop"}
    if decision.label is not None:
        return {"index": row, "action": "relabel", "label": classes[decision.label]}
    if AMBIGUOUS in decision.tags:
        return {"index": row, "action": "weight", "weight": AMBIGUOUS_WEIGHT}
    return None
