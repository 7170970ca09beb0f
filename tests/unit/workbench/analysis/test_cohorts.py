"""Rates of cohorts against statsmodels, and intervals against simulation."""

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from tests.factories import predictions
from workbench.analysis.cohorts import cohort_rates
from workbench.analysis.statistics import newcombe
from workbench.errors import DataError


@pytest.mark.parametrize("counts", [(3, 40, 10, 400), (0, 12, 5, 90), (12, 12, 0, 30), (1, 2, 1, 2)])
def test_newcombe_is_statsmodels_own(counts: tuple[int, int, int, int]) -> None:
    value, low, high = newcombe(*counts)
    assert value == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])
    assert (low, high) == pytest.approx(confint_proportions_2indep(*counts, method="newcomb", compare="diff"), abs=1e-9)


def test_newcombe_covers() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        first, second = generator.binomial(60, 0.3), generator.binomial(900, 0.08)
        _, low, high = newcombe(int(first), 60, int(second), 900)
        held += low <= 0.22 <= high
    assert 0.935 <= held / 2000 <= 0.97


def test_no_rows_have_no_difference() -> None:
    with pytest.raises(DataError, match="at least one row"):
        newcombe(0, 0, 1, 2)


def test_rates_are_counted_against_all_other_rows() -> None:
    p = predictions(200)
    wrong = p.index[~p.correct]
    chosen = np.concatenate([wrong[:5], p.index[p.correct][:15], [10**9]])  # one id that is not there
    table = cohort_rates(p, {"mixed": chosen, "all": p.index, "none": np.array([], np.int64)})
    mixed, everything, none = table.to_dicts()
    assert (mixed["rows"], mixed["errors"], mixed["error_rate"]) == (20, 5, 0.25)
    assert mixed["rest_rate"] == pytest.approx((len(wrong) - 5) / 180)
    assert mixed["difference"] == pytest.approx(0.25 - mixed["rest_rate"])
    assert mixed["difference_low"] < mixed["difference"] < mixed["difference_high"]
    assert (everything["rest_rate"], everything["difference"]) == (None, None)
    assert (none["rows"], none["error_rate"], none["difference"]) == (0, None, None)
    assert cohort_rates(p, {}).is_empty()
