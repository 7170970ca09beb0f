from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from tests.factories import predictions
from workbench import store
from workbench.analysis.confusion import confusion_matrix
from workbench.analysis.index import error_index, select, table_of, tag
from workbench.core.predictions import Predictions
from workbench.core.records import Query
from workbench.errors import DataError


def test_expression_finds_what_numpy_finds() -> None:
    p = predictions(500, 4)
    query = Query(where="confidence > 0.6 AND true_class IN ('class 1', 'class 2') AND NOT correct", order="index")
    expected = p.index[(p.confidence > 0.6) & np.isin(p.label, [1, 2]) & ~p.correct]
    assert select(p, query)["index"].to_list()[::-1] == expected.tolist()


def test_entropy_and_columns_of_ones_own() -> None:
    p = predictions(100, 3)
    q = p.join(pl.DataFrame({"index": [4, 9], "tag": ["odd", "odd"]}))
    frame = select(q, Query(where="tag = 'odd'", order="entropy"))
    assert set(frame["index"]) == {4, 9}
    expected = -(p.probability * np.log(p.probability)).sum(1)
    np.testing.assert_allclose(select(p, Query(order="index", descending=False))["entropy"], expected, rtol=1e-5)


def test_tags_are_found_kept_and_written(tmp_path: Path) -> None:
    p = tag(predictions(50, 3), {"blurred": [3, 7], "odd": [7]})
    p = tag(p, {"odd": [1], "blurred": [3]})
    assert select(p, Query(where="array_contains(tags, 'blurred')", order="index", descending=False))[
        "index"
    ].to_list() == [3, 7]
    store.write(p, tmp_path)
    again = store.read(tmp_path).columns("index", "tags").filter(pl.col("tags").list.len() > 0)
    assert dict(again.iter_rows()) == {1: ["odd"], 3: ["blurred"], 7: ["blurred", "odd"]}
    with pytest.raises(DataError, match="no row with the id 50"):
        tag(p, {"odd": [50]})


def test_pages_make_up_the_whole() -> None:
    p, query = predictions(95, 3), Query(order="margin", descending=False)
    pages = [select(p, query, first=first, count=20) for first in range(0, 100, 20)]
    assert pl.concat(pages).equals(select(p, query))
    assert table_of(p, query).filter(pl.col("correct")).collect()["correct"].all()


@pytest.mark.parametrize(
    "where",
    [
        "confidence >",
        "mood = 3",
        "SELECT 1",
        "label = 'x' AND",
        "1; DROP TABLE x",
        "read_csv('/etc/passwd')",
        "true_class > 3",
        "label",
    ],
)
def test_bad_expressions_are_refused(where: str) -> None:
    with pytest.raises(DataError, match="not understood"):
        select(predictions(), Query(where=where))


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
