import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from tests.factories import predictions
from workbench.analysis.classes import class_report
from workbench.analysis.confusion import (
    asymmetries,
    confusion_matrix,
    group_classes,
    most_confused,
    normalise,
    top_k_accuracy,
)
from workbench.analysis.statistics import wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import ConfusionMatrix
from workbench.errors import DataError

MATRIX = ConfusionMatrix(np.array([[90, 10, 0], [2, 48, 0], [0, 0, 0]]), ("a", "b", "c"))


def test_asymmetry_takes_the_sizes_of_the_classes_into_account() -> None:
    frame = asymmetries(MATRIX)
    row = frame.row(0, named=True)
    assert (row["first"], row["second"], row["first_as_second"], row["second_as_first"]) == (0, 1, 10, 2)
    # 12 confusions, of which a class with 100 of 150 rows would have two thirds by chance
    assert row["p_value"] == pytest.approx(stats.binomtest(10, 12, 100 / 150).pvalue)
    assert len(frame) == 1


def test_asymmetry_of_equal_classes_is_the_sign_test() -> None:
    matrix = ConfusionMatrix(np.array([[75, 25], [15, 85]]), ("cat", "dog"))
    assert asymmetries(matrix)["p_value"].item() == pytest.approx(0.1539, abs=5e-5)


def test_asymmetries_are_corrected_together() -> None:
    frame = asymmetries(confusion_matrix(predictions(400, 5)))
    np.testing.assert_allclose(frame["adjusted_p_value"], stats.false_discovery_control(frame["p_value"].to_numpy()))
    assert frame["p_value"].is_sorted()
    assert asymmetries(ConfusionMatrix(np.diag([3, 4]), ("a", "b"))).is_empty()


def test_groups_by_hand() -> None:
    whole = group_classes(MATRIX, {"x": ["a", "c"], "y": ["b"]})
    np.testing.assert_array_equal(whole.counts, [[90, 10], [2, 48]])
    for groups, words in (({"x": ["a"]}, "exactly one"), ({"x": ["a", "z"]}, "unknown class 'z'")):
        with pytest.raises(DataError, match=words):
            group_classes(MATRIX, groups)


def test_top_k_equals_scikit_learn() -> None:
    p = predictions(300, 6)
    found = top_k_accuracy(p)
    for k in range(1, 6):
        expected = metrics.top_k_accuracy_score(p.label, p.probability, k=k, labels=range(6))
        assert found.value[k - 1] == pytest.approx(expected)
    assert found.value[0] == pytest.approx(p.accuracy)
    assert found.value[5] == 1
    low, high = wilson_interval(300 * found.value[2], 300)
    assert (found.low[2], found.high[2]) == pytest.approx((float(low), float(high)))


def test_ties_of_top_k_go_to_the_first_class() -> None:
    p = Predictions.from_arrays([0, 1], np.full((2, 2), 0.5), ("a", "b"))
    assert top_k_accuracy(p).value[0] == 0.5 == p.accuracy


def test_precision_recall_and_f1_equal_scikit_learn() -> None:
    p = predictions(300, 5)
    report = class_report(p)
    expected = metrics.precision_recall_fscore_support(p.label, p.predicted)
    for ours, theirs in zip((report.precision, report.recall, report.f1), expected, strict=False):
        np.testing.assert_allclose(ours.value, theirs)
    np.testing.assert_array_equal(report.support, expected[3])


def test_interval_of_f1_is_that_of_resampled_rows() -> None:
    p = predictions(300, 3)
    generator = np.random.default_rng(1)
    drawn = []
    for _ in range(600):
        rows = generator.integers(0, len(p), len(p))
        drawn.append(metrics.f1_score(p.label[rows], p.predicted[rows], average=None))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    report = class_report(p)
    np.testing.assert_allclose(report.f1.low, low, atol=0.02)
    np.testing.assert_allclose(report.f1.high, high, atol=0.02)


def test_confusion_matrix_equals_scikit_learn() -> None:
    p = predictions()
    matrix = confusion_matrix(p)
    np.testing.assert_array_equal(matrix.counts, metrics.confusion_matrix(p.label, p.predicted))
    for ours, theirs in (("true", "true"), ("predicted", "pred"), ("all", "all")):
        expected = metrics.confusion_matrix(p.label, p.predicted, normalize=theirs)
        np.testing.assert_allclose(normalise(matrix, ours), expected)


def test_empty_class_is_zero_and_not_nan() -> None:
    matrix = ConfusionMatrix(np.array([[2, 1], [0, 0]]), ("a", "b"))
    np.testing.assert_allclose(normalise(matrix, "true"), [[2 / 3, 1 / 3], [0, 0]])


def test_most_confused_by_hand() -> None:
    matrix = ConfusionMatrix(np.array([[9, 1, 4], [0, 9, 0], [2, 0, 9]]), ("a", "b", "c"))
    assert most_confused(matrix) == [(0, 2, 4), (2, 0, 2), (0, 1, 1)]
