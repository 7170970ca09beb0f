import numpy as np
import pytest

from workbench.analysis.noise import exchanged_labels
from workbench.errors import DataError


def drawn(seed: int, share: float, rows: int = 3000, classes: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calibrated probabilities, labels drawn from them and exchanged at a share, and which were exchanged."""
    generator = np.random.default_rng(seed)
    scores = 1.5 * generator.normal(size=(rows, classes))
    scores[np.arange(rows), generator.integers(0, classes, rows)] += generator.normal(5, 2, rows)
    probability = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    label = (probability.cumsum(1) > generator.random(rows)[:, None]).argmax(1)
    exchanged = generator.random(rows) < share
    away = (label + generator.integers(1, classes, rows)) % classes
    return probability.astype(np.float32), np.where(exchanged, away, label), exchanged


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_the_share_is_covered_and_the_rows_are_found(share: float) -> None:
    covered, right, expected = [], [], []
    for seed in range(12):
        probability, label, exchanged = drawn(seed, share)
        found = exchanged_labels(probability, label)
        covered.append(found.low <= exchanged.mean() <= found.high)
        assert found.p_value < 0.01
        doubtful = found.posterior >= 0.5
        right.append(exchanged[doubtful].sum() / max(1, doubtful.sum()))
        expected.append(found.posterior[doubtful].mean())
    assert np.mean(covered) > 0.8
    assert np.mean(right) == pytest.approx(np.mean(expected), abs=0.12)


def test_correct_labels_are_not_doubted() -> None:
    p_values = [exchanged_labels(*drawn(seed, 0.0)[:2]).p_value for seed in range(30)]
    assert np.mean(np.array(p_values) < 0.05) <= 0.1


@pytest.mark.parametrize("factor", [0.6, 1.8])
@pytest.mark.parametrize("one_class", [True, False])
def test_miscalibration_is_no_noise(factor: float, one_class: bool) -> None:
    probability, label, _ = drawn(3, 0.0)
    rows = probability.argmax(1) == 2 if one_class else np.ones(len(label), bool)
    scores = factor * np.log(probability[rows])
    probability[rows] = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert exchanged_labels(probability, label).p_value > 0.01


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="at least one row"):
        exchanged_labels(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
