"""How well exchanged labels would be found: by exchanging some and looking for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from workbench.analysis.labels import OTHER, SELF
from workbench.analysis.statistics import percentile_interval
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.errors import DataError

MOST_ROWS, REPEATS = 20_000, 20


@dataclass(frozen=True)
class Precision:
    """The share of planted labels among the ``tops`` ``(m,)`` most doubtful ones, with a 95 % interval, ``(m,)`` each.

    ``planted``: the share of labels that were exchanged.
    """

    tops: tuple[int, ...]
    planted: float
    value: FloatArray
    low: FloatArray
    high: FloatArray


def expected_precision(
    predictions: Predictions, *, share: float = 0.01, tops: Sequence[int] = (10, 50, 100), seed: int = 0
) -> Precision:
    """Precision at the top of `labels.label_scores`, if ``share`` of the labels were exchanged.

    Labels of random rows are exchanged for classes drawn in proportion to the mean probability that rows with that
    label give them, so along the model's confusions, and all are scored by the ranks of self-confidence and
    margin. Planted labels count as wrong and all others as correct: where some of those are wrong, too, precision is
    higher than this. Means and percentiles over 20 plantings; of more than 20,000 rows a random sample of that size.

    Raises
    ------
    DataError
        If there are no probabilities, or ``share`` would exchange no label or all.
    """
    predictions.require_probabilities("a score of labels")
    generator = np.random.default_rng(seed)
    places = np.sort(generator.permutation(len(predictions))[:MOST_ROWS])
    part = predictions.take(places)
    label, probability = part["label"].to_numpy(), part["probability"].to_numpy()
    count = round(share * len(label))
    if not 0 < count < len(label):
        raise DataError(f"planting: expected a share of {len(label)} labels that is some of them, not {share}")
    chances = _confusions(label, probability)
    kept = tuple(top for top in tops if top <= len(label))
    found = np.empty((REPEATS, len(kept)))
    for repeat in range(REPEATS):
        rows = generator.permutation(len(label))[:count]
        given = label.copy()
        draw = generator.random(count)[:, None]
        given[rows] = np.minimum((chances[label[rows]].cumsum(1) < draw).sum(1), chances.shape[1] - 1)
        planted = np.zeros(len(label), bool)
        planted[rows] = True
        order = np.argsort(-_scores(given, probability), kind="stable")
        found[repeat] = [planted[order[:top]].mean() for top in kept]
    return Precision(kept, count / len(label), found.mean(0), *percentile_interval(found))


def _confusions(label: IntArray, probability: ProbabilityArray) -> FloatArray:
    """The chance of each other class for a label, ``(K, K)``, rows summing to 1."""
    classes = probability.shape[1]
    sums = np.zeros((classes, classes))
    np.add.at(sums, label, probability.astype(np.float64))
    np.fill_diagonal(sums, 0)
    sums += 1e-12 * (1 - np.eye(classes))
    return np.asarray(sums / sums.sum(1, keepdims=True))


def _scores(label: IntArray, probability: ProbabilityArray) -> FloatArray:
    rows = np.arange(len(label))
    own = probability[rows, label]
    others = probability.copy()
    others[rows, label] = -1
    return np.asarray(-(SELF * scipy.stats.rankdata(own) + OTHER * scipy.stats.rankdata(own - others.max(1))))
