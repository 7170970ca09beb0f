from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.factories import CLASSES, predictions
from workbench import store
from workbench.analysis.confusion import confusion_matrix
from workbench.core.predictions import Predictions
from workbench.errors import DataError


def same(a: Predictions, b: Predictions) -> None:
    for name in ("index", "label", "predicted", "probability"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


FRAME = pl.DataFrame(
    {
        "label": [0, 2, 1],
        "probability_0": [0.7, 0.2, 0.1],
        "probability_1": [0.2, 0.2, 0.8],
        "probability_2": [0.1, 0.6, 0.1],
    }
)
LISTS = FRAME.select("label", probability=pl.concat_list("probability_0", "probability_1", "probability_2"))


def foreign(folder: Path, kind: str) -> Path:
    path = folder / f"table.{kind.rsplit('.', 1)[-1]}"
    matrix = FRAME.select(pl.exclude("label")).to_numpy()
    if kind == "columns.csv":
        FRAME.write_csv(path)
    elif kind == "columns.parquet":
        FRAME.write_parquet(path)
    elif kind == "lists.parquet":
        LISTS.write_parquet(path)
    elif kind == "json.csv":
        cells = [json.dumps(row) for row in matrix.tolist()]
        LISTS.with_columns(probability=pl.Series(cells)).write_csv(path)
    elif kind == "logits.parquet":
        logits = np.log(matrix) + np.array([[5.0], [-3.0], [0.0]])
        pl.DataFrame({"label": [0, 2, 1], "logit": logits}).write_parquet(path)
    elif kind == "names.csv":
        names = FRAME.with_columns(label=pl.Series(["ant", "cow", "bee"]))
        names.write_csv(path)
    else:
        np.savez(path, label=FRAME["label"].to_numpy(), probability=matrix, classes=np.array(CLASSES))
    return path


def test_a_named_array_must_be_there(tmp_path: Path) -> None:
    p = predictions(20, 3)
    np.savez(tmp_path / "table.npz", label=p.label, p=p.probability)
    same(store.read(tmp_path / "table.npz", columns={"probability": "p"}), p)
    with pytest.raises(DataError, match="has no array 'q'"):
        store.read(tmp_path / "table.npz", columns={"probability": "q"})


def test_ragged_rows_are_refused() -> None:
    with pytest.raises(DataError, match="rows of one length"):
        Predictions.from_arrays([0, 1], [[0.5, 0.5], [1.0]], ("a", "b"))


@pytest.mark.parametrize(
    "kind",
    ["columns.csv", "columns.parquet", "lists.parquet", "json.csv", "logits.parquet", "names.csv", "arrays.npz"],
)
def test_tables_of_other_systems(tmp_path: Path, kind: str) -> None:
    p = store.read(foreign(tmp_path, kind))
    np.testing.assert_array_equal(p.label, [0, 2, 1])
    np.testing.assert_array_equal(p.predicted, [0, 2, 1])
    np.testing.assert_allclose(p.probability, FRAME.select(pl.exclude("label")).to_numpy(), atol=1e-6)
    assert p.classes == (CLASSES if kind in ("names.csv", "arrays.npz") else ("0", "1", "2"))


def test_other_names_by_option(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    FRAME.rename({"label": "y", **{f"probability_{k}": f"score_{k}" for k in range(3)}}).write_csv(path)
    p = store.read(path, columns={"label": "y", "probability": "score"}, classes=["x", "y", "z"])
    assert (p.error_count, p.classes) == (0, ("x", "y", "z"))
    with pytest.raises(DataError, match="no column 'truth'"):
        store.read(path, columns={"label": "truth"})
    with pytest.raises(DataError, match="lacks the column 'label'"):
        store.read(path)


def test_frames_at_the_edge() -> None:
    import pandas

    from workbench.analysis.index import error_index

    expected = FRAME.select(pl.exclude("label")).to_numpy()
    for frame in (FRAME, FRAME.lazy(), LISTS, pandas.DataFrame(FRAME.to_dict(as_series=False))):
        p = store.from_frame(frame, classes=CLASSES)
        np.testing.assert_allclose(p.probability, expected, atol=1e-6)
        assert p.classes == CLASSES
    table = store.to_pandas(error_index(predictions()))
    assert isinstance(table, pandas.DataFrame)
    assert len(table) == predictions().error_count
    with pytest.raises(DataError, match="lacks the column 'label'"):
        store.from_frame(FRAME.drop("label"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probability_0": [np.nan, 0.2, 0.1]}, "finite"),
        ({"probability_0": [None, 0.2, 0.1]}, "finite"),
        ({"probability_0": [np.inf, 0.2, 0.1]}, "finite"),
        ({"probability_0": [0.9, 0.2, 0.1]}, "sum to 1"),
        ({"probability_0": [7.0, -2.0, 0.1]}, "finite values from 0"),
        ({"label": [0, 3, 1]}, "0 to 2"),
        ({"label": [0, -1, 1]}, "1 of 3 have -1"),
        ({"label": [0.5, 1.0, 1.0]}, "whole numbers"),
        ({"label": [0, None, 1]}, "1 of 3 rows have no 'label'"),
        ({"index": [4, 4, 5]}, "unique"),
        ({"predicted": [1, 2, 1]}, "most probable"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, change: dict[str, list], words: str) -> None:
    path = tmp_path / "table.parquet"
    FRAME.with_columns(**{name: pl.Series(values) for name, values in change.items()}).write_parquet(path)
    with pytest.raises(DataError, match=words):
        store.read(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty.parquet"
    LISTS.head(0).write_parquet(empty)
    ragged = tmp_path / "ragged.parquet"
    pl.DataFrame({"label": [0, 1], "probability": [[0.5, 0.5], [1.0]]}).write_parquet(ragged)
    (tmp_path / "text.csv").write_text("hello")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "objects.npz").write_bytes(b"no archive")
    (tmp_path / "what.txt").write_text("x")
    (tmp_path / "what.xlsx").write_text("x")
    for name, words in (
        ("empty.parquet", "no row"),
        ("ragged.parquet", "lists of 2"),
        ("text.csv", "lacks the column"),
        ("broken.parquet", "damaged"),
        ("objects.npz", "damaged"),
        ("what.txt", "lacks the column 'label'"),
        ("what.xlsx", "expected one of .csv"),
        ("absent.csv", "is missing"),
    ):
        with pytest.raises(DataError, match=words):
            store.read(tmp_path / name)


def test_one_class_only_and_an_absent_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 2"):
        Predictions.from_arrays([0, 0], [[1.0], [1.0]], ("only",))
    p = Predictions.from_arrays([0, 0], [[0.9, 0.1], [0.2, 0.8]], ("a", "never"))
    np.testing.assert_array_equal(confusion_matrix(p).counts, [[1, 1], [0, 0]])


def test_many_classes(tmp_path: Path) -> None:
    p = predictions(300, 1000)
    store.write(p, tmp_path)
    again = store.read(tmp_path)
    same(again, p)
    assert confusion_matrix(again).counts.sum() == 300
