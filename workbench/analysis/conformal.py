"""Sets of classes that hold the label with a promised frequency, and what has to go to a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.statistics import proportion
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray, Rate
from workbench.errors import DataError

Score = Literal["lac", "aps"]


@dataclass(frozen=True)
class Sets:
    """Conformal sets, judged on rows that they were not calibrated on.

    ``coverage``: how often a set holds the label, by class ``(K,)``; ``overall`` its value over all rows; ``size`` the
    mean number of classes in a set; ``places`` int64 ``(n,)`` the positions of the judged rows, ``member`` bool
    ``(n, K)`` their sets.
    """

    coverage: Rate
    overall: float
    size: float
    places: IntArray
    member: NDArray[np.bool_]


def conformal_sets(
    predictions: Predictions,
    *,
    promise: float = 0.95,
    score: Score = "lac",
    by_class: bool = False,
    most_rows: int = 100_000,
    seed: int = 0,
) -> Sets:
    """Split conformal sets: calibrated on a random half of the rows, judged on the other.

    Scores: ``lac``, one less the class's probability (Sadinle, Lei & Wasserman 2019, arXiv 1609.00451); ``aps``, the
    probability of all classes up to it, from the most probable on, with a random share of that class (Romano, Sesia &
    Candès 2020, arXiv 2006.02544). A class is in the set if its score is at most the calibration rows'
    ``ceil((n + 1) promise)``-th smallest, which promises marginal coverage; ``by_class`` takes that of each class's own
    rows (Vovk 2012, arXiv 1209.2673) and promises it class by class.

    Raises
    ------
    DataError
        If there are no probabilities, fewer than four rows, or ``promise`` is not between 0 and 1.
    """
    predictions.require_probabilities("a conformal set")
    if not 0 < promise < 1:
        raise DataError(f"promise: expected a share between 0 and 1, not {promise}")
    if len(predictions) < 4:
        raise DataError(f"conformal sets: expected at least 4 rows, not {len(predictions)}")
    generator = np.random.default_rng(seed)
    drawn = generator.permutation(len(predictions))[:most_rows]
    part = predictions.take(drawn)
    label, probability = part["label"].to_numpy(), part["probability"].to_numpy().astype(np.float64)
    scores = _scores(probability, score, generator)
    half = len(label) // 2
    own = scores[np.arange(len(label)), label]
    classes = len(predictions.classes)
    if by_class:
        limits = np.array([_quantile(own[:half][label[:half] == k], promise) for k in range(classes)])
    else:
        limits = np.full(classes, _quantile(own[:half], promise))
    member = scores[half:] <= limits[None]
    truth = label[half:]
    hit = member[np.arange(len(truth)), truth]
    rate = proportion(np.bincount(truth, hit, classes).astype(np.int64), np.bincount(truth, minlength=classes))
    return Sets(rate, float(hit.mean()), float(member.sum(1).mean()), drawn[half:], member)


def _scores(probability: FloatArray, score: Score, generator: np.random.Generator) -> FloatArray:
    if score == "lac":
        return 1 - probability
    order = np.argsort(-probability, axis=1, kind="stable")
    ordered = np.take_along_axis(probability, order, 1)
    before = np.cumsum(ordered, 1) - ordered * generator.random((len(ordered), 1))
    found = np.empty_like(before)
    np.put_along_axis(found, order, before, 1)
    return found


def _quantile(scores: FloatArray, promise: float) -> float:
    place = int(np.ceil((len(scores) + 1) * promise))
    return float(np.sort(scores)[place - 1]) if place <= len(scores) else np.inf


@dataclass(frozen=True)
class Review:
    """What has to be checked by a person so that the rest is correct with ``promise``.

    ``threshold``: rows of at least this confidence need no person; ``share`` of the rows that go to one and
    ``accuracy`` of the others, both on rows that the threshold was not chosen on, with the 95 % interval of the
    accuracy. nan and a share of 1 if no threshold keeps the promise.
    """

    promise: float
    threshold: float
    share: float
    accuracy: float
    low: float
    high: float


def review_load(predictions: Predictions, *, promise: float = 0.95, seed: int = 0) -> Review:
    """The lowest threshold of confidence above which accuracy is at least ``promise`` on a half, judged on the other.

    Selective classification (Geifman & El-Yaniv 2017, arXiv 1705.08500), without their bound: the other half tells
    how well the promise is kept.

    Raises
    ------
    DataError
        If there are no probabilities, or fewer than four rows.
    """
    if len(predictions) < 4:
        raise DataError(f"review: expected at least 4 rows, not {len(predictions)}")
    frame = predictions.columns("confidence", "correct")
    order = np.random.default_rng(seed).permutation(len(frame))
    confidence, correct = (frame[name].to_numpy()[order] for name in ("confidence", "correct"))
    half = len(order) // 2
    ranked = np.argsort(-confidence[:half], kind="stable")
    values = confidence[:half][ranked]
    accuracy = np.cumsum(correct[:half][ranked]) / np.arange(1, half + 1)
    ends = np.append(np.flatnonzero(np.diff(values)), half - 1)  # rows of equal confidence are kept together
    kept = ends[accuracy[ends] >= promise]
    if not len(kept):
        return Review(promise, np.nan, 1.0, np.nan, 0.0, 1.0)
    threshold = float(values[kept[-1]])
    sure = confidence[half:] >= threshold
    rate = proportion(np.array([correct[half:][sure].sum()]), np.array([sure.sum()]))
    return Review(promise, threshold, float(1 - sure.mean()), *(float(x[0]) for x in (rate.value, rate.low, rate.high)))
