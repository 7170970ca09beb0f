from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.factories import predictions
from workbench import store
from workbench.analysis.index import select, table_of, tagged
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
    p = tagged(predictions(50, 3), {"blurred": [3, 7], "odd": [7]})
    p = tagged(p, {"odd": [1], "blurred": [3]})
    assert select(p, Query(where="array_contains(tags, 'blurred')", order="index", descending=False))[
        "index"
    ].to_list() == [3, 7]
    store.write(p, tmp_path)
    again = store.read(tmp_path).columns("index", "tags").filter(pl.col("tags").list.len() > 0)
    assert dict(again.iter_rows()) == {1: ["odd"], 3: ["blurred"], 7: ["blurred", "odd"]}
    with pytest.raises(DataError, match="no row with the id 50"):
        tagged(p, {"odd": [50]})


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
