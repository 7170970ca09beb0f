import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable

from workbench.analysis.strata import Strata, excess
from workbench.errors import DataError


def drawn(
    seed: int, rows: int, classes: int, share: float, base: float, effect: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A group's mask, errors and classes; the classes have rates of their own, and shares of the group."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, classes, rows)
    inside = generator.random(rows) < share * (0.5 + label / classes)
    rate = np.random.default_rng(99).uniform(0.3, 1.7, classes)[label] * base
    return inside, generator.random(rows) < rate + effect * inside, label


def test_the_test_is_that_of_statsmodels() -> None:
    inside, wrong, label = drawn(0, 6000, 6, 0.2, 0.15, 0.05)
    counts = Strata.of(inside, wrong, label)
    tables = [
        np.array([[a, n - a], [b, m - b]])
        for a, n, b, m in zip(counts.errors, counts.rows, counts.other_errors, counts.other_rows, strict=True)
    ]
    found = excess(counts)
    assert found.difference > 0
    assert found.p_value == pytest.approx(StratifiedTable(tables).test_null_odds(correction=True).pvalue / 2, rel=1e-9)


def test_few_rows_have_the_exact_distribution() -> None:
    """One stratum is Fisher's test; of several every outcome with the same margins is counted."""
    one = Strata(*(np.array([n]) for n in (5, 12, 3, 30)))
    found = excess(one)
    assert found.p_value == pytest.approx(stats.fisher_exact([[5, 7], [3, 27]], "greater").pvalue)
    assert found.difference == pytest.approx(5 / 12 - 3 / 30)
    a, n1, b, n0 = (np.array(x) for x in ([2, 1, 3], [4, 5, 6], [1, 2, 1], [7, 6, 5]))
    ways = [
        [math.comb(int(r), k) * math.comb(int(s), int(m) - k) for k in range(int(m) + 1)]
        for r, s, m in zip(n1, n0, a + b, strict=True)
    ]
    whole = at_least = 0
    for outcome in itertools.product(*(range(len(way)) for way in ways)):
        weight = math.prod(way[k] for way, k in zip(ways, outcome, strict=True))
        whole += weight
        at_least += weight if sum(outcome) >= a.sum() else 0
    assert excess(Strata(a, n1, b, n0)).p_value == pytest.approx(at_least / whole)


def test_a_mix_of_classes_is_no_excess() -> None:
    """A group that holds more of a hard class fails more often, but not within its classes."""
    generator = np.random.default_rng(1)
    label = generator.integers(0, 2, 4000)
    inside = generator.random(4000) < np.where(label == 1, 0.5, 0.1)
    wrong = generator.random(4000) < np.where(label == 1, 0.4, 0.05)
    assert wrong[inside].mean() > 2 * wrong[~inside].mean() - 0.1
    found = excess(Strata.of(inside, wrong, label))
    assert found.p_value > 0.05
    assert found.low < 0 < found.high


@pytest.mark.parametrize(
    ("rows", "classes", "share", "base", "effect"),
    [(4000, 10, 0.1, 0.1, 0.05), (2000, 4, 0.03, 0.03, 0.5), (3000, 300, 0.1, 0.1, 0.0), (1000, 3, 0.1, 0.02, 0.0)],
)
def test_intervals_cover_and_the_test_is_not_liberal(
    rows: int, classes: int, share: float, base: float, effect: float
) -> None:
    results = [excess(Strata.of(*drawn(seed, rows, classes, share, base, effect))) for seed in range(300)]
    assert np.mean([r.low <= effect <= r.high for r in results]) > 0.92
    if effect == 0:
        assert np.mean([r.p_value <= 0.05 for r in results]) < 0.08


def test_what_cannot_be_compared_and_what_cannot_be() -> None:
    alone = excess(Strata.of(np.array([True, False]), np.array([True, False]), np.array([0, 1])))
    assert (alone.p_value, alone.low, alone.high) == (1.0, -1.0, 1.0)
    one = np.ones(1, np.int64)
    with pytest.raises(DataError, match="errors <= rows"):
        excess(Strata(2 * one, one, one, one))
