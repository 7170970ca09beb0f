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
