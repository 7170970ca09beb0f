"""Neighbours in embedding space: look-alikes, near-duplicates, what they vote for, how typical a row is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.errors import DataError

EXACT_UP_TO = 1_000_000
ALIKE = 0.995  # cosine similarity from which two images count as near-duplicates to look at
CELLS = 2**25  # similarities held at a time


@dataclass(frozen=True)
class Neighbours:
    """The ``k`` nearest reference rows of each query row, nearest first.

    ``places`` int64 ``(n, k)``: positions among the reference rows; ``similarity`` float32 ``(n, k)``: cosine
    similarity, -1 to 1. ``exact`` is False if an approximate index was used.
    """

    places: IntArray
    similarity: ProbabilityArray
    exact: bool


def unit(embedding: ProbabilityArray) -> ProbabilityArray:
    """The embeddings ``(N, D)`` with length 1, float32; a zero vector stays zero.

    Raises
    ------
    DataError
        If they are not a finite matrix.
    """
    values = np.ascontiguousarray(embedding, np.float32)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise DataError(f"embeddings: expected a finite matrix (N, D), not {values.shape}")
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


def nearest(
    query: ProbabilityArray,
    reference: ProbabilityArray,
    k: int = 5,
    *,
    exclude_self: bool = False,
    exact_up_to: int = EXACT_UP_TO,
) -> Neighbours:
    """The ``k`` reference rows of highest cosine similarity for each query row, nearest first.

    Exact, block by block, up to ``exact_up_to`` reference rows. Beyond that the reference rows are gathered
    around up to 4,096 centres (k-means by scikit-learn) and only the nearest of these are searched (an inverted
    file, Jégou et al. 2011, doi 10.1109/TPAMI.2010.57): a few true neighbours are missed.
    ``exclude_self`` omits the row at the same position, for a query that is its own reference.

    Raises
    ------
    DataError
        If the widths differ or there are fewer than ``k`` reference rows to choose from.
    """
    a, b = unit(query), unit(reference)
    if a.shape[1] != b.shape[1]:
        raise DataError(f"embeddings: expected {b.shape[1]} values a row as in the reference, not {a.shape[1]}")
    if not 1 <= k <= len(b) - exclude_self:
        raise DataError(f"neighbours: expected 1 to {len(b) - exclude_self} of {len(b)} reference rows, not {k}")
    if len(b) > exact_up_to:
        return _approximate(a, b, k, exclude_self)
    places = np.empty((len(a), k), np.int64)
    similarity = np.empty((len(a), k), np.float32)
    block = max(1, CELLS // len(b))
    for first in range(0, len(a), block):
        scores = np.clip(a[first : first + block] @ b.T, -1, 1)
        if exclude_self:
            here = np.arange(len(scores))
            scores[here, first + here] = -np.inf
        places[first : first + block], similarity[first : first + block] = _best(scores, k)
    return Neighbours(places, similarity, exact=True)


def _best(scores: ProbabilityArray, k: int) -> tuple[IntArray, ProbabilityArray]:
    """Columns and values of the ``k`` highest scores of each row, highest first."""
    found = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    found.sort(axis=1)
    values = np.take_along_axis(scores, found, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(found, order, 1), np.take_along_axis(values, order, 1)


def _approximate(a: ProbabilityArray, b: ProbabilityArray, k: int, exclude_self: bool) -> Neighbours:
    from sklearn.cluster import MiniBatchKMeans

    count = int(min(4096, max(1, np.sqrt(len(b)))))
    centres = MiniBatchKMeans(count, batch_size=16_384, n_init=1, max_iter=20, random_state=0).fit(
        b[:: max(1, len(b) // 500_000)]
    )
    home = np.concatenate([centres.predict(b[f : f + 2**18]) for f in range(0, len(b), 2**18)])
    order = np.argsort(home, kind="stable")
    starts = np.searchsorted(home[order], np.arange(count + 1))
    probes = min(count, 16)
    middle = unit(centres.cluster_centers_)
    block = max(1, CELLS // count)
    visited = np.concatenate([_best(a[f : f + block] @ middle.T, probes)[0] for f in range(0, len(a), block)])
    places = np.empty((len(a), k), np.int64)
    similarity = np.empty((len(a), k), np.float32)
    for row, cells in enumerate(visited):
        candidates = np.concatenate([order[starts[c] : starts[c + 1]] for c in cells])
        if exclude_self:
            candidates = candidates[candidates != row]
        if len(candidates) < k:
            candidates = np.setdiff1d(np.arange(len(b)), [row] if exclude_self else [])
        candidates.sort()
        best, values = _best(np.clip(b[candidates] @ a[row], -1, 1)[None], k)
        places[row], similarity[row] = candidates[best[0]], values[0]
    return Neighbours(places, similarity, exact=False)


def neighbour_votes(neighbours: Neighbours, reference_labels: IntArray, classes: int) -> FloatArray:
    """Shares of the neighbours' labels, each neighbour with equal weight, float64 ``(n, classes)``."""
    labels = reference_labels[neighbours.places]
    shares = np.zeros((len(labels), classes))
    for column in labels.T:
        shares[np.arange(len(labels)), column] += 1
    return np.asarray(shares / labels.shape[1])


def typicality(
    query: ProbabilityArray,
    label: IntArray,
    reference: ProbabilityArray,
    reference_labels: IntArray,
    *,
    k: int = 10,
) -> FloatArray:
    """How near a row lies to the train rows of its class, float64 ``(n,)``, 0 to 1; nan for a class without any.

    The mean cosine similarity to the ``k`` nearest reference rows of its class, as its rank among the same figure
    of the class's own reference rows (each without itself): 0.05 means that 95 % of the train rows of its class
    have closer neighbours. The distance to the k nearest is the outlier score of Ramaswamy et al. 2000, doi
    10.1145/335191.335437.
    """
    ranks = np.full(len(label), np.nan)
    for c in np.unique(label):
        members = reference[reference_labels == c]
        if len(members) < 2:
            continue
        few = min(k, len(members) - 1)
        own = np.sort(nearest(members, members, few, exclude_self=True).similarity.mean(1))
        mine = nearest(query[label == c], members, few).similarity.mean(1)
        ranks[label == c] = np.searchsorted(own, mine, side="right") / len(own)
    return ranks


def join_neighbours(predictions: Predictions, reference: Predictions, *, k: int = 10) -> Predictions:
    """The predictions with their nearest neighbours among the reference rows, such as those of the train split.

    Added columns: ``nearest_row``, ``nearest_label`` and ``nearest_similarity`` (of the nearest reference row),
    ``neighbours_for_label`` (share of the ``k`` nearest that have the row's label), ``typicality``, and
    ``familiarity``, 0 to 1: the mean similarity to the ``k`` nearest reference rows of any class, as its rank among
    that of all the predictions' rows (0.05: 95 % of them have closer neighbours). Rows are ranked among themselves, not
    among train rows, as a model pulls the rows that it was trained on closer together than new ones.

    Raises
    ------
    DataError
        If either has no embeddings, or their widths or classes differ.
    """
    if predictions.classes != reference.classes:
        raise DataError("neighbours: expected reference rows of the same classes")
    query, base = predictions.embedding, reference.embedding
    if query is None or base is None:
        raise DataError(
            "neighbours: expected predictions with embeddings on both sides: predict again with a model that has a "
            "linear head, or add an `embedding` column"
        )
    here, there = predictions.provenance, reference.provenance
    if here.checkpoint and there.checkpoint and here.checkpoint != there.checkpoint:
        raise DataError("neighbours: the reference rows were predicted with other weights: predict them with the same")
    same = here.data is not None and here.data == there.data
    found = nearest(query, base, min(k, len(base) - same), exclude_self=same)
    votes = neighbour_votes(found, reference.label, len(reference.classes))
    near = found.similarity.mean(1)
    columns = pl.DataFrame(
        {
            "index": predictions.index,
            "nearest_row": reference.index[found.places[:, 0]],
            "nearest_label": reference.label[found.places[:, 0]],
            "nearest_similarity": found.similarity[:, 0],
            "neighbours_for_label": votes[np.arange(len(votes)), predictions.label],
            "typicality": typicality(query, predictions.label, base, reference.label, k=k),
            "familiarity": np.searchsorted(np.sort(near), near, side="right") / len(near),
        }
    ).with_columns(pl.col("typicality").fill_nan(None))
    return predictions.join(columns)


def distance_ranks(
    query: ProbabilityArray,
    reference: ProbabilityArray,
    *,
    k: int = 10,
    same: bool = False,
    most: int = 20_000,
    seed: int = 0,
) -> FloatArray:
    """How unusual a row's distance to the reference rows is among their own, float64 ``(n,)``, 0 to 1.

    The mean cosine similarity to the ``k`` nearest reference rows, as the share of reference rows whose own (each
    without itself) is at most as high: the p-value of a conformal test with this score (Bates et al. 2023, doi
    10.1214/22-AOS2244), uniform for a row that is exchangeable with them. Of more than ``most`` reference rows a random
    sample is ranked among. ``same``: the rows are the reference rows themselves.
    """
    few = min(k, len(reference) - 1)
    if few < 1:
        return np.ones(len(query))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(reference))[:most])
    # a row's own match is its nearest: one neighbour more, less the first
    own = np.sort(nearest(reference[chosen], reference, few + 1).similarity[:, 1:].mean(1))
    mine = nearest(query, reference, few + same).similarity[:, int(same) :].mean(1)
    return np.asarray((np.searchsorted(own, mine, side="right") + 1) / (len(own) + 1))
