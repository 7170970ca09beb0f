import numpy as np
import pytest
from sklearn import metrics

from workbench.analysis.ood import distance, energy, ranks, scrambled, separation, shuffled
from workbench.errors import DataError


def test_energy_and_distance_are_their_definitions() -> None:
    logits = np.array([[1.0, 2.0, -3.0], [700.0, 0.0, 0.0]])
    np.testing.assert_allclose(energy(logits), [-np.log(np.exp([1, 2, -3]).sum()), -700])
    generator = np.random.default_rng(0)
    a, b = (generator.normal(size=(n, 5)).astype(np.float32) for n in (7, 30))
    cosine = metrics.pairwise.cosine_similarity(a, b)
    np.testing.assert_allclose(distance(a, b, k=4), 1 - np.sort(cosine, 1)[:, -4:].mean(1), atol=1e-6)
    with pytest.raises(DataError, match="reference rows"):
        distance(a, b[:0])


def test_ranks_are_uniform_for_rows_alike() -> None:
    generator = np.random.default_rng(1)
    p = np.concatenate([ranks(generator.normal(size=50), generator.normal(size=99)) for _ in range(200)])
    assert 0.04 < np.mean(p <= 0.05) < 0.06
    assert ranks(np.array([9.0]), np.arange(3.0)) == 0.25


def test_separation_is_scikit_learns() -> None:
    generator = np.random.default_rng(2)
    own, foreign = generator.normal(size=300), generator.normal(1.5, 1, 200)
    found = separation(own, foreign)
    assert found.auc == pytest.approx(metrics.roc_auc_score([0] * 300 + [1] * 200, np.concatenate([own, foreign])))
    assert found.low < found.auc < found.high
    assert found.missed == (foreign <= np.quantile(own, 0.95)).mean()


def test_planted_images_keep_what_they_should() -> None:
    generator = np.random.default_rng(3)
    image = generator.integers(60, 200, (34, 33, 3)).astype(np.uint8)
    mixed = shuffled(image, generator)
    assert (mixed != image).any()
    np.testing.assert_array_equal(np.sort(mixed, None), np.sort(image, None))
    spectrum = np.abs(np.fft.fft2(scrambled(image, generator).astype(float), axes=(0, 1)))
    before = np.abs(np.fft.fft2(image.astype(float), axes=(0, 1)))
    assert np.corrcoef(spectrum.ravel(), before.ravel())[0, 1] > 0.99
    with pytest.raises(DataError, match="at least 4 pixels"):
        shuffled(image[:3], generator)
