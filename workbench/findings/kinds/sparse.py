"""Images far from everything that the model was trained on."""

from __future__ import annotations

from dataclasses import replace

from workbench.analysis.neighbours import distance_ranks
from workbench.findings.groups import excess_within_classes, group_finding
from workbench.findings.known import Known
from workbench.findings.record import Found

FAR, LEAST = 0.05, 20
MISSING = "sparse regions: give predictions on the train split with embeddings (--train, workbench.with_train)"


def find(known: Known) -> Found:
    """Rows farther from the train rows than 95 % of the train rows are from each other, against the others.

    The distance is the mean one to the ten nearest train rows, in the embedding that both splits have; its rank among
    the train rows' own (each without itself) is a conformal p-value for "one more train row"
    (`analysis.neighbours.distance_ranks`). On rows like the train rows it marks 5 %, on others as many as there are;
    what makes it a finding is that they fail more often within their classes. A model pulls the rows that it was
    trained on together: new rows then lie farther, and the sentence says how many do. The features were learnt for the
    answer, so that far rows are those of low confidence, too: where an error lies, not why it is made, so that its rows
    do not count as explained.
    """
    if known.train is None:
        return Found(missing=(MISSING,))
    own, train = known.predictions.embedding, known.train.embedding
    if own is None or train is None:
        return Found(missing=("sparse regions: both splits need embeddings: predict them with the same model",))
    here, there = known.predictions.provenance, known.train.provenance
    far = distance_ranks(own, train, same=here.data is not None and here.data == there.data) <= FAR
    if far.sum() < LEAST:
        return Found(tests=1)
    words = (
        f"{far.mean():.0%} of the images lie farther from the train images than 95 % of these from each other "
        "(embedding of the last layer)"
    )
    action = "see whether such images belong to the task; that more of them in training would help is not shown"
    found = group_finding(
        known,
        "sparse",
        "images far from the train images",
        words,
        far,
        excess_within_classes(known, far),
        action,
        needed=("train predictions with embeddings",),
    )
    return Found([replace(found, explains=False)], 1)
