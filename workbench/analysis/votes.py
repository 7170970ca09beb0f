"""Human labels of the same images, compared with the model's predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.analysis.statistics import proportion
from workbench.core.arrays import read_matrix
from workbench.core.predictions import Predictions
from workbench.core.records import ConfusionMatrix, Rate
from workbench.errors import DataError

AMBIGUOUS_BITS = 1.0
VOTES = "votes"


def read_votes(path: Path) -> NDArray[np.generic]:
    """The matrix of votes in a ``.npy`` file; row i belongs to row id i. `DataError` as `core.arrays.read_matrix`."""
    return read_matrix(path)


def join_votes(predictions: Predictions, votes: ArrayLike) -> Predictions:
    """The predictions with the human labels of each row.

    ``votes`` is ``(M, K)``, counts or shares, and its row i belongs to row id i. Added columns: ``votes``, shares
    as an array of K float64; ``votes_top``, the class with most of them (among equals the label, else the first);
    ``votes_for_label``, the label's share; ``votes_entropy``, their entropy in bits; ``votes_count``, their number
    (null for shares); ``soft_loss``, cross entropy ``-sum_k share[k] log P[k]`` in nats (Peterson et al. 2019,
    arXiv 1908.07086).

    Raises
    ------
    DataError
        If the matrix does not fit the classes or row ids, or a row has a negative value or no vote.
    """
    matrix = np.asarray(votes)
    if matrix.ndim != 2 or matrix.shape[1] != len(predictions.classes) or matrix.dtype.kind not in "iuf":
        raise DataError(
            f"votes: expected numbers (rows, {len(predictions.classes)}), not {matrix.dtype} {matrix.shape}"
        )
    index = predictions.index
    if int(index.min()) < 0 or int(index.max()) >= len(matrix):
        raise DataError(f"votes: expected a row for each row id up to {index.max()}, not {len(matrix)} rows")
    counts = matrix[index].astype(np.float64)
    totals = counts.sum(1)
    if not np.isfinite(counts).all() or (counts < 0).any() or (totals <= 0).any():
        raise DataError("votes: expected values of at least 0 and at least one vote a row")
    shares = counts / totals[:, None]
    for_label = np.take_along_axis(shares, predictions.label[:, None], 1)[:, 0]
    safe = np.where(shares > 0, shares, 1.0)
    log_p = np.log(np.maximum(predictions.probability, np.finfo(np.float32).smallest_subnormal).astype(np.float64))
    columns = pl.DataFrame(
        {
            "index": index,
            VOTES: pl.Series(shares, dtype=pl.Array(pl.Float64, shares.shape[1])),
            "votes_top": np.where(for_label == shares.max(1), predictions.label, shares.argmax(1)),
            "votes_for_label": for_label,
            "votes_entropy": -(shares * np.log2(safe)).sum(1),
            "votes_count": totals.astype(np.int64) if matrix.dtype.kind in "iu" else None,
            "soft_loss": -(shares * log_p).sum(1),
        },
        schema_overrides={"votes_count": pl.Int64},
    )
    return predictions.join(columns)


def _with_votes(predictions: Predictions) -> pl.LazyFrame:
    if VOTES not in predictions.table.collect_schema():
        raise DataError("these predictions have no votes: join them first (join_votes)")
    return predictions.scan()


def ambiguous(predictions: Predictions, *, bits: float = AMBIGUOUS_BITS) -> pl.DataFrame:
    """Rows on which human labels disagree: entropy of the votes at least ``bits`` (1: an even split over two classes).

    Columns: index, label, predicted, correct, confidence, votes_top, votes_for_label, votes_entropy; highest
    entropy first. `DataError` without votes.
    """
    kept = _with_votes(predictions).filter(pl.col("votes_entropy") >= bits)
    columns = ("index", "label", "predicted", "correct", "confidence", "votes_top", "votes_for_label", "votes_entropy")
    return kept.select(columns).sort(["votes_entropy", "index"], descending=[True, False]).collect()


def human_confusion(predictions: Predictions, *, majority: bool = True) -> ConfusionMatrix:
    """The confusion matrix of human labels, counts int64 ``(K, K)``: rows are labels, columns the majority's class.

    Without ``majority`` every single vote counts, which needs counts of votes. `DataError` without votes.
    """
    table, classes = _with_votes(predictions), len(predictions.classes)
    counts = np.zeros((classes, classes), np.int64)
    if majority:
        cells = table.group_by("label", "votes_top").len().collect()
        counts[cells["label"].to_numpy(), cells["votes_top"].to_numpy()] = cells["len"].to_numpy()
        return ConfusionMatrix(counts, predictions.classes)
    frame = table.select("label", VOTES, "votes_count").collect()
    if frame["votes_count"].null_count():
        raise DataError("single votes: expected counts of votes, not shares")
    single = np.rint(frame[VOTES].to_numpy() * frame["votes_count"].to_numpy()[:, None]).astype(np.int64)
    np.add.at(counts, frame["label"].to_numpy(), single)
    return ConfusionMatrix(counts, predictions.classes)


def shared_errors(predictions: Predictions) -> Rate:
    """Shares of the model's errors: those where the majority misses the label too, and where it agrees with the model.

    Arrays of two, with 95 % Wilson intervals. `DataError` without votes.
    """
    wrong = _with_votes(predictions).filter(~pl.col("correct"))
    row = wrong.select(
        missed=(pl.col("votes_top") != pl.col("label")).sum(), same=(pl.col("votes_top") == pl.col("predicted")).sum()
    )
    hits = np.array(row.collect().row(0), np.int64)
    return proportion(hits, np.full(2, predictions.error_count))


def soft_cross_entropy(predictions: Predictions) -> float:
    """Mean of ``soft_loss`` in nats; `DataError` without votes."""
    return float(_with_votes(predictions).select(pl.col("soft_loss").mean()).collect().item())
