"""Which labels are doubtful: confident learning on out-of-sample probabilities. Nothing is ever deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.errors import DataError

SELF, OTHER = 3.0, 1.0  # weights of self-confidence, and of each other signal, in a label's score


@dataclass(frozen=True)
class ConfidentJoint:
    """How often the model confidently sees class j in rows labelled i.

    ``thresholds`` float64 ``(K,)``: mean probability of class j over the rows labelled j, nan for an absent class.
    ``counts`` int64 ``(K, K)``: rows labelled i whose confident class is j. ``joint`` float64 ``(K, K)``: the
    counts calibrated so that its rows sum to the shares of the labels and all of it to 1; ``noise_rate``: its share
    off the diagonal. That is the label noise only as far as the model's confident predictions are correct: it
    includes the model's own confident errors, and for a model with many errors it is an upper bound.
    """

    thresholds: FloatArray
    counts: IntArray
    joint: FloatArray
    noise_rate: float


def class_thresholds(predictions: Predictions) -> FloatArray:
    """Mean probability of each class over the rows with that label, float64 ``(K,)``; nan for an absent class."""
    predictions.require_probabilities("a doubtful label")
    means = (
        predictions.scan()
        .group_by("label")
        .agg(mean=pl.col("label_probability").cast(pl.Float64).mean())
        .collect(engine="streaming")
    )
    thresholds = np.full(len(predictions.classes), np.nan)
    thresholds[means["label"].to_numpy()] = means["mean"].to_numpy()
    return thresholds


def confident_class(probability: ProbabilityArray, thresholds: FloatArray) -> IntArray:
    """The most probable class among those at or above their threshold, int64 ``(n,)``; -1 where there is none."""
    # by rounding, the mean of equal probabilities may lie slightly above each of them
    reached = probability >= np.where(np.isnan(thresholds), np.inf, thresholds - 1e-6)
    best = np.where(reached, probability, -1.0).argmax(1)
    return np.where(reached.any(1), best, -1).astype(np.int64)


def confident_joint(predictions: Predictions) -> ConfidentJoint:
    """The confident joint of Northcutt, Jiang & Chuang 2021 (arXiv 1911.00068, equations 1 to 3).

    Valid only for probabilities of rows that the model was not trained on. A label that no row reaches with
    confidence keeps its share on the diagonal, as the estimate needs every row of the joint to sum to the label's
    share.
    """
    classes, thresholds = len(predictions.classes), class_thresholds(predictions)
    counts = np.zeros(classes * classes, np.int64)
    support = np.zeros(classes, np.int64)
    for part in predictions.batches("label", "probability"):
        label = part["label"].to_numpy()
        found = confident_class(part["probability"].to_numpy(), thresholds)
        sure = found >= 0
        counts += np.bincount(label[sure] * classes + found[sure], minlength=classes * classes)
        support += np.bincount(label, minlength=classes)
    matrix = counts.reshape(classes, classes)
    totals = matrix.sum(1, keepdims=True)
    shares = np.where(totals > 0, matrix / np.maximum(totals, 1), np.eye(classes))
    joint = shares * (support / support.sum())[:, None]
    return ConfidentJoint(thresholds, matrix, joint, float(1 - np.trace(joint)))


def label_suspects(predictions: Predictions, *, count: int | None = None) -> pl.DataFrame:
    """Rows whose label is doubtful, most doubtful first; out-of-sample probabilities only.

    A suspect is a row off the diagonal of the confident joint: another class reaches its own threshold with
    the highest probability (Northcutt 2021, "prune by confident joint" before pruning), and the label is not the
    predicted class: where a rare class has a low threshold, its own rows would be suspects else. They are ordered by
    normalised margin, lowest first, ties by row id.

    Columns: ``index``, ``label``, ``suggested`` (class numbers), ``self_confidence`` (P of the label),
    ``normalised_margin`` (P of the label less the highest of the others), ``score`` (1 − margin over 2: 0 to
    1, higher is more doubtful) and ``reason`` (a sentence).

    Raises
    ------
    DataError
        If ``count`` is less than 1.
    """
    if count is not None and count < 1:
        raise DataError(f"count: expected at least 1, not {count}")
    thresholds = class_thresholds(predictions)
    parts = []
    for part in predictions.batches("index", "label", "predicted", "label_probability", "margin", "probability"):
        probability = part["probability"].to_numpy()
        suggested = confident_class(probability, thresholds)
        named = part.drop("probability").with_columns(
            suggested=pl.Series(suggested),
            suggested_probability=pl.Series(probability[np.arange(len(suggested)), suggested]),
        )
        doubtful = (pl.col("suggested") >= 0) & (pl.col("suggested") != pl.col("label"))
        parts.append(named.filter(doubtful & (pl.col("predicted") != pl.col("label"))).drop("predicted"))
    found = pl.concat(parts).sort("margin", "index")
    kept = found if count is None else found.head(count)
    reasons = [
        _reason(predictions.classes, thresholds, label, suggested, float(own), float(other))
        for label, suggested, own, other in kept.select(
            "label", "suggested", "label_probability", "suggested_probability"
        ).iter_rows()
    ]
    return kept.select(
        "index",
        "label",
        "suggested",
        pl.col("label_probability").alias("self_confidence"),
        pl.col("margin").alias("normalised_margin"),
        ((1 - pl.col("margin").cast(pl.Float64)) / 2).alias("score"),
        pl.Series("reason", reasons, dtype=pl.String),
    )


def label_scores(
    predictions: Predictions, *, epochs: IntArray | None = None, others: Sequence[Predictions] = ()
) -> pl.DataFrame:
    """How doubtful every label is, most doubtful first; out-of-sample probabilities only.

    The score is a weighted mean of ranks, 0 to 1, 1 being the most doubtful of these rows: of self-confidence with a
    weight of 3, of the normalised margin (Northcutt 2021) with 1, and with 1 of what else is known: the share of the
    nearest train rows that have the label (`neighbours.join_neighbours`), the share of the epochs that predicted it,
    and its probability by each other model. No single score is best everywhere: self-confidence finds more of the
    labels that single people gave CIFAR-10, the margin more of those that cleanlab's test set has; ranks need no common
    scale.

    Parameters
    ----------
    epochs : int64 array (N, E), optional
        The predicted class of each row at each epoch, in the order of the predictions.
    others : sequence of Predictions
        Other models on the same rows, in the same order.

    Returns
    -------
    polars DataFrame
        index, label, predicted, score, suspect (whether `label_suspects` flags it), self_confidence, normalised_margin.
    """
    frame = predictions.columns("index", "label", "predicted", "label_probability", "margin")
    label = frame["label"].to_numpy()
    signals = [(SELF, frame["label_probability"]), (OTHER, frame["margin"])]
    if "neighbours_for_label" in predictions.table.collect_schema():
        near = predictions.columns("neighbours_for_label")["neighbours_for_label"]
        if near.dtype.is_numeric():
            signals.append((OTHER, near))
    if epochs is not None:
        signals.append((OTHER, pl.Series((epochs == label[:, None]).mean(1))))
    signals += [(OTHER, pl.Series(other.probability[np.arange(len(label)), label])) for other in others]
    total = sum(weight for weight, _ in signals)
    rank = sum((values.rank(descending=True) * (weight / total) for weight, values in signals), pl.zeros(len(frame)))
    flagged = label_suspects(predictions)["index"]
    return (
        frame.with_columns(score=rank / len(frame), suspect=pl.col("index").is_in(flagged.implode()))
        .sort(["score", "margin", "index"], descending=[True, False, False])
        .select(
            "index",
            "label",
            "predicted",
            "score",
            "suspect",
            pl.col("label_probability").alias("self_confidence"),
            pl.col("margin").alias("normalised_margin"),
        )
    )


def _reason(
    classes: tuple[str, ...], thresholds: FloatArray, label: int, suggested: int, own: float, other: float
) -> str:
    return (
        f"labelled {classes[label]}, which the model gives {own:.1%} (usual for that label: {thresholds[label]:.1%}), "
        f"but {classes[suggested]} gets {other:.1%}, at least what rows labelled {classes[suggested]} get on average "
        f"({thresholds[suggested]:.1%})"
    )


def out_of_sample(
    embedding: ProbabilityArray,
    label: IntArray,
    classes: tuple[str, ...],
    *,
    index: IntArray | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Predictions:
    """Probabilities of each row by a linear classifier trained on the other folds' embeddings.

    Logistic regression by scikit-learn on standardised embeddings ``(N, D)``, in ``folds`` stratified folds, so that
    train labels, too, can be judged by a model that has not seen them; ``index`` gives their row ids. The embedding
    itself was learnt with these labels: what the network memorised stays memorised, and doubtful labels are found less
    often than by folds of the whole network.

    Raises
    ------
    DataError
        If a class that occurs has fewer rows than ``folds``, or fewer than two classes occur.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    support = np.bincount(label, minlength=len(classes))
    present = support[support > 0]
    if folds < 2 or len(present) < 2 or present.min() < folds:
        raise DataError(
            f"out of sample: expected two classes or more with at least {max(folds, 2)} rows each, "
            f"not {len(present)} of which the smallest has {present.min()}"
        )
    probability = np.zeros((len(label), len(classes)), np.float32)
    for kept, held in StratifiedKFold(folds, shuffle=True, random_state=seed).split(embedding, label):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
        model.fit(embedding[kept], label[kept])
        probability[np.ix_(held, model.classes_)] = model.predict_proba(embedding[held])
    return Predictions.from_arrays(label, probability, classes, index=index, embedding=embedding)
