import numpy as np
import polars as pl
import pytest
from cleanlab.filter import find_label_issues

from workbench.analysis.labels import confident_joint, label_scores, label_suspects, out_of_sample
from workbench.core.predictions import Predictions
from workbench.errors import DataError

# three rows labelled a (mean P[a] = 0.6), two labelled b (mean P[b] = 0.7)
BY_HAND = Predictions.from_arrays(
    [0, 0, 0, 1, 1], [[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.2, 0.8], [0.4, 0.6]], ("a", "b")
)


def test_confident_joint_by_hand() -> None:
    joint = confident_joint(BY_HAND)
    np.testing.assert_allclose(joint.thresholds, [0.6, 0.7], atol=1e-6)
    np.testing.assert_array_equal(joint.counts, [[2, 1], [0, 1]])  # the last row reaches no threshold
    np.testing.assert_allclose(joint.joint, [[0.4, 0.2], [0, 0.4]])
    assert joint.noise_rate == pytest.approx(0.2)


def test_suspects_by_hand() -> None:
    frame = label_suspects(BY_HAND)
    assert frame["index"].to_list() == [2]
    row = frame.row(0, named=True)
    assert (row["label"], row["suggested"]) == (0, 1)
    assert row["self_confidence"] == pytest.approx(0.2)
    assert row["normalised_margin"] == pytest.approx(-0.6)
    assert row["score"] == pytest.approx(0.8)
    assert "labelled a" in row["reason"]
    assert "b gets 80.0%" in row["reason"]


def noisy(rows: int = 1500, rate: float = 0.08) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three well separated clouds, true classes, and labels of which a share is wrong."""
    generator = np.random.default_rng(0)
    true = np.arange(rows) % 3
    cloud = generator.normal(size=(rows, 6)) + 4 * np.eye(3, 6)[true]
    moved = generator.random(rows) < rate
    return cloud.astype(np.float32), true, np.where(moved, (true + 1) % 3, true)


def test_planted_label_noise_is_found() -> None:
    cloud, true, label = noisy()
    p = out_of_sample(cloud, label, ("a", "b", "c"))
    found = set(label_suspects(p)["index"].to_list())
    planted = set(np.flatnonzero(true != label).tolist())
    # a suspect must reach the average probability of its other class, which about a fifth of these do not
    assert len(found & planted) >= 0.7 * len(planted)
    assert len(found & planted) >= 0.9 * len(found)
    assert confident_joint(p).noise_rate == pytest.approx(len(planted) / len(label), abs=0.02)


def test_out_of_sample_needs_enough_rows() -> None:
    cloud, _, _ = noisy(12)
    with pytest.raises(DataError, match="at least 5 rows each"):
        out_of_sample(cloud, np.array([0] * 10 + [1] * 2), ("a", "b"))


def test_absent_class_is_never_suggested() -> None:
    p = Predictions.from_arrays([0, 0, 1], [[0.1, 0.2, 0.7]] * 3, ("a", "b", "c"))
    assert np.isnan(confident_joint(p).thresholds[2])
    assert set(label_suspects(p)["suggested"].to_list()) <= {0, 1}


def uneven(seed: int, rows: int = 600) -> Predictions:
    """Classes of quite different size, some labels exchanged."""
    generator = np.random.default_rng(seed)
    true = generator.choice(3, rows, p=[0.75, 0.2, 0.05])
    probability = generator.dirichlet(np.ones(3), rows) + np.eye(3)[true]
    label = np.where(generator.random(rows) < 0.05, generator.integers(0, 3, rows), true)
    return Predictions.from_arrays(label, probability / probability.sum(1, keepdims=True), ("a", "b", "c"))


@pytest.mark.parametrize("seed", range(4))
def test_suspects_are_those_of_cleanlab(seed: int) -> None:
    p = uneven(seed)
    flagged = find_label_issues(p.label, p.probability.astype(np.float64), filter_by="confident_learning")
    assert set(label_suspects(p)["index"]) == set(np.flatnonzero(flagged).tolist())


def test_every_label_has_a_score_and_the_exchanged_ones_lead() -> None:
    p = uneven(7, 2000)
    exchanged = np.random.default_rng(3).permutation(2000)[:20]
    label = p.label.copy()
    label[exchanged] = (p.predicted[exchanged] + 1) % 3
    q = Predictions.from_arrays(label, p.probability, p.classes)
    epochs = np.where(np.random.default_rng(4).random((2000, 8)) < 0.8, p.predicted[:, None], label[:, None])
    for known in ({}, {"epochs": epochs}, {"others": [q]}):
        frame = label_scores(q, **known)  # type: ignore[arg-type]
        assert sorted(frame["index"]) == list(range(2000))
        assert frame["score"].is_sorted(descending=True)
        assert frame["score"].is_between(0, 1).all()
        mean = frame.filter(pl.col("index").is_in(exchanged.tolist()))["score"].mean()
        assert mean > 0.9  # type: ignore[operator]
    assert set(frame.filter("suspect")["index"]) == set(label_suspects(q)["index"])
