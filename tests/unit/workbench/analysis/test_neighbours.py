import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from workbench.analysis import neighbours
from workbench.analysis.neighbours import join_neighbours, nearest, neighbour_votes, typicality
from workbench.core.predictions import Predictions
from workbench.errors import DataError


def cloud(rows: int, seed: int, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def test_nearest_equals_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CELLS", 7 * 200)  # several blocks
    a, b = cloud(30, 0), cloud(200, 1)
    found = nearest(a, b, 4)
    distance, places = NearestNeighbors(n_neighbors=4, metric="cosine").fit(b).kneighbors(a)
    np.testing.assert_array_equal(found.places, places)
    np.testing.assert_allclose(found.similarity, 1 - distance, atol=1e-5)
    assert found.exact


def test_a_row_is_not_its_own_neighbour() -> None:
    a = cloud(40, 0)
    found = nearest(a, a, 3, exclude_self=True)
    assert (found.places != np.arange(40)[:, None]).all()
    np.testing.assert_array_equal(nearest(a, a, 1).places[:, 0], np.arange(40))


def test_approximate_search_finds_nearly_all() -> None:
    b = cloud(6000, 1, 16) + 4 * np.repeat(cloud(60, 2, 16), 100, axis=0)
    exact, rough = nearest(b[:200], b, 5), nearest(b[:200], b, 5, exact_up_to=1000)
    assert not rough.exact
    hits = [len(set(x) & set(y)) for x, y in zip(exact.places.tolist(), rough.places.tolist(), strict=True)]
    assert np.mean(hits) >= 0.95 * 5


def test_votes_of_neighbours_by_hand() -> None:
    reference = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
    found = nearest(np.array([[1, 0]], np.float32), reference, 2)
    assert found.places.tolist() == [[0, 1]]
    np.testing.assert_allclose(neighbour_votes(found, np.array([0, 2, 1]), 3), [[0.5, 0, 0.5]])


def test_typicality_tells_the_outlier() -> None:
    reference = cloud(200, 0) * 0.2 + np.eye(2, 8, dtype=np.float32)[np.arange(200) % 2]
    labels = np.arange(200) % 2
    query = np.array([[1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]], np.float32)
    ranks = typicality(query, np.array([0, 0, 2]), reference, labels)
    assert ranks[0] > 0.9
    assert ranks[1] == 0
    assert np.isnan(ranks[2])


def test_typicality_of_typical_rows_is_even() -> None:
    points = cloud(2000, 3)
    ranks = typicality(points[1000:], np.zeros(1000, int), points[:1000], np.zeros(1000, int))
    np.testing.assert_allclose(np.quantile(ranks, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.06)


def test_familiarity_tells_what_is_like_nothing_from_what_is_like_another_class() -> None:
    axes = np.eye(8, dtype=np.float32)
    train = Predictions.from_arrays([0] * 20 + [1] * 20, np.eye(2)[[0] * 20 + [1] * 20], ("a", "b"),
                                    embedding=np.repeat(axes[:2], 20, axis=0) + 0.01 * cloud(40, 0))  # fmt: skip
    points = np.concatenate([np.repeat(axes[:1], 38, axis=0), axes[1:2], axes[2:3]]) + 0.01 * cloud(40, 1)
    p = Predictions.from_arrays([0] * 40, np.eye(2)[[0] * 40], ("a", "b"), embedding=points)
    found = join_neighbours(p, train).columns("typicality", "familiarity")
    assert found["familiarity"].arg_min() == 39
    assert found["familiarity"][39] == 1 / 40
    assert found["familiarity"][38] > 1 / 40
    assert found["typicality"][38] == found["typicality"][39] == 0


def test_bad_input() -> None:
    with pytest.raises(DataError, match="expected 8 values"):
        nearest(cloud(3, 0, 4), cloud(9, 1))
    with pytest.raises(DataError, match="1 to 9"):
        nearest(cloud(3, 0), cloud(9, 1), 10)
    with pytest.raises(DataError, match="finite"):
        nearest(np.full((2, 8), np.nan, np.float32), cloud(9, 1))
    p = Predictions.from_arrays([0, 1], np.eye(2), ("a", "b"))
    with pytest.raises(DataError, match="with embeddings"):
        join_neighbours(p, p)
