"""Which labels are doubtful: confident learning on out-of-sample probabilities. Nothing is ever deleted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.errors import DataError


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
    the highest probability (Northcutt 2021, "prune by confident joint" before pruning). They are ordered by
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
    for part in predictions.batches("index", "label", "label_probability", "margin", "probability"):
        probability = part["probability"].to_numpy()
        suggested = confident_class(probability, thresholds)
        named = part.drop("probability").with_columns(
            suggested=pl.Series(suggested),
            suggested_probability=pl.Series(probability[np.arange(len(suggested)), suggested]),
        )
        parts.append(named.filter((pl.col("suggested") >= 0) & (pl.col("suggested") != pl.col("label"))))
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
