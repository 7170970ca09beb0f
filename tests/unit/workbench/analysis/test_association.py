import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from workbench.analysis.association import entropy, told


def test_known_entropies_and_information() -> None:
    generator = np.random.default_rng(0)
    a = generator.integers(0, 4, 200_000)
    b = np.where(generator.random(len(a)) < 0.7, a, generator.integers(0, 4, len(a)))
    assert entropy(a) == pytest.approx(np.log(4), abs=1e-3)
    assert told(a, b) == pytest.approx(mutual_info_score(a, b) / np.log(4), abs=1e-3)
    assert told(a, a) == pytest.approx(1)
    assert told(a, b, given=a) == 0


def test_chance_tells_nothing_of_few_rows() -> None:
    shares = [told(*np.random.default_rng(seed).integers(0, 12, (2, 300))) for seed in range(20)]
    assert np.mean(shares) < 0.05


def test_what_is_known_already_does_not_count() -> None:
    generator = np.random.default_rng(1)
    label = generator.integers(0, 5, 20_000)
    breed = label * 3 + generator.integers(0, 3, len(label))
    assert told(breed, label) == pytest.approx(np.log(5) / np.log(15), abs=0.01)
    assert told(breed, label, given=label) < 0.01
