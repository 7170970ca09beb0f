from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from tests.factories import predictions
from workbench.analysis import remedies
from workbench.analysis.models import mean_answers
from workbench.analysis.refit import FrozenFeatures, last_layer
from workbench.core.predictions import Predictions
from workbench.core.records import Provenance
from workbench.errors import DataError

CLASSES = ("a", "b", "c")


def blobs(count: int, seed: int, width: int = 6) -> Predictions:
    drawn = np.random.default_rng(seed)
    label = drawn.integers(0, 3, count)
    centres = np.random.default_rng(0).normal(size=(3, width)) * 0.8
    features = (centres[label] + drawn.normal(size=(count, width))).astype(np.float32)
    return Predictions.from_arrays(label, np.full((count, 3), 1 / 3, np.float32), CLASSES, embedding=features)


def test_answers_are_those_of_logistic_regression_on_standardised_features() -> None:
    test, train = blobs(300, 1), blobs(400, 2)
    features = FrozenFeatures(test, train)
    assert train.embedding is not None
    assert test.embedding is not None
    np.testing.assert_allclose(features.train.std(0), 1, atol=1e-4)
    weight = np.random.default_rng(3).choice([0.0, 1.0, 3.0], len(train))
    # the same by repeated rows: a weight of 3 is a row three times
    times = np.repeat(np.arange(len(train)), weight.astype(int))
    mean, deviation = train.embedding.mean(0), train.embedding.std(0)
    plain = LogisticRegression(C=1e6, max_iter=2000, tol=1e-8)
    plain.fit((train.embedding[times] - mean) / deviation, train.label[times])
    free = FrozenFeatures(test, train, penalty=1e-9)  # without a penalty the choice of directions does not matter
    agree = free.answers(weight=weight) == plain.predict((test.embedding - mean) / deviation)
    assert agree.mean() > 0.98
    assert (features.before == test.label).mean() > 0.6


def test_of_two_classes_the_threshold_decides() -> None:
    drawn = np.random.default_rng(5)
    label = drawn.integers(0, 2, 400)
    features = (label[:, None] * 0.7 + drawn.normal(size=(400, 4))).astype(np.float32)
    share = np.where(drawn.random(400) < 0.5, 0.35, 0.7)
    shares = np.stack([1 - share, share], 1)
    low = Provenance(threshold=0.3)
    answers = (share >= 0.3).astype(int)
    plain = Predictions.from_arrays(label, shares, ("no", "yes"), embedding=features)
    test = Predictions(plain.table.with_columns(predicted=pl.Series(answers)), plain.classes, low)
    assert FrozenFeatures(test, plain).before.mean() > FrozenFeatures(plain, plain).before.mean() + 0.1
    assert mean_answers([test, plain]).tolist() == answers.tolist()
    assert "move the threshold with them" in remedies.calibrate(test).action


def test_a_few_rows_among_many_are_fitted_to_the_end() -> None:
    test, train = blobs(2000, 1), blobs(5000, 2)
    features = FrozenFeatures(test, train)
    weight = np.where(np.arange(5000) < 12, 2.0, 1.0)
    from_start = last_layer(features.train, features.label, weight, features.penalty)
    from_whole = features.answers(weight=weight)
    assert (from_start.predict(features.test) == from_whole).all()


def test_a_row_that_is_left_out_is_as_good_as_absent() -> None:
    test, train = blobs(200, 1), blobs(300, 2)
    features, kept = FrozenFeatures(test, train), np.arange(300) % 2
    by_weight = features.answers(weight=kept.astype(float))
    rest = np.flatnonzero(kept == 0)
    more = features.of(train.embedding[rest]), train.label[rest], np.ones(len(rest))  # type: ignore[index]
    both = features.answers(weight=kept.astype(float), more=more)
    assert (both == features.before).mean() > 0.98
    part = Predictions.from_arrays(
        train.label[kept == 1],
        train.probability[kept == 1],
        CLASSES,
        embedding=train.embedding[kept == 1],  # type: ignore[index]
    )
    assert (by_weight == FrozenFeatures(test, part).before).mean() > 0.97  # but for the directions' scale
    assert features.agreement == (features.before == test.predicted).mean()


def test_rows_out_of_fold_are_judged_by_others() -> None:
    train = blobs(300, 2)
    label = train.label.copy()
    label[:30] = (label[:30] + 1) % 3
    wrong = Predictions.from_arrays(label, train.probability, CLASSES, embedding=train.embedding)
    features = FrozenFeatures(blobs(50, 1), wrong)
    probability = features.out_of_fold()
    np.testing.assert_allclose(probability.sum(1), 1, atol=1e-5)
    assert (probability.argmax(1)[:30] == train.label[:30]).mean() > 0.5
    few = Predictions.from_arrays(
        np.r_[np.zeros(9), 1, 2].astype(int),
        np.full((11, 3), 1 / 3),
        CLASSES,
        embedding=np.random.default_rng(0).normal(size=(11, 6)).astype(np.float32),
    )
    with pytest.raises(DataError, match="at least 5 train rows of each class; b has 1"):
        FrozenFeatures(blobs(50, 1), few).out_of_fold()


def test_bad_input_is_named() -> None:
    test, train = blobs(50, 1), blobs(60, 2)
    with pytest.raises(DataError, match="with embeddings of the judged and the train rows"):
        FrozenFeatures(test, predictions(20))
    with pytest.raises(DataError, match="same classes, same width"):
        FrozenFeatures(test, blobs(60, 2, width=5))
    rows = np.flatnonzero(train.label != 2)
    without = Predictions.from_arrays(
        train.label[rows],
        train.probability[rows],
        CLASSES,
        embedding=train.embedding[rows],  # type: ignore[index]
    )
    with pytest.raises(DataError, match="train rows of every class; c has none"):
        FrozenFeatures(test, without)
    with pytest.raises(DataError, match="and a has none left"):
        FrozenFeatures(test, train).answers(weight=(train.label != 0).astype(float))
