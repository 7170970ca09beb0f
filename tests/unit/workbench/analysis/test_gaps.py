import numpy as np
import pytest
from scipy import integrate, optimize

from workbench.analysis.calibration import reliability
from workbench.analysis.gaps import signed_gap, smooth_ece
from workbench.core.predictions import Predictions
from workbench.errors import DataError


def binary(confidence: np.ndarray, correct: np.ndarray) -> Predictions:
    return Predictions.from_arrays(np.where(correct, 0, 1), np.stack([confidence, 1 - confidence], 1), ("yes", "no"))


def drawn(seed: int, rows: int, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Confidences from 0.55 to 0.95, and whether rows are correct, with their confidence plus a gap."""
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.55, 0.95, rows)
    return confidence, generator.random(rows) < np.clip(confidence + gap, 0, 1)


@pytest.mark.parametrize("gap", [0.0, 0.01, 0.03, -0.1])
@pytest.mark.parametrize("rows", [500, 5000])
def test_intervals_cover_calibrated_and_miscalibrated_models(gap: float, rows: int) -> None:
    """The truth is the gap itself: every bin has it."""
    held_error, held_gap = [], []
    for seed in range(300):
        confidence, correct = drawn(seed, rows, gap)
        error, signed = reliability(binary(confidence, correct)).error, signed_gap(confidence, correct)
        held_error.append(error.low <= abs(gap) <= error.high)
        held_gap.append(signed.low <= gap <= signed.high)
    assert np.mean(held_error) >= 0.91
    assert np.mean(held_gap) >= 0.93


def test_noise_is_no_error_and_the_test_keeps_its_level() -> None:
    results = [reliability(binary(*drawn(seed, 400, 0.0))) for seed in range(300)]
    assert np.mean([r.ece for r in results]) > 0.03  # nothing but noise
    assert np.mean([r.error.value**2 for r in results]) < 0.001
    assert 0.01 < np.mean([r.error.p_value < 0.05 for r in results]) < 0.09
    assert reliability(binary(*drawn(0, 4000, 0.05))).error.p_value < 1e-4


def test_the_squared_estimate_is_unbiased() -> None:
    means = []
    for seed in range(400):
        confidence, correct = drawn(seed, 300, 0.05)
        d = correct - confidence
        place = np.minimum((confidence * 15).astype(int), 14)
        parts = [
            (place == b).mean() * (d[place == b].mean() ** 2 - d[place == b].var(ddof=1) / (place == b).sum())
            for b in np.unique(place)
            if (place == b).sum() > 1
        ]
        means.append(sum(parts))
        error = reliability(binary(confidence, correct)).error
        assert error.value == pytest.approx(np.sqrt(max(means[-1], 0)), abs=2e-4)
    assert np.mean(means) == pytest.approx(0.0025, abs=0.0004)


def test_smooth_ece_is_its_definition() -> None:
    """By numerical integration with the reflected kernel, and its fixed point by another solver."""
    confidence, correct = drawn(1, 120, -0.12)
    residual = correct - confidence

    def smoothed(width: float, at: np.ndarray) -> np.ndarray:
        total = np.zeros_like(at)
        for centre in [*(confidence + 2 * k for k in (-1, 0, 1)), *(2 * k - confidence for k in (0, 1))]:
            total += (np.exp(-((at[:, None] - centre) ** 2) / (2 * width**2)) * residual).sum(1)
        return total / (len(confidence) * width * np.sqrt(2 * np.pi))

    grid = np.linspace(0, 1, 8001)
    expected = optimize.bisect(
        lambda width: integrate.trapezoid(np.abs(smoothed(width, grid)), grid) - width, 0.01, 0.9
    )
    assert smooth_ece(binary(confidence, correct)) == pytest.approx(expected, rel=5e-3)


def test_a_calibrated_model_has_almost_none() -> None:
    assert smooth_ece(binary(*drawn(2, 20_000, 0.0))) < 0.015
    assert smooth_ece(binary(np.full(100, 0.7), np.arange(100) < 70)) <= 1e-3


def test_a_gap_in_words_has_a_direction_where_one_holds() -> None:
    words = [signed_gap(np.full(100, c), np.arange(100) < 80).words for c in (0.7, 0.9, 0.81)]
    assert words[0] == "confidence is 10.0 points below accuracy (1.1 to 16.7)"
    assert words[1] == "confidence is 10.0 points above accuracy (3.3 to 18.9)"
    assert words[2].startswith(
        "confidence and accuracy do not differ beyond chance (accuracy less confidence: −9.9 to +"
    )


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="at least one row"):
        signed_gap(np.zeros(0), np.zeros(0, bool))
