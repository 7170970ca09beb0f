"""Labels that are probably wrong."""

from __future__ import annotations

import numpy as np

from workbench.analysis.labels import out_of_sample
from workbench.analysis.noise import exchanged_labels
from workbench.analysis.statistics import wilson_interval
from workbench.core.predictions import Predictions
from workbench.errors import DataError
from workbench.findings.gains import paired_gain
from workbench.findings.known import Known
from workbench.findings.record import Finding, Forecast, Found

PROBABLE = 0.5
VOTES = "labels: add human labels (--votes, workbench.with_votes) and people decide instead of the model"
TRAIN = "labels: the rows are called train, and without embeddings no model that has not seen them can judge them"


def find(known: Known) -> Found:
    """Labels that people contest; without human labels, those that the model's probabilities contradict.

    With human labels: rows whose majority is another class. Without them: the share of exchanged labels by maximum
    likelihood (`analysis.noise.exchanged_labels`), tested against none; its rows are those whose label was exchanged
    with a probability of at least one half, and the mean of these probabilities is the expected precision. Train rows
    are judged by a linear classifier on their embeddings that has not seen the row (`analysis.labels.out_of_sample`).
    """
    if known.has_votes:
        return Found(_contested(known))
    if not known.predictions.has_probabilities:
        return Found(missing=("labels: give the model's probabilities, or human labels",))
    judge = _judge(known)
    if judge is None:
        return Found(missing=(TRAIN,))
    found = exchanged_labels(judge.probability, judge.label)
    rows = np.flatnonzero(found.posterior >= PROBABLE)
    if not len(rows):
        return Found(tests=1, missing=(VOTES,))
    precision = float(found.posterior[rows].mean())
    count = len(judge.label)
    finding = Finding(
        "labels",
        "doubtful labels",
        f"About {found.share * count:.0f} of {count:,} labels ({found.low:.1%} to {found.high:.1%}) look exchanged; "
        f"the {len(rows)} most doubtful are listed, of which about {precision:.0%} are expected to be wrong. This is "
        "an upper limit: mistakes that the model makes with confidence look the same.",
        known.rows(rows),
        found.share,
        found.low,
        found.high,
        "share of labels that were exchanged, an upper limit",
        "no exchanged label, with the model's temperature fitted to the same rows",
        "likelihood-ratio test; precision from each row's posterior probability",
        "check these labels first, from the top of label_scores.csv",
        errors=int(known.wrong[rows].sum()),
        cost=float(found.posterior[rows][known.wrong[rows]].sum()),
        p_value=found.p_value,
    )
    return Found([finding], 1, (VOTES,))


def _judge(known: Known) -> Predictions | None:
    """Predictions that have not seen their rows' labels; None if there are none."""
    own = known.predictions
    if own.provenance.split != "train":
        return own
    if own.embedding is None:
        return None
    try:
        return out_of_sample(own.embedding, own.label, own.classes, index=own.index)
    except DataError:  # too few rows of a class for five folds
        return None


def _contested(known: Known) -> list[Finding]:
    top = known.array("votes_top")
    contested = top != known.label
    rows, count = int(contested.sum()), len(contested)
    if not rows:
        return []
    low, high = wilson_interval(rows, count)
    errors = int((contested & known.wrong).sum())
    agree = int((contested & (top == known.predictions.predicted)).sum())
    gain = paired_gain(~known.wrong, known.predictions.predicted == top)
    return [
        Finding(
            "labels",
            "labels that people contest",
            f"People's majority is another class than the label for {rows} of {count:,} rows; {errors} of them are "
            f"misclassified, {agree} of these as the majority says. Against the majority's labels accuracy is "
            f"{(known.predictions.predicted == top).mean():.2%}, not {(~known.wrong).mean():.2%}.",
            known.rows(contested),
            rows / count,
            float(low),
            float(high),
            "share of labels that the majority contests",
            "the majority of human labels",
            "human labels",
            "correct these labels, or leave the rows out of the figure of accuracy",
            errors=errors,
            cost=float(errors),
            forecast=Forecast(*gain, basis="the same predictions, against the majority's labels"),
            needed=("human labels",),
        )
    ]
