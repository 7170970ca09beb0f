from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from workbench.analysis import projection
from workbench.errors import DataError


def blobs(rows: int = 240) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    label = np.arange(rows) % 3
    middle = generator.normal(0, 6, (3, 20))
    return (middle[label] + generator.normal(size=(rows, 20))).astype(np.float32), label


def test_principal_components_are_those_of_scikit_learn() -> None:
    embedding, _ = blobs()
    mine, theirs = projection.principal(embedding), PCA(2).fit_transform(embedding)
    for k in range(2):
        assert abs(np.corrcoef(mine[:, k], theirs[:, k])[0, 1]) > 1 - 1e-6
        assert (mine[:, k] ** 3).sum() > 0
        assert mine[:, k].std() == pytest.approx(theirs[:, k].std(), rel=1e-4)


def test_neighbours_stay_near_and_the_layout_repeats() -> None:
    embedding, _ = blobs()
    first = projection.neighbours(embedding)
    assert trustworthiness(embedding, first, n_neighbors=8) > 0.85
    assert (projection.neighbours(embedding) == first).all()


def test_a_layout_is_kept_for_its_own_embeddings_only(tmp_path: Path) -> None:
    embedding, _ = blobs(60)
    path, points = tmp_path / "explorer" / "map.npz", projection.principal(embedding)
    assert projection.read_layout(path, "x") is None
    projection.write_layout(path, projection.digest(embedding), points)
    assert (projection.read_layout(path, projection.digest(embedding)) == points).all()
    embedding[0, 0] += 1
    assert projection.read_layout(path, projection.digest(embedding)) is None
    path.write_bytes(b"PK\x03\x04 rubbish")
    with pytest.raises(DataError, match="is damaged"):
        projection.read_layout(path, "x")


@pytest.mark.parametrize("bad", [np.zeros((1, 4)), np.zeros((5, 1)), np.full((5, 4), np.nan)])
def test_what_cannot_be_placed_is_refused(bad) -> None:
    with pytest.raises(DataError, match="expected a finite matrix"):
        projection.principal(bad)
    with pytest.raises(DataError, match="expected 10 to 30,000 rows"):
        projection.neighbours(bad)
