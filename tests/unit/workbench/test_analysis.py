import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from tests.factories import predictions
from workbench.analysis.classes import class_report
from workbench.analysis.confusion import confusion_matrix, most_confused, normalised
from workbench.analysis.index import error_index, select
from workbench.analysis.statistics import wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import ConfusionMatrix, Query
from workbench.errors import DataError


def test_confusion_matrix_equals_scikit_learn() -> None:
    p = predictions()
    matrix = confusion_matrix(p)
    np.testing.assert_array_equal(matrix.counts, metrics.confusion_matrix(p.label, p.predicted))
    for ours, theirs in (("true", "true"), ("predicted", "pred"), ("all", "all")):
        expected = metrics.confusion_matrix(p.label, p.predicted, normalize=theirs)
        np.testing.assert_allclose(normalised(matrix, ours), expected)


def test_empty_class_is_zero_and_not_nan() -> None:
    matrix = ConfusionMatrix(np.array([[2, 1], [0, 0]]), ("a", "b"))
    np.testing.assert_allclose(normalised(matrix, "true"), [[2 / 3, 1 / 3], [0, 0]])


def test_most_confused_by_hand() -> None:
    matrix = ConfusionMatrix(np.array([[9, 1, 4], [0, 9, 0], [2, 0, 9]]), ("a", "b", "c"))
    assert most_confused(matrix) == [(0, 2, 4), (2, 0, 2), (0, 1, 1)]


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(9000, 10000, 0.89397, 0.90573), (900, 1000, 0.87985, 0.91709), (0, 1000, 0.0, 0.003827)],
)
def test_wilson_golden_figures(successes: int, trials: int, low: float, high: float) -> None:
    bounds = wilson_interval(successes, trials)
    assert float(bounds[0]) == pytest.approx(low, abs=6e-6)
    assert float(bounds[1]) == pytest.approx(high, abs=6e-6)


def test_wilson_edges() -> None:
    low, high = wilson_interval([0, 0, 5], [0, 7, 5])
    assert (low[0], high[0], low[1], high[2]) == (0, 1, 0, 1)
    with pytest.raises(DataError):
        wilson_interval([3], [2])


def test_error_rate_is_one_less_recall() -> None:
    p = predictions()
    report = class_report(p)
    np.testing.assert_allclose(report.error_rate.value, 1 - metrics.recall_score(p.label, p.predicted, average=None))
    assert report.errors.sum() == p.error_count
    for rate in (report.error_rate, report.precision, report.recall, report.f1):
        assert (rate.low <= rate.value).all()
        assert (rate.value <= rate.high).all()


def test_class_without_rows() -> None:
    p = predictions(classes=3)
    keep = p.label != 1
    part = Predictions.from_arrays(p.label[keep], p.probability[keep], p.classes, index=p.index[keep])
    report = class_report(part)
    assert np.isnan(report.error_rate.value[1])
    assert (report.error_rate.low[1], report.error_rate.high[1]) == (0, 1)


def test_error_index_is_complete_and_sorted() -> None:
    p = predictions()
    frame = error_index(p)
    assert set(frame["index"]) == set(p.index[p.label != p.predicted].tolist())
    assert frame["loss"].is_sorted(descending=True)
    assert metrics.accuracy_score(p.label, p.predicted) == 1 - len(frame) / len(p)


def test_columns_by_hand() -> None:
    probability = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], np.float32)
    p = Predictions.from_arrays([1, 2], probability, ("a", "b", "c"), index=[7, 3])
    np.testing.assert_allclose(p.confidence, [0.5, 0.7])
    np.testing.assert_allclose(p.margin, [0.3 - 0.5, 0.7 - 0.2], atol=1e-7)
    np.testing.assert_allclose(p.loss, -np.log([0.3, 0.7]), rtol=1e-6)
    assert p.error_count == 1
    assert metrics.log_loss(p.label, p.probability, labels=[0, 1, 2]) == pytest.approx(p.loss.mean(), rel=1e-5)


def test_select_filters_and_orders() -> None:
    p = predictions()
    frame = select(p, Query(true=1, predicted=2, order="confidence", descending=False))
    assert set(frame["true_class"]) <= {"class 1"}
    assert len(frame) == confusion_matrix(p).counts[1, 2]
    assert frame["confidence"].is_sorted()


def test_ties_keep_the_order_of_row_ids() -> None:
    probability = np.full((6, 2), 0.5, np.float32)
    p = Predictions.from_arrays(np.zeros(6, int), probability, ("a", "b"), index=[4, 2, 9, 1, 0, 7])
    for descending in (True, False):
        assert select(p, Query(descending=descending))["index"].to_list() == [0, 1, 2, 4, 7, 9]


@pytest.mark.parametrize("query", [Query(true=9), Query(predicted=-3), Query(order="mood")])
def test_bad_query_is_refused(query: Query) -> None:
    with pytest.raises(DataError, match="expected"):
        select(predictions(), query)


def broken(**changes: object) -> dict[str, object]:
    p = predictions(20, 3)
    return {name: getattr(p, name) for name in ("index", "label", "probability", "classes")} | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": np.full(20, 3)}, "label: expected 0 to 2"),
        ({"index": np.zeros(20, int)}, "unique"),
        ({"probability": np.full((20, 3), np.nan, np.float32)}, "finite"),
        ({"probability": np.full((20, 3), 0.5, np.float32)}, "sum to 1"),
        ({"classes": ("a", "b")}, "must fit each other"),
    ],
)
def test_wrong_predictions_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Predictions.from_arrays(**broken(**changes))


def test_zero_rows_are_refused() -> None:
    empty = np.zeros(0, int)
    with pytest.raises(DataError, match="no row"):
        Predictions.from_arrays(empty, np.zeros((0, 2), np.float32), ("a", "b"))


def test_frame_is_a_polars_table() -> None:
    assert predictions().frame().schema["loss"] == pl.Float64
