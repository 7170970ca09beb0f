import numpy as np
import pytest
from scipy import stats

from tests.factories import predictions
from workbench.analysis.compare import compare
from workbench.analysis.models import ENSEMBLE, MAJORITY, agreement, differences, equivalence, models
from workbench.core.predictions import Predictions
from workbench.errors import DataError


def pair(seed: int, rows: int, fixed: float, broken: float, base: float = 0.85) -> tuple[Predictions, Predictions]:
    """Two models of which the second fixes and breaks rows at these rates."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 3, rows)
    was = generator.random(rows) < base
    now = np.where(was, generator.random(rows) >= broken / base, generator.random(rows) < fixed / (1 - base))

    def model(correct: np.ndarray) -> Predictions:
        return Predictions.from_arrays(
            label, 0.7 * np.eye(3)[np.where(correct, label, (label + 1) % 3)] + 0.1, tuple("abc")
        )

    return model(was), model(now)


def test_equivalence_keeps_its_level_at_the_margin() -> None:
    """Models that differ by exactly the margin are called no worse in 5 % of the cases."""
    called = [equivalence(compare(*pair(seed, 2000, 0.02, 0.03)), margin=0.01).no_worse for seed in range(400)]
    assert np.mean(called) == pytest.approx(0.05, abs=0.03)


def test_equal_models_are_equivalent_and_few_rows_prove_nothing() -> None:
    large, few = (equivalence(compare(*pair(1, rows, 0.005, 0.005))) for rows in (20_000, 200))
    assert large.equivalent
    assert large.no_worse
    assert not few.equivalent
    assert not equivalence(compare(*pair(2, 20_000, 0.0, 0.02))).no_worse
    with pytest.raises(DataError, match="above 0"):
        equivalence(compare(*pair(1, 100, 0.01, 0.01)), margin=0)


def test_agreement_within_groups() -> None:
    before, after = pair(3, 1000, 0.05, 0.05)
    rows = before.index
    frame = agreement(before, after, {"odd": rows[rows % 2 == 1], "all": rows, "none": np.array([99_999])})
    assert frame["group"].to_list() == ["odd", "all"]
    same = before.predicted == after.predicted
    assert frame["alike"].to_list() == [int(same[1::2].sum()), int(same.sum())]
    interval = stats.binomtest(int(same.sum()), 1000).proportion_ci(method="wilson")
    assert (frame["low"][1], frame["high"][1]) == pytest.approx((interval.low, interval.high))


def test_differences_within_groups() -> None:
    before, after = pair(3, 4000, 0.05, 0.01)
    rows = before.index
    frame = differences(before, after, {"odd": rows[rows % 2 == 1], "all": rows, "none": np.array([99_999])})
    assert frame["group"].to_list() == ["odd", "all"]
    whole = compare(before, after)
    one = frame.row(1, named=True)
    assert (one["fixed"], one["broken"]) == (whole.fixed, whole.broken)
    assert (one["low"], one["difference"], one["high"]) == pytest.approx((whole.low, whole.difference, whole.high))
    expected = stats.binomtest(whole.fixed, whole.fixed + whole.broken).pvalue
    assert one["p_value"] == pytest.approx(expected)


def test_majority_and_ensemble_of_several_models() -> None:
    label = predictions(600).label
    generator = np.random.default_rng(0)
    made = {}
    for name in ("first", "second", "third"):
        scores = generator.dirichlet(np.ones(4), 600) + 0.55 * np.eye(4)[label]
        order = generator.permutation(600)
        probability = scores / scores.sum(1, keepdims=True)
        made[name] = Predictions.from_arrays(label[order], probability[order], tuple("abcd"), index=order)
    frame = models(made)
    assert frame["model"].to_list() == ["first", "second", "third", MAJORITY, ENSEMBLE]
    by_row = {name: dict(zip(p.index.tolist(), p.probability, strict=True)) for name, p in made.items()}
    mean = np.array([np.mean([by_row[name][row] for name in made], 0) for row in range(600)])
    assert frame.row(4, named=True)["accuracy"] == pytest.approx((mean.argmax(1) == label).mean())
    assert frame.row(0, named=True)["difference"] == 0
    assert frame.row(4, named=True)["difference_low"] > 0
    for name, p in made.items():
        assert frame.filter(model=name)["accuracy"][0] == pytest.approx(p.accuracy)


def test_models_on_other_rows_are_refused() -> None:
    with pytest.raises(DataError, match="same"):
        models({"a": predictions(50), "b": predictions(60)})
    with pytest.raises(DataError, match="at least two"):
        models({"a": predictions(50)})
