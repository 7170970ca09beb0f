"""The concepts behind the confusions of two classes, or of any selection, as the explorer shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.concepts.ledger import Ledger, means
from workbench.concepts.pairs import PairConcepts, pair_concepts
from workbench.concepts.selection import SelectionConcepts, selection_concepts
from workbench.explorer.replies import Reply
from workbench.models.classifier import Classifier
from workbench.runs.run import Run


def concepts_reply(run: Run, classifier: Classifier, *, pair: Sequence[str] = (), rows: Sequence[int] = ()) -> Reply:
    """The concepts of a pair of classes (true, predicted), else of some rows; those that add most to the lead first.

    The buffer holds where each example shows its concept, float32 ``(k, examples, h, w)``.

    Raises
    ------
    DataError, AttributionError
        As `pair_concepts` and `selection_concepts`.
    """
    if pair:
        two = pair_concepts(run, *pair, classifier=classifier)
        words = f"{len(two.errors)} errors"
        return _reply(two, two.ledgers[0], words, f"in correct images of {pair[0]}")
    chosen = selection_concepts(run, np.array(rows), classifier=classifier)
    return _reply(chosen, chosen.account, f"{len(chosen.rows)} images", "")


def _reply(found: PairConcepts | SelectionConcepts, account: Ledger, group: str, beside: str) -> Reply:
    intervals = means(account)
    lines: list[dict[str, Any]] = []
    for line in found.table().to_dicts():
        k = line["concept"]
        _, low, high = intervals[k]
        patches = found.patches[k]
        lines.append(
            {
                **line,
                "name": f"concept {k + 1}",
                "mean_low": low,
                "mean_high": high,
                "needed": found.removals[k].needed,
                "rows": [one.row for one in patches],
                "patches": [[one.top, one.left, one.height, one.width] for one in patches],
            }
        )
    reply = {
        "sentence": found.sentence(),
        "group": group,
        "beside": beside,
        "layer": found.layer,
        "explained": found.concepts.explained,
        "lines": lines,
        "grid": list(found.patches[0][0].strengths.shape),
    }
    strengths = np.stack([[one.strengths for one in found.patches[line["concept"]]] for line in lines])
    return reply, [np.ascontiguousarray(strengths, np.float32).tobytes()]
