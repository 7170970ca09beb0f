import numpy as np
import pytest

from tests.factories import predictions
from workbench.analysis.planting import expected_precision
from workbench.core.predictions import Predictions
from workbench.errors import DataError


def test_a_sure_model_finds_them_all_and_a_blind_one_by_chance() -> None:
    label = np.random.default_rng(0).integers(0, 4, 2000)
    sure = Predictions.from_arrays(label, 0.96 * np.eye(4)[label] + 0.01, tuple("abcd"))
    found = expected_precision(sure, share=0.05)
    assert (found.value == 1).all()
    assert found.planted == 0.05
    blind = expected_precision(Predictions.from_arrays(label, np.full((2000, 4), 0.25), tuple("abcd")), share=0.05)
    assert blind.value[2] == pytest.approx(0.05, abs=0.03)


def test_more_of_them_are_easier_to_find() -> None:
    few, many = (expected_precision(predictions(1500, 4), share=share) for share in (0.02, 0.2))
    assert (few.value <= many.value).all()
    assert few.value[-1] < many.value[-1]
    assert (few.low <= few.value).all()
    assert (few.value <= few.high).all()


def test_what_cannot_be_planted() -> None:
    with pytest.raises(DataError, match="some of them"):
        expected_precision(predictions(50), share=0.001)
    assert expected_precision(predictions(60), share=0.1).tops == (10, 50)
