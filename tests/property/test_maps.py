import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from workbench.evidence.imputation import ranks
from workbench.evidence.stability import rank_correlation


@given(
    values=hnp.arrays(np.float32, (2, 4, 4), elements=st.sampled_from([-1.0, 0.0, 0.0, 0.5, 1.0])),
    share=st.integers(0, 256),
)
def test_removal_is_exact_whatever_the_ties(values: np.ndarray, share: int) -> None:
    order = ranks(values, (16, 16), (3, 4))
    assert ((order < share).sum((1, 2)) == share).all()
    top = order[0] < share
    large = cv2.resize(values[0], (16, 16), interpolation=cv2.INTER_LINEAR)
    if 0 < share < 256:
        assert large[top].min() >= large[~top].max()


@given(hnp.arrays(np.float32, (3, 4, 4), elements=st.floats(-1e3, 1e3, width=32)))
def test_rank_correlation_is_scipys(values: np.ndarray) -> None:
    other = np.roll(values, 1, axis=2)
    ours = rank_correlation(values, other)
    for one, two, found in zip(values, other, ours, strict=True):
        if np.ptp(one) == 0:
            assert np.isnan(found)
        else:
            assert found == pytest.approx(stats.spearmanr(one.ravel(), two.ravel()).statistic, abs=1e-9)
