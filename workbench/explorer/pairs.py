"""The concepts behind the confusions of two classes, as the explorer shows them."""

from __future__ import annotations

import numpy as np

from workbench.concepts.ledger import means
from workbench.concepts.pairs import pair_concepts
from workbench.explorer.replies import Reply
from workbench.models.classifier import Classifier
from workbench.runs.run import Run


def pair_reply(run: Run, true: str, predicted: str, classifier: Classifier) -> Reply:
    """What `concepts.pairs.pair_concepts` finds, the concepts that add most to the errors' lead first.

    The buffer holds where each example shows its concept, float32 ``(k, examples, h, w)``.

    Raises
    ------
    DataError, AttributionError
        As `pair_concepts`.
    """
    found = pair_concepts(run, true, predicted, classifier=classifier)
    errors = found.ledgers[0]
    intervals = means(errors)
    lines = []
    for line in found.table().to_dicts():
        k = line["concept"]
        _, low, high = intervals[k]
        lines.append(
            {
                **line,
                "name": f"concept {k + 1}",
                "mean_low": low,
                "mean_high": high,
                "needed": found.removals[k].needed,
                "rows": found.examples[k],
            }
        )
    reply = {
        "true": true,
        "predicted": predicted,
        "layer": found.layer,
        "explained": found.concepts.explained,
        "margin": float(errors.margin.mean()),
        "rest": float(errors.rest.mean()),
        "constant": float(errors.constant.mean()),
        "errors": len(found.errors),
        "correct": len(found.correct),
        "lines": lines,
        "grid": list(found.strengths[0][0].shape),
    }
    order = [line["concept"] for line in lines]
    strengths = np.stack([np.stack(found.strengths[k]) for k in order]).astype(np.float32)
    return reply, [np.ascontiguousarray(strengths).tobytes()]
