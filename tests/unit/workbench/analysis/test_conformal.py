import numpy as np
import pytest

from tests.factories import predictions
from workbench.analysis.conformal import conformal_sets, review_load
from workbench.core.predictions import Predictions
from workbench.errors import DataError


@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("by_class", [True, False])
def test_the_promise_is_kept(score: str, by_class: bool) -> None:
    held = [
        conformal_sets(predictions(2000, 4, seed), promise=0.9, score=score, by_class=by_class)  # type: ignore[arg-type]
        for seed in range(8)
    ]
    assert np.mean([sets.overall for sets in held]) == pytest.approx(0.9, abs=0.02)
    if by_class:
        assert np.mean([sets.coverage.value for sets in held], 0) == pytest.approx(np.full(4, 0.9), abs=0.04)
    assert all(1 <= sets.size <= 4 for sets in held)


def test_sets_by_hand() -> None:
    """With one calibration score for all rows the limit is that score."""
    p = Predictions.from_arrays([0] * 40, [[0.6, 0.3, 0.1]] * 40, ("a", "b", "c"))
    sets = conformal_sets(p, promise=0.9)
    assert sets.overall == 1
    assert (sets.member == [True, False, False]).all()
    tight = conformal_sets(Predictions.from_arrays([0] * 8, [[0.6, 0.3, 0.1]] * 8, ("a", "b", "c")), promise=0.95)
    assert tight.member.all()  # four calibration rows can't promise 95 %: every class is in the set


def test_a_review_keeps_its_promise() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, 20_000)
    label = (generator.random(20_000) > confidence).astype(int)
    p = Predictions.from_arrays(label, np.stack([confidence, 1 - confidence], 1), ("yes", "no"))
    found = review_load(p, promise=0.9)
    assert found.accuracy == pytest.approx(0.9, abs=0.02)
    assert found.threshold == pytest.approx(0.8, abs=0.03)  # mean confidence above 0.8 is 0.9
    assert found.share == pytest.approx(0.6, abs=0.05)
    assert found.low <= found.accuracy <= found.high
    assert review_load(p, promise=0.9999).share > 0.95


def test_what_cannot_be_promised() -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        conformal_sets(predictions(50), promise=95)
    with pytest.raises(DataError, match="at least 4 rows"):
        conformal_sets(predictions(3))
    hopeless = Predictions.from_arrays([1] * 20, [[0.9, 0.1]] * 20, ("a", "b"))
    assert review_load(hopeless).share == 1
