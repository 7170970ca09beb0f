import numpy as np
import polars as pl
import pytest

from tests.factories import predictions
from workbench.core.predictions import Predictions
from workbench.errors import DataError


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


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_derived_columns_follow_from_the_probabilities(classes: int) -> None:
    p = predictions(300, classes)
    own, rows = p.probability.astype(np.float64), np.arange(300)
    other = own.copy()
    other[rows, p.label] = -1
    found = p.columns("correct", "confidence", "label_probability", "margin", "loss", "entropy")
    expected = {
        "correct": own.argmax(1) == p.label,
        "confidence": own.max(1),
        "label_probability": own[rows, p.label],
        "margin": own[rows, p.label] - other.max(1),
        "loss": -np.log(own[rows, p.label]),
        "entropy": -(own * np.log(own)).sum(1),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].to_numpy(), values, rtol=1e-6, atol=1e-6, err_msg=name)


def test_a_table_that_has_a_derived_column_has_ours() -> None:
    p = predictions(20, 3)
    wrong = Predictions(p.table.with_columns(margin=pl.lit(9.0), loss=pl.lit(9.0), own=pl.lit(1)), p.classes)
    names = ("margin", "loss")
    assert wrong.columns(*names).equals(p.columns(*names))
    assert wrong.columns("own")["own"].to_list() == [1] * 20


def test_further_columns_keep_what_was_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    p = predictions(20, 3)
    monkeypatch.setattr("workbench.core.predictions.scores_of", lambda *_: pytest.fail("checked once more"))
    joined = p.join(pl.DataFrame({"index": [3, 1], "note": [np.nan, 2.0]}))
    assert joined.columns("note")["note"].to_list() == [None, 2.0, *[None] * 18]
    assert joined.columns("loss").equals(p.columns("loss"))
    assert "note" not in p.scan().collect_schema()


def test_an_embedding_that_is_joined_is_found_and_checked() -> None:
    p = predictions(4, 3)
    assert p.embedding is None
    rows = pl.DataFrame({"index": np.arange(4), "embedding": np.eye(4, 2, dtype=np.float32)})
    np.testing.assert_array_equal(p.join(rows).embedding, np.eye(4, 2))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="embedding: expected arrays"):
        p.join(pl.DataFrame({"index": np.arange(4), "embedding": np.arange(4.0)}))
