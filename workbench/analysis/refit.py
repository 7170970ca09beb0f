"""The last layer fitted again on features that stay as they are, with other labels, weights or rows."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from workbench.core.directions import principal_directions
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.errors import DataError

WIDTH, PENALTY, TOLERANCE, ROUNDS = 64, 0.01, 1e-6, 1000


class FrozenFeatures:
    """A model's features of train and judged rows, on which its last layer can be fitted again.

    Multinomial logistic regression (scikit-learn, L-BFGS) on the features in ``width`` principal directions, each
    divided by its standard deviation, with an L2 ``penalty`` per row, fitted until no part of the mean gradient exceeds
    1e-6: a few rows among many move it by little more than that. The features were learnt with the train rows as they
    were, so that a refit shows what the last layer alone makes of a change. Of two classes the judged predictions'
    threshold decides.

    Parameters
    ----------
    test, train : Predictions
        With embeddings, the input of the last layer, of the same model and classes.

    Raises
    ------
    DataError
        If embeddings are missing or of different widths, classes differ, or a class has no train row.
    """

    def __init__(self, test: Predictions, train: Predictions, *, width: int = WIDTH, penalty: float = PENALTY) -> None:
        if test.embedding is None or train.embedding is None:
            raise DataError("refit: expected predictions with embeddings of the judged and the train rows")
        if test.classes != train.classes or test.embedding.shape[1] != train.embedding.shape[1]:
            raise DataError("refit: expected judged and train predictions of one model: same classes, same width")
        counts = np.bincount(train.label, minlength=len(train.classes))
        if not counts.all():
            raise DataError(
                f"refit: expected train rows of every class; {train.classes[int(counts.argmin())]} has none: give "
                "predictions on train rows of each"
            )
        self.label, self.classes, self.penalty = train.label, train.classes, penalty
        self.predicted, self.threshold = test.predicted, test.provenance.threshold
        self._directions = principal_directions(train.embedding, min(width, train.embedding.shape[1]))
        own = np.asarray(train.embedding, np.float32) @ self._directions
        deviation = own.std(0)
        # a direction that does not vary says nothing
        self._scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 1e-6 * deviation.max())
        self._mean = own.mean(0)
        self.train, self.test = (own - self._mean) * self._scale, self.of(test.embedding)

    def of(self, embedding: ProbabilityArray) -> ProbabilityArray:
        """Embeddings ``(n, D)`` in the directions of the fits, float32 ``(n, width)``."""
        return np.asarray((np.asarray(embedding, np.float32) @ self._directions - self._mean) * self._scale, np.float32)

    @cached_property
    def _as_it_is(self) -> Any:
        """The last layer fitted with the train rows as they are; other fits begin there."""
        return last_layer(self.train, self.label, np.ones(len(self.label)), self.penalty)

    @cached_property
    def before(self) -> IntArray:
        """The judged rows' answers by the last layer fitted with the train rows as they are, int64 ``(n,)``."""
        return self._answers(self._as_it_is)

    def out_of_fold(self, folds: int = 5, seed: int = 0) -> ProbabilityArray:
        """Probabilities of the train rows by last layers fitted without them, float32 ``(N, K)``.

        Stratified folds; the features have seen the rows, the last layer has not.

        Raises
        ------
        DataError
            If a class has fewer train rows than folds.
        """
        from sklearn.model_selection import StratifiedKFold

        counts = np.bincount(self.label)
        if counts.min() < folds:
            few = self.classes[int(counts.argmin())]
            raise DataError(f"refit: expected at least {folds} train rows of each class; {few} has {counts.min()}")
        found = np.zeros((len(self.label), len(self.classes)), np.float32)
        for kept, held in StratifiedKFold(folds, shuffle=True, random_state=seed).split(self.train, self.label):
            head = last_layer(self.train[kept], self.label[kept], np.ones(len(kept)), self.penalty)
            found[held] = head.predict_proba(self.train[held])
        return found

    def answers(
        self,
        label: IntArray | None = None,
        weight: FloatArray | None = None,
        *,
        more: tuple[ProbabilityArray, IntArray, FloatArray] | None = None,
    ) -> IntArray:
        """The answers of the last layer fitted again, int64 ``(n,)``.

        Parameters
        ----------
        label, weight : array (N,), optional
            Of the train rows in the fit; a weight of 0 leaves a row out.
        more : (features (m, width), labels (m,), weights (m,)), optional
            Further rows to fit.

        Raises
        ------
        DataError
            If a class is left without a row.
        """
        label = self.label if label is None else label
        weight = np.ones(len(label)) if weight is None else np.asarray(weight, np.float64)
        kept = np.flatnonzero(weight > 0)
        features, label, weight = self.train[kept], label[kept], weight[kept]
        if more is not None:
            features, label = np.concatenate([features, more[0]]), np.concatenate([label, more[1]])
            weight = np.concatenate([weight, more[2]])
        counts = np.bincount(label, minlength=len(self.classes))
        if not counts.all():
            raise DataError(
                f"refit: expected train rows of every class, and {self.classes[int(counts.argmin())]} has none left"
            )
        head = last_layer(features, label, weight, self.penalty, start=self._as_it_is)
        return self._answers(head)

    def _answers(self, head: Any) -> IntArray:
        if self.threshold is None:
            return np.asarray(head.predict(self.test), np.int64)
        return np.asarray(head.predict_proba(self.test)[:, 1] >= self.threshold, np.int64)

    @property
    def agreement(self) -> float:
        """The share of the judged rows on which the refitted last layer, with the train rows as they are, agrees."""
        return float((self.before == self.predicted).mean())


def last_layer(
    features: ProbabilityArray, label: IntArray, weight: FloatArray, penalty: float, start: Any = None
) -> Any:
    """scikit-learn's logistic regression with an L2 ``penalty`` per unit of weight; begun at another one's solution."""
    from sklearn.linear_model import LogisticRegression

    inverse = 1 / (penalty * float(weight.sum()))
    model = LogisticRegression(C=inverse, max_iter=ROUNDS, tol=TOLERANCE, warm_start=True)
    if start is not None:
        model.coef_, model.intercept_, model.classes_ = start.coef_.copy(), start.intercept_.copy(), start.classes_
    return model.fit(features, label, sample_weight=weight)
