"""Labels that are probably wrong."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from workbench.analysis.labels import out_of_sample
from workbench.analysis.noise import exchanged_labels
from workbench.analysis.statistics import wilson_interval
from workbench.core.predictions import Predictions
from workbench.errors import DataError
from workbench.findings.gains import paired_gain
from workbench.findings.known import Known
from workbench.findings.record import Finding, Forecast, Found

PROBABLE, LEAST_VOTES = 0.5, 5
FEW_VOTES = "labels: fewer than five votes a row decide nothing: collect more, or leave them out"
VOTES = "labels: add human labels (--votes, workbench.with_votes) and people decide instead of the model"
TRAIN = "labels: the rows are called train, and without embeddings no model that has not seen them can judge them"


def find(known: Known) -> Found:
    """Labels that people contest; without human labels, those that the model's probabilities contradict.

    With human labels: rows on which another class leads the label by more than chance (`_leads`); votes of fewer than
    five people decide nothing. Without them: the share of exchanged labels by maximum likelihood
    (`analysis.noise.exchanged_labels`), tested against none; its rows are those whose label was exchanged with a
    probability of at least one half, if the model is calibrated but for temperatures. Mistakes that a model makes with
    confidence look the same, so that the share is an upper limit, and the rows do not count as explained. Train rows
    are judged by a linear classifier on their embeddings that has not seen the row (`analysis.labels.out_of_sample`).
    """
    if known.has_votes:
        return _contested(known)
    if not known.predictions.has_probabilities:
        return Found(missing=("labels: give the model's probabilities, or human labels",))
    judge = _judge(known)
    if judge is None:
        return Found(missing=(TRAIN,))
    found = exchanged_labels(judge.probability, judge.label)
    rows = np.flatnonzero(found.posterior >= PROBABLE)
    if not len(rows):
        return Found(tests=1, missing=(VOTES,))
    count = len(judge.label)
    finding = Finding(
        "labels",
        "doubtful labels",
        f"The model's probabilities contradict more labels than its own uncertainty allows: about "
        f"{found.share * count:.0f} of {count:,} ({found.low:.1%} to {found.high:.1%}). They may be exchanged labels, "
        f"or mistakes that the model makes with confidence; the {len(rows)} clearest are listed.",
        known.rows(rows),
        found.share,
        found.low,
        found.high,
        "share of labels that were exchanged, an upper limit",
        "no exchanged label, with the model's temperatures fitted to the same rows",
        "likelihood-ratio test of the share",
        "check these labels first, from the top of label_scores.csv",
        errors=int(known.wrong[rows].sum()),
        cost=float(found.posterior[rows][known.wrong[rows]].sum()),
        p_value=found.p_value,
        explains=False,
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


def _leads(known: Known) -> NDArray[np.bool_]:
    """Rows on which a class has more votes than the label, beyond chance, bool ``(N,)``.

    The one-sided sign test at 5 % of that class's votes against the label's; where the votes are shares, of which
    nobody knows how many they stand for, twice the label's share.
    """
    frame = known.predictions.columns("votes", "votes_top", "votes_for_label", "votes_count")
    shares, top = frame["votes"].to_numpy(), frame["votes_top"].to_numpy()
    of_top, of_label = shares[np.arange(len(top)), top], frame["votes_for_label"].to_numpy()
    if frame["votes_count"].null_count():
        return np.asarray((top != known.label) & (of_top >= 2 * of_label))
    count = frame["votes_count"].to_numpy()
    first, second = np.rint(of_top * count), np.rint(of_label * count)
    p_value = scipy.stats.binom.sf(first - 1, first + second, 0.5)
    return np.asarray((top != known.label) & (p_value <= 0.05))


def _contested(known: Known) -> Found:
    counts = known.predictions.columns("votes_count")["votes_count"].drop_nulls().to_list()
    if counts and float(np.median(counts)) < LEAST_VOTES:
        return Found(missing=(FEW_VOTES,))
    top = known.array("votes_top")
    contested = _leads(known)
    rows, count = int(contested.sum()), len(contested)
    if not rows:
        return Found()
    low, high = wilson_interval(rows, count)
    errors = int((contested & known.wrong).sum())
    predicted = known.predictions.predicted
    agree = int((contested & known.wrong & (top == predicted)).sum())
    settled = np.where(contested, top, known.label)
    gain = paired_gain(~known.wrong, predicted == settled)
    finding = Finding(
        "labels",
        "labels that people contest",
        f"People prefer another class to the label on {rows} of {count:,} rows, by more votes than chance explains; "
        f"{errors} of these are misclassified, {agree} of them as people say. With the labels that people prefer "
        f"accuracy is {(predicted == settled).mean():.2%}, not {(~known.wrong).mean():.2%}.",
        known.rows(contested),
        rows / count,
        float(low),
        float(high),
        "share of labels that people contest",
        "the class with most votes",
        "human labels; sign test of each row's votes",
        "correct these labels, or leave the rows out of the figure of accuracy",
        errors=errors,
        cost=float(errors),
        forecast=Forecast(*gain, basis="the same predictions, against the labels that people prefer"),
        needed=("human labels",),
    )
    return Found([finding])
