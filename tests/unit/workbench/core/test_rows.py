from __future__ import annotations

import numpy as np
import pytest

from tests.factories import predictions
from workbench.core.predictions import Predictions
from workbench.core.rows import aligned, positions
from workbench.errors import DataError


def shuffled() -> Predictions:
    whole = predictions(20)
    order = np.random.default_rng(0).permutation(20)
    return Predictions.from_arrays(
        whole.label[order], whole.probability[order], whole.classes, index=whole.index[order] * 3
    )


def test_rows_are_found_by_id_in_any_order() -> None:
    one = shuffled()
    wanted = np.array([9, 0, 57, 9])
    assert one.index[positions(one, wanted)].tolist() == wanted.tolist()
    assert aligned(one, wanted[:3]).label.tolist() == [one.label[one.position(int(row))] for row in wanted[:3]]


@pytest.mark.parametrize("absent", [1, -3, 60])
def test_an_absent_row_is_named(absent: int) -> None:
    with pytest.raises(DataError, match=f"1 are not among them, such as {absent}"):
        positions(shuffled(), np.array([0, absent]))
