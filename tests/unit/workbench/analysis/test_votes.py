from pathlib import Path

import numpy as np
import pytest

from tests.factories import predictions
from workbench.analysis.votes import (
    ambiguous,
    human_confusion,
    join_votes,
    read_votes,
    shared_errors,
    soft_cross_entropy,
)
from workbench.core.predictions import Predictions
from workbench.errors import DataError

P = Predictions.from_arrays(
    [0, 1, 1], [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.5, 0.3, 0.2]], ("a", "b", "c"), index=[2, 0, 1]
)
VOTES = np.array([[5, 5, 0], [0, 0, 4], [10, 0, 0]])  # by row id


def test_votes_by_hand() -> None:
    q = join_votes(P, VOTES)
    frame = q.columns("votes_top", "votes_for_label", "votes_entropy", "votes_count", "soft_loss")
    assert frame["votes_top"].to_list() == [0, 1, 2]  # row 0 is a tie that the label is in
    np.testing.assert_allclose(frame["votes_for_label"], [1, 0.5, 0])
    np.testing.assert_allclose(frame["votes_entropy"], [0, 1, 0])
    assert frame["votes_count"].to_list() == [10, 10, 4]
    expected = -np.log([0.8, np.sqrt(0.6 * 0.3), 0.2])
    np.testing.assert_allclose(frame["soft_loss"], expected, rtol=1e-6)
    assert soft_cross_entropy(q) == pytest.approx(expected.mean(), rel=1e-6)
    assert ambiguous(q)["index"].to_list() == [0]
    np.testing.assert_array_equal(human_confusion(q).counts, [[1, 0, 0], [0, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(human_confusion(q, majority=False).counts, [[10, 0, 0], [5, 5, 4], [0, 0, 0]])
    rate = shared_errors(q)  # rows 0 and 1 are wrong; most people miss row 1, and say something else again
    np.testing.assert_allclose(rate.value, [0.5, 0])


def test_shares_have_no_single_votes() -> None:
    q = join_votes(P, VOTES / VOTES.sum(1, keepdims=True))
    np.testing.assert_allclose(q.columns("votes_entropy")["votes_entropy"], [0, 1, 0])
    with pytest.raises(DataError, match="counts of votes"):
        human_confusion(q, majority=False)


@pytest.mark.parametrize(
    ("votes", "words"),
    [
        (VOTES[:, :2], r"\(rows, 3\)"),
        (VOTES[:2], "each row id up to 2"),
        (VOTES - 1, "at least 0"),
        (VOTES * [[1], [0], [1]], "at least one vote"),
        (np.array([["a"] * 3] * 3), "expected numbers"),
    ],
)
def test_bad_votes_are_refused(votes: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        join_votes(P, votes)


def test_votes_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="have no votes"):
        soft_cross_entropy(predictions())
    (tmp_path / "votes.npy").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="no NumPy matrix"):
        read_votes(tmp_path / "votes.npy")
