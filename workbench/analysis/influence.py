"""Which train images brought an answer about: influence through the last layer, and its proof by leaving them out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from workbench.analysis.statistics import paired_interval
from workbench.core.directions import principal_directions
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.errors import DataError

CELLS = 2**24  # scores held at a time
WIDTH = 64
TOP = 20


@dataclass(frozen=True)
class Influence:
    """The train rows with most influence on the lead of one class over another, for ``n`` rows.

    ``rows`` int64 ``(n,)``; ``speaks_for`` and ``speaks_against`` int64 ``(n, k)``: ids of the train rows that raise
    the lead most and that lower it most, the strongest first, with their scores float64 ``(n, k)``. A score is the
    change of the lead by a step of gradient descent on that train row alone, for a step of size 1 of the last layer.
    """

    rows: IntArray
    of: IntArray
    over: IntArray
    speaks_for: IntArray
    for_scores: FloatArray
    speaks_against: IntArray
    against_scores: FloatArray


def influence(test: Predictions, train: Predictions, rows: IntArray, *, top: int = TOP) -> Influence:
    """The train rows that speak for the predicted class over the true one, for misclassified ``rows``.

    TracIn (Pruthi et al. 2020, arXiv 2002.08484, section 3) in closed form for a linear last layer with the cross
    entropy: the gradient of a row's loss is residual times feature, so that a step on train row j changes the lead of
    class a over b at row i by ``((y_j - p_j)_a - (y_j - p_j)_b) (f_j . f_i + 1)``, the 1 for the bias. It takes the
    model as it is at the end of training, one checkpoint, and leaves out how the features came about.

    Parameters
    ----------
    test, train : Predictions
        With embeddings, the input of the last layer, of the same model and classes.
    rows : int64 array (n,)
        Ids of misclassified rows of ``test``.
    top : int
        How many train rows on each side.

    Raises
    ------
    DataError
        If embeddings are missing or of different widths, classes differ, a row is correct, or there are fewer than
        ``top`` train rows.
    """
    features, reference = _embeddings(test, train)
    if not 1 <= top <= len(train):
        raise DataError(f"influence: expected 1 to {len(train)} train rows, not {top}")
    places = np.array([test.position(int(row)) for row in rows])
    if test.correct[places].any():
        raise DataError(
            f"influence: expected misclassified rows, and row {int(rows[test.correct[places]][0])} is correct"
        )
    of, over = test.predicted[places], test.label[places]
    residual = residuals(train)
    best = np.empty((2, len(rows), top), np.int64)
    scores = np.empty((2, len(rows), top))
    block = max(1, CELLS // len(train))
    for first in range(0, len(rows), block):
        part = slice(first, first + block)
        found = lead_scores(features[places[part]], of[part], over[part], reference, residual)
        for side, sign in enumerate((-1, 1)):
            nearest = np.argpartition(sign * found, top - 1, axis=1)[:, :top]
            values = np.take_along_axis(found, nearest, axis=1)
            order = np.argsort(sign * values, axis=1, kind="stable")
            best[side, part] = train.index[np.take_along_axis(nearest, order, axis=1)]
            scores[side, part] = np.take_along_axis(values, order, axis=1)
    return Influence(np.asarray(rows), of, over, best[0], scores[0], best[1], scores[1])


def residuals(predictions: Predictions) -> ProbabilityArray:
    """Label less probability, float32 ``(N, K)``: minus the gradient of each row's cross entropy by its logits."""
    found = -np.asarray(predictions.probability, np.float32)
    found[np.arange(len(found)), predictions.label] += 1
    return found


def lead_scores(
    features: ProbabilityArray, of: IntArray, over: IntArray, reference: ProbabilityArray, residual: ProbabilityArray
) -> ProbabilityArray:
    """The influence of each train row on the lead of a class over another, float32 ``(n, N)`` (see `influence`).

    ``features`` ``(n, D)`` with classes ``of`` and ``over`` ``(n,)``; of the train rows ``reference`` ``(N, D)`` and
    ``residual`` ``(N, K)``.
    """
    steps = residual.T[of] - residual.T[over]
    return np.asarray(steps * (features @ reference.T + 1), np.float32)


@dataclass(frozen=True)
class Removal:
    """What became of rows when the last layer was fitted again without their most influential train rows.

    float64 or bool ``(n,)``: ``before`` and ``after``, the lead of the predicted class over the true one; ``random``,
    the lead after as many train rows of the predicted class drawn at random were left out; ``forecast`` of the change,
    by influence functions; ``scores``, minus the sum of the removed rows' scores; ``changed`` and
    ``changed_at_random``, whether the answer is another.
    """

    rows: IntArray
    before: FloatArray
    after: FloatArray
    random: FloatArray
    forecast: FloatArray
    scores: FloatArray
    changed: NDArray[np.bool_]
    changed_at_random: NDArray[np.bool_]

    def correlation(self, of: FloatArray) -> float:
        """Spearman's correlation of ``forecast`` or ``scores`` with the change; nan for fewer than three rows."""
        return float("nan") if len(of) < 3 else float(scipy.stats.spearmanr(of, self.after - self.before).statistic)

    @property
    def excess(self) -> tuple[float, float, float]:
        """By how much more the lead falls than without random rows, with its 95 % interval over the rows."""
        return paired_interval(self.random - self.after)

    def __str__(self) -> str:
        mean, low, high = self.excess
        return (
            f"fitted again without the train rows that speak most for it, the answer changes in "
            f"{self.changed.mean():.0%} of {len(self.rows)} rows ({self.changed_at_random.mean():.0%} without random "
            f"ones); its lead falls by {mean:.2f} more ({low:.2f} to {high:.2f}); rank correlation of the change with "
            f"its forecast {self.correlation(self.forecast):.2f}, with the scores {self.correlation(self.scores):.2f}"
        )


def refit_without(
    test: Predictions, train: Predictions, found: Influence, *, penalty: float = 1e-4, width: int = WIDTH, seed: int = 0
) -> Removal:
    """The proof of influence: the last layer fitted again without each row's ``speaks_for``, and without random rows.

    Multinomial logistic regression of the train labels on the embeddings in ``width`` principal directions
    (`core.directions.principal_directions`; scikit-learn, L-BFGS), with an L2 ``penalty`` per row; each fit begins at
    that of all rows. The forecast is the first-order change at that fit, by its Hessian (influence functions, Koh &
    Liang 2017, arXiv 1703.04730). The features stay as they are, so that this tests what the last layer learnt from
    these rows, not what the network would be without them.

    Raises
    ------
    DataError
        As `influence`; or if there are fewer than three classes, or one has no train row.
    """
    own, trained = (np.asarray(one, np.float32) for one in _embeddings(test, train))
    directions = principal_directions(trained, width)
    features, reference = own @ directions, trained @ directions
    label, everything = train.label, np.ones(len(train), bool)
    if (count := len(np.unique(label))) < max(3, len(train.classes)):
        raise DataError(
            f"refit: expected three classes or more, each with train rows, not {len(train.classes)}, {count} with rows"
        )
    places = np.array([test.position(int(row)) for row in found.rows])
    generator, order = np.random.default_rng(seed), np.argsort(train.index, kind="stable")
    start = _fitted(reference, label, everything, penalty, None)
    hessian, gradients = _curvature(start, reference, label, penalty)
    leads, answers, forecast = [], [], []
    for k, place in enumerate(places):
        removed = order[np.searchsorted(train.index, found.speaks_for[k], sorter=order)]
        same = np.flatnonzero(label == found.of[k])
        drawn = generator.choice(same, min(len(removed), len(same)), replace=False)
        fits = [_fitted(reference, label, _without(everything, one), penalty, start) for one in (removed, drawn)]
        point = np.append(features[place], 1.0)
        logits = np.stack([weights @ point for weights in (start, *fits)])
        lead = np.zeros_like(start)
        lead[found.of[k]], lead[found.over[k]] = point, -point
        moved = np.linalg.solve(hessian, _gradient_of(gradients, reference, removed)) / len(label)
        leads.append(logits[:, found.of[k]] - logits[:, found.over[k]])
        answers.append(logits.argmax(1))
        forecast.append(float(lead.ravel() @ moved))
    (before, after, random), (first, second, third) = np.array(leads, np.float64).T, np.array(answers).T
    scores = -found.for_scores.sum(1)
    return Removal(found.rows, before, after, random, np.array(forecast), scores, second != first, third != first)


def _curvature(
    weights: FloatArray, features: ProbabilityArray, label: IntArray, penalty: float
) -> tuple[FloatArray, FloatArray]:
    """The Hessian of the mean cross entropy with its penalty, over classes times features, and residuals ``(N, K)``."""
    points = np.column_stack([features, np.ones(len(features), np.float32)])
    logits = points @ weights.T
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    classes, width = weights.shape
    found = np.empty((classes, width, classes, width))
    for a in range(classes):
        for b in range(a, classes):
            weight = shares[:, a] * ((a == b) - shares[:, b])
            found[a, :, b] = found[b, :, a] = (points * weight[:, None]).T @ points / len(points)
    ridge = np.full((classes, width), penalty)
    ridge[:, -1] = 1e-8  # the bias has no penalty, and a shift of all of them changes nothing
    shares[np.arange(len(shares)), label] -= 1
    return found.reshape(classes * width, -1) + np.diag(ridge.ravel()), shares


def _gradient_of(residual: FloatArray, features: ProbabilityArray, places: IntArray) -> FloatArray:
    """The summed gradient of some rows' cross entropy by weights and biases, flat."""
    points = np.column_stack([features[places], np.ones(len(places))])
    return np.asarray((residual[places].T @ points).ravel())


def _without(mask: NDArray[np.bool_], places: IntArray) -> NDArray[np.bool_]:
    left = mask.copy()
    left[places] = False
    return left


def _fitted(
    features: ProbabilityArray, label: IntArray, kept: NDArray[np.bool_], penalty: float, start: FloatArray | None
) -> FloatArray:
    """Weights and biases ``(K, D + 1)`` of a multinomial logistic regression."""
    from sklearn.linear_model import LogisticRegression

    count = int(kept.sum())
    model = LogisticRegression(C=1 / (penalty * count), max_iter=300, tol=1e-5, warm_start=True)
    if start is not None:
        model.coef_, model.intercept_ = start[:, :-1].copy(), start[:, -1].copy()
        model.classes_ = np.arange(len(start))
    model.fit(features[kept], label[kept])
    return np.column_stack([model.coef_, model.intercept_])


def _embeddings(test: Predictions, train: Predictions) -> tuple[ProbabilityArray, ProbabilityArray]:
    if test.embedding is None or train.embedding is None:
        raise DataError("influence: expected predictions with embeddings of the test and the train rows")
    if test.classes != train.classes or test.embedding.shape[1] != train.embedding.shape[1]:
        raise DataError("influence: expected test and train predictions of one model, with the same classes and width")
    return test.embedding, train.embedding
