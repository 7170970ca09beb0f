from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy

from tests.factories import predictions
from tests.unit.workbench.analysis.test_refit import CLASSES, blobs
from workbench.analysis import remedies
from workbench.analysis.fixes import labels_and_weights
from workbench.analysis.forecasts import ACCURACY, MANIFEST, forecast_of_answers, read_forecasts, training_noise
from workbench.analysis.retraining import Forecaster
from workbench.core.predictions import Predictions
from workbench.core.records import Provenance
from workbench.errors import DataError


def exchanged(train: Predictions, share: float, seed: int = 0) -> Predictions:
    """A share of class 0's labels say 1."""
    label, mine = train.label.copy(), np.flatnonzero(train.label == 0)
    label[np.random.default_rng(seed).choice(mine, round(share * len(mine)), replace=False)] = 1
    return Predictions.from_arrays(label, train.probability, CLASSES, embedding=train.embedding)


def test_a_gain_counts_rows_and_holds_the_noise_of_training() -> None:
    test = predictions(400)
    after = test.predicted.copy()
    wrong = np.flatnonzero(~test.correct)
    after[wrong[:30]] = test.label[wrong[:30]]
    after[np.flatnonzero(test.correct)[:5]] = -1
    plain = forecast_of_answers("k", "a", "b", test, test.predicted, after)
    assert plain.gain == pytest.approx(25 / 400)
    assert (len(plain.fixed), len(plain.broken)) == (30, 5)
    assert plain.p_value == pytest.approx(scipy.stats.binomtest(5, 35).pvalue)
    noisy = forecast_of_answers("k", "a", "b", test, test.predicted, after, noise=0.02, trains=True)
    assert noisy.gain - noisy.low == pytest.approx(np.hypot(plain.gain - plain.low, 1.96 * 0.02), rel=1e-3)
    assert noisy.high > plain.high
    assert noisy.p_value == pytest.approx(
        2 * scipy.stats.norm.sf(1.96 * noisy.gain / (noisy.gain - noisy.low)), rel=1e-3
    )
    assert "accuracy +6.25 points" in plain.sentence


def test_the_noise_of_training_follows_errors_or_other_seeds() -> None:
    one, other = predictions(300), predictions(300)
    assert training_noise(one) == pytest.approx(np.sqrt((~one.correct).mean() / 300))
    assert training_noise(one, [other]) == 0  # the same answers
    moved = np.roll(one.probability, 1, axis=1)
    worse = Predictions.from_arrays(one.label, moved, one.classes)
    assert training_noise(one, [worse]) == pytest.approx(np.sqrt((one.correct != worse.correct).mean() / 300))
    spread = np.sqrt(2) * np.std([one.accuracy, worse.accuracy, one.accuracy], ddof=1)
    assert training_noise(one, [worse, other]) == pytest.approx(spread)


def test_exchanged_labels_are_forecast_to_pay_and_clean_ones_not() -> None:
    test, train = blobs(2000, 1), blobs(600, 2)
    wrong = exchanged(train, 0.45)
    forecaster = Forecaster(test, wrong, 0.0)
    corrected = forecaster.fixes("fixes", "correct", label=train.label)
    truth = (forecaster.features.answers(train.label) == test.label).mean()
    assert corrected.gain == pytest.approx(truth - (forecaster.features.before == test.label).mean())
    assert corrected.low > 0.02
    found = [Forecaster(blobs(500, seed), blobs(300, 100 + seed), 0.0).relabel() for seed in range(12)]
    assert sum(one.low > 0 for one in found) <= 1
    apart = np.eye(3, 6, dtype=np.float32)[train.label] * 50
    sure = Predictions.from_arrays(train.label, train.probability, CLASSES, embedding=apart)
    with pytest.raises(DataError, match="no train row is doubtful"):
        Forecaster(test, sure, 0.0).relabel()


def part_of(whole: Predictions, rows: np.ndarray) -> Predictions:
    assert whole.embedding is not None
    return Predictions.from_arrays(
        whole.label[rows], whole.probability[rows], CLASSES, embedding=whole.embedding[rows], index=whole.index[rows]
    )


def test_a_doubling_is_worth_nothing_where_a_class_has_plenty() -> None:
    test, train = blobs(3000, 1), blobs(3000, 2)
    for number in range(3):  # overlapping classes: their shares alone would move the answers
        found, curve = Forecaster(test, train, 0.0).collect(number)
        assert abs(found.gain) < 0.006
        assert curve[2] == pytest.approx(curve[1] + 2 * found.gain, abs=1e-6)


def test_a_doubling_is_forecast_as_it_comes() -> None:
    gains = []
    for seed in range(15):
        test, train = blobs(1500, seed, width=40), blobs(900, 100 + seed, width=40)
        mine, others = np.flatnonzero(train.label == 2), np.flatnonzero(train.label != 2)
        few = part_of(train, np.concatenate([others, mine[:24]]))
        forecaster = Forecaster(test, few, 0.0)
        found, _ = forecaster.collect(2)
        twice = part_of(train, np.concatenate([others, mine[:48]]))
        weight = np.ones(len(twice))
        weight[len(others) :] = 0.5  # the class keeps its share
        after = Forecaster(test, twice, 0.0).features.answers(weight=weight)
        came = (after == test.label).mean() - (forecaster.features.before == test.label).mean()
        gains.append((found.gain, float(came)))
    forecast, outcome = np.array(gains).T
    assert forecast.mean() == pytest.approx(outcome.mean(), abs=0.005)
    assert outcome.mean() > 0.005


def test_too_few_rows_of_a_class_are_named() -> None:
    train = blobs(900, 2)
    rows = np.concatenate([np.flatnonzero(train.label != 2), np.flatnonzero(train.label == 2)[:12]])
    with pytest.raises(DataError, match="at least 20 train rows of c, not 12"):
        Forecaster(blobs(200, 1), part_of(train, rows), 0.0).collect(2)
    with pytest.raises(DataError, match="at least 50 judged rows, not 30"):
        Forecaster(blobs(30, 1), train, 0.0).collect(2)


def test_a_temperature_pays_where_confidence_is_off_and_not_where_it_is_true() -> None:
    generator = np.random.default_rng(0)
    probability = generator.dirichlet(np.ones(4), 3000)
    label = np.minimum((probability.cumsum(1) < generator.random((3000, 1))).sum(1), 3)
    names = tuple("abcd")
    true = remedies.calibrate(Predictions.from_arrays(label, probability.astype(np.float32), names))
    assert true.low < 0.002
    sharp = probability**3 / (probability**3).sum(1, keepdims=True)
    off = Predictions.from_arrays(label, sharp.astype(np.float32), names)
    found = remedies.calibrate(off)
    assert found.low > 0.05
    assert "3.0" in found.basis or "2.9" in found.basis
    other = Predictions.from_arrays(label[:500], sharp[:500].astype(np.float32), names, index=np.arange(9000, 9500))
    assert remedies.calibrate(off, other).gain == pytest.approx(found.gain, rel=0.1)


def test_half_the_error_rate_is_left_after_rejection() -> None:
    generator = np.random.default_rng(0)
    probability = generator.dirichlet(np.ones(3) * 0.5, 4000)
    label = np.minimum((probability.cumsum(1) < generator.random((4000, 1))).sum(1), 2)
    test = Predictions.from_arrays(label, probability.astype(np.float32), CLASSES)
    found = remedies.reject(test)
    assert found is not None
    error = 1 - test.accuracy
    assert error - found.gain == pytest.approx(error / 2, rel=0.15)
    assert found.low < error / 2 < found.high
    same = Predictions.from_arrays(label, np.full((4000, 3), 1 / 3, np.float32), CLASSES)
    with pytest.raises(DataError, match="no threshold of confidence leaves half the error rate"):
        remedies.reject(same)


def test_confidence_that_says_nothing_promises_nothing() -> None:
    generator, covered, found = np.random.default_rng(0), 0, 0
    for _ in range(60):
        confidence = generator.uniform(0.5, 1, 400)
        label = np.where(generator.random(400) < 0.75, 0, 1)
        shares = np.stack([confidence, 1 - confidence], 1).astype(np.float32)
        try:
            one = remedies.reject(Predictions.from_arrays(label, shares, ("a", "b")))
        except DataError:
            continue
        found += 1
        covered += one.low <= 0 <= one.high
    assert covered >= 0.9 * found
    assert found <= 15


def test_fixes_become_labels_and_weights() -> None:
    train = predictions(30)
    rows = [
        {"index": 3, "action": "drop"},
        {"index": 4, "action": "relabel", "label": "class 2"},
        {"index": 5, "action": "weight", "weight": 0.5},
    ]
    label, weight = labels_and_weights({"format": 1, "split": "train", "rows": rows}, train)
    assert (weight[3], label[4], weight[5]) == (0, 2, 0.5)
    assert (weight != 1).sum() == 2
    for bad, words in (
        ({"format": 1, "split": "train"}, "not a fixes file"),
        ({"format": 2, "split": "train", "rows": rows}, "expected format 1"),
        ({"format": 1, "split": "train", "rows": rows * 2}, "each row at most once"),
        ({"format": 1, "split": "test", "rows": rows}, "other data"),
        ({"format": 1, "split": "train", "rows": [{"index": 99, "action": "drop"}]}, "not among them"),
        (
            {"format": 1, "split": "train", "rows": [{"index": 1, "action": "relabel", "label": "cat"}]},
            "row 1: expected drop",
        ),
    ):
        with pytest.raises(DataError, match=words):
            labels_and_weights(bad, train)


def test_forecasts_of_another_model_are_refused(tmp_path: Path) -> None:
    test = predictions(50)
    found = forecast_of_answers("k", "a", "b", test, test.predicted, test.label)
    values = {"provenance": {"checkpoint": "a" * 64}, "forecasts": [found.to_json()]}
    (tmp_path / MANIFEST).write_text(json.dumps(values))
    (read,) = read_forecasts(tmp_path, test)
    assert (read.measure, read.gain, read.fixed.tolist()) == (ACCURACY, found.gain, found.fixed.tolist())
    own = Predictions(test.table, test.classes, Provenance(checkpoint="b" * 64))
    with pytest.raises(DataError, match="measured with another model"):
        read_forecasts(tmp_path, own)
    with pytest.raises(DataError, match=r"has no forecasts\.json"):
        read_forecasts(tmp_path / "elsewhere", test)
    (tmp_path / MANIFEST).write_text(json.dumps({"forecasts": [{"kind": "x"}]}))
    with pytest.raises(DataError, match="is damaged"):
        read_forecasts(tmp_path, test)
