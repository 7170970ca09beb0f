import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from tests.factories import predictions
from workbench.analysis.baselines import _on_logit, baselines, best_threshold, curves, ranking
from workbench.analysis.confusion import confusion_matrix
from workbench.core.predictions import Predictions
from workbench.errors import DataError


def binary(seed: int, rows: int, positives: float = 0.3) -> Predictions:
    generator = np.random.default_rng(seed)
    label = (generator.random(rows) < positives).astype(int)
    score = 1 / (1 + np.exp(-(generator.normal(size=rows) + 1.5 * label - 1)))
    return Predictions.from_arrays(label, np.stack([1 - score, score], 1), ("no", "yes"))


def test_averages_are_scikit_learns() -> None:
    p = predictions(700, 5)
    found = baselines(confusion_matrix(p))
    y, guess = p.label, p.predicted
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, guess))
    assert found["macro_precision"] == pytest.approx(metrics.precision_score(y, guess, average="macro"))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(y, guess, average="macro"))
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(y, guess))
    assert found["majority"]["accuracy"] == np.bincount(y).max() / 700
    assert found["chance"] == pytest.approx(((np.bincount(y) / 700) ** 2).sum())
    for name in ("balanced_accuracy", "macro_precision", "macro_f1", "mcc"):
        low, high = found[f"{name}_interval"]
        assert low < found[name] < high


def test_intervals_of_averages_cover() -> None:
    truth = baselines(confusion_matrix(predictions(400_000, 3, 1)))
    held = dict.fromkeys(("balanced_accuracy", "macro_f1", "mcc"), 0)
    for seed in range(200):
        found = baselines(confusion_matrix(predictions(400, 3, seed + 10)))
        for name in held:
            low, high = found[f"{name}_interval"]
            held[name] += low <= truth[name] <= high
    assert min(held.values()) >= 0.91 * 200


def test_ranking_is_scikit_learns_and_its_intervals_cover() -> None:
    p = predictions(900, 4)
    found = ranking(p)
    for k in range(4):
        assert found.auc.value[k] == pytest.approx(metrics.roc_auc_score(p.label == k, p.probability[:, k]))
        expected = metrics.average_precision_score(p.label == k, p.probability[:, k])
        assert found.precision.value[k] == pytest.approx(expected)
    assert found.to_json()["macro_roc_auc"] == pytest.approx(
        metrics.roc_auc_score(p.label, p.probability, multi_class="ovr"), abs=1e-6
    )
    large = ranking(binary(1, 200_000))
    auc = precision = 0
    for seed in range(200):
        one = ranking(binary(seed + 5, 300))
        auc += one.auc.low[1] <= large.auc.value[1] <= one.auc.high[1]
        precision += one.precision.low[1] <= large.precision.value[1] <= one.precision.high[1]
    assert auc >= 0.91 * 200
    assert precision >= 0.90 * 200


def test_a_class_without_rows_has_no_ranking() -> None:
    found = ranking(Predictions.from_arrays([0, 1, 0], np.eye(3)[[0, 1, 1]], ("a", "b", "c")))
    assert np.isnan(found.auc.value[2])
    assert found.to_json()["classes"]["c"]["roc_auc"] is None
    perfect = ranking(Predictions.from_arrays([0] * 30 + [1] * 9, np.eye(2)[[0] * 30 + [1] * 9], ("a", "b")))
    assert perfect.auc.value[1] == perfect.auc.high[1] == 1
    assert 0.6 < perfect.auc.low[1] < 0.8
    rounded = [_on_logit(value, 1.0, 9) for value in (1 + 2e-16, 1 - 2e-16, -1e-17)]
    assert [one[0] for one in rounded] == [1, 1, 0]
    assert np.isfinite(rounded).all()


def test_curves_are_scikit_learns() -> None:
    p = binary(2, 400)
    frame = curves(p, points=10_000).filter(pl.col("class") == "yes")
    false, true, _ = metrics.roc_curve(p.label, p.probability[:, 1], drop_intermediate=False)
    np.testing.assert_allclose(frame["false_positive_rate"], false[1:])
    np.testing.assert_allclose(frame["recall"], true[1:])
    precision, recall, _ = metrics.precision_recall_curve(p.label, p.probability[:, 1])
    reached = frame["recall"].to_numpy() <= 1
    np.testing.assert_allclose(frame["precision"].to_numpy()[reached], precision[:-1][::-1][: reached.sum()])
    assert recall[0] == 1
    assert len(curves(p, points=50)) <= 100


def class_is(name: str):
    import polars as pl

    return pl.col("class") == name


def test_a_threshold_by_cost() -> None:
    """A calibrated score has its best threshold at the share of the false positive's cost (Elkan 2001)."""
    generator = np.random.default_rng(3)
    score = generator.random(60_000)
    label = (generator.random(60_000) < score).astype(int)
    p = Predictions.from_arrays(label, np.stack([1 - score, score], 1), ("no", "yes"))
    found = best_threshold(p, false_positive=1, false_negative=4)
    assert found.threshold == pytest.approx(0.2, abs=0.04)
    assert found.saved_low > 0
    assert found.saved == pytest.approx(found.usual - found.cost)
    assert found.low < found.cost < found.high
    equal = best_threshold(p)
    assert equal.threshold == pytest.approx(0.5, abs=0.06)
    assert equal.saved_low <= 0 <= equal.saved_high


def test_what_has_no_threshold() -> None:
    with pytest.raises(DataError, match="two classes"):
        best_threshold(predictions(50))
    with pytest.raises(DataError, match="costs above 0"):
        best_threshold(binary(0, 50), false_positive=0)
    certain = Predictions.from_arrays([0] * 9, [[0.9, 0.1]] * 9, ("no", "yes"))
    assert best_threshold(certain).cost == 0
