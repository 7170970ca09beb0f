import numpy as np
import polars as pl
import pytest

from tests.factories import predictions
from workbench.analysis.compare import churn_against_seeds, compare, newcombe_paired, pair_rows, seeds_alike
from workbench.core.predictions import Predictions
from workbench.errors import DataError


def answers(predicted: list[int], label: list[int], index: list[int] | None = None) -> Predictions:
    return Predictions.from_arrays(label, np.eye(3)[predicted], ("a", "b", "c"), index=index)


BEFORE = answers([0, 0, 1, 2, 2], [0, 1, 1, 0, 0])
AFTER = answers([2, 1, 0, 1, 0], [0, 0, 1, 1, 0], index=[4, 3, 1, 2, 0])


def test_comparison_by_hand() -> None:
    result = compare(BEFORE, AFTER)  # rows 0 to 4: right/right, wrong/wrong, right/right, wrong/wrong, wrong/wrong
    counts = (result.both_right, result.fixed, result.broken, result.both_wrong, result.both_wrong_alike)
    assert counts == (2, 0, 0, 3, 2)
    assert result.churn == pytest.approx(1 / 5)
    assert pair_rows(BEFORE, AFTER).collect()["after"].to_list() == [0, 0, 1, 1, 2]


def test_the_other_way_round() -> None:
    a, b = predictions(500, 4), None
    moved = np.where(np.random.default_rng(1).random(500) < 0.3, (a.predicted + 1) % 4, a.predicted)
    b = Predictions.from_arrays(a.label, np.eye(4)[moved], a.classes)
    one, two = compare(a, b), compare(b, a)
    assert (one.fixed, one.broken) == (two.broken, two.fixed)
    assert one.difference == -two.difference == pytest.approx(b.accuracy - a.accuracy)
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low))
    assert one.test.p_value == pytest.approx(two.test.p_value)
    assert one.low < one.difference < one.high
    assert one.classes["fixed"].sum() == one.fixed
    for row in one.classes.iter_rows(named=True):
        mine = a.label == a.classes.index(row["class"])
        assert row["difference"] == pytest.approx(b.correct[mine].mean() - a.correct[mine].mean())
    assert one.both_right + one.fixed + one.broken + one.both_wrong == 500


def test_newcombe_golden_figures() -> None:
    # Newcombe 1998, table II, method 10: (a, b, c, d) of 50 and of 53 pairs
    assert newcombe_paired(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    assert newcombe_paired(53, 0, 0, 0) == pytest.approx((-0.0676, 0.0676), abs=5e-4)


def test_newcombe_of_many_rows_is_the_normal_interval() -> None:
    n, second, first = 10_000_000, 60_000, 50_000
    deviation = np.sqrt(second + first - (second - first) ** 2 / n) / n
    expected = (second - first) / n + 1.96 * deviation * np.array([-1, 1])
    assert newcombe_paired(9_000_000, second, first, n - 9_110_000) == pytest.approx(tuple(expected), rel=0.02)


def test_other_rows_are_refused() -> None:
    other_classes = Predictions.from_arrays([0], [[1, 0]], ("a", "z"))
    for after, words in (
        (answers([0], [0]), "not 5 and 1"),
        (answers([0] * 5, [0] * 5, [0, 1, 2, 3, 9]), "only 4 of 5 row ids"),
        (answers([0] * 5, [0, 1, 1, 0, 2]), "another label"),
        (other_classes, "other classes"),
    ):
        with pytest.raises(DataError, match=words):
            compare(BEFORE, after)


def test_churn_between_seeds_against_a_regression() -> None:
    generator = np.random.default_rng(0)
    label = generator.integers(0, 3, 4000)

    def model(accuracy: float) -> Predictions:
        wrong = generator.random(4000) > accuracy
        return Predictions.from_arrays(label, np.eye(3)[np.where(wrong, (label + 1) % 3, label)], ("a", "b", "c"))

    seeds = [model(0.9) for _ in range(5)]
    assert churn_against_seeds(seeds, model(0.9)).p_value > 0.05
    worse = churn_against_seeds(seeds, model(0.8))
    assert worse.p_value < 0.01
    assert worse.change == pytest.approx(-0.1, abs=0.02)
    assert worse.change_churn > worse.seed_churn
    with pytest.raises(DataError, match="at least two"):
        churn_against_seeds(seeds[:1], seeds[0])


def test_rows_that_a_seed_changes_alike() -> None:
    truth = [0] * 5
    before, after = answers([1, 1, 0, 0, 0], truth), answers([0, 0, 1, 1, 0], truth)
    changed = pair_rows(before, after).filter(pl.col("outcome").is_in(["fixed", "broken"])).sort("index").collect()
    seeds = [answers([0, 1, 0, 1, 1], truth), answers([0, 1, 0, 2, 0], truth)]
    assert seeds_alike(changed, seeds).to_list() == [2, 0, 0, 2]
    with pytest.raises(DataError, match="a seed lacks 1 of the rows"):
        seeds_alike(changed, [answers([0] * 4, [0] * 4, index=[1, 2, 3, 4])])
