import numpy as np
import pytest

from workbench.analysis.statistics import benjamini_hochberg, mcnemar, percentile_interval, sign_test, wilson_interval
from workbench.errors import DataError


def test_mcnemar_golden_figures() -> None:
    test = mcnemar(25, 15)
    assert test.exact == pytest.approx(0.1539, abs=5e-5)
    assert test.chi2_corrected == pytest.approx(2.025)
    assert test.corrected == pytest.approx(0.1547, abs=5e-5)
    assert test.chi2_uncorrected == pytest.approx(2.5)
    assert test.uncorrected == pytest.approx(0.1138, abs=5e-5)


def test_mcnemar_without_discordant_pairs() -> None:
    test = mcnemar(0, 0)
    assert test.p_value == 1
    assert np.isnan(test.corrected)
    with pytest.raises(DataError, match="at least 0"):
        mcnemar(-1, 3)


def test_sign_test_by_hand() -> None:
    assert sign_test(0, 5) == pytest.approx(2 / 2**5)
    assert sign_test(3, 3) == 1


def test_benjamini_hochberg_by_hand() -> None:
    # p(i) * m / i, then the running minimum from the largest down
    adjusted = benjamini_hochberg([0.01, 0.04, np.nan, 0.03, 0.5])
    np.testing.assert_allclose(adjusted, [0.04, 0.04 * 4 / 3, np.nan, 0.04 * 4 / 3, 0.5])
    assert benjamini_hochberg([]).shape == (0,)


def test_percentiles_leave_out_what_is_undefined() -> None:
    samples = np.array([[0.0, np.nan], [1.0, np.nan], [np.nan, np.nan]])
    low, high = percentile_interval(samples)
    assert (low[0], high[0]) == (pytest.approx(0.025), pytest.approx(0.975))
    assert np.isnan([low[1], high[1]]).all()


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(9000, 10000, 0.89397, 0.90573), (900, 1000, 0.87985, 0.91709), (0, 1000, 0.0, 0.003827)],
)
def test_wilson_golden_figures(successes: int, trials: int, low: float, high: float) -> None:
    bounds = wilson_interval(successes, trials)
    assert float(bounds[0]) == pytest.approx(low, abs=6e-6)
    assert float(bounds[1]) == pytest.approx(high, abs=6e-6)


def test_wilson_edges() -> None:
    low, high = wilson_interval([0, 0, 5], [0, 7, 5])
    assert (low[0], high[0], low[1], high[2]) == (0, 1, 0, 1)
    with pytest.raises(DataError):
        wilson_interval([3], [2])
