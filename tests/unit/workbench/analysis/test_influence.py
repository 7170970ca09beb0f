from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories import predictions
from workbench.analysis.influence import influence, lead_scores, refit_without, residuals
from workbench.core.predictions import Predictions
from workbench.errors import DataError
from workbench.store import read, write_reduced


def blobs(count: int, seed: int, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed)
    label = drawn.integers(0, 3, count)
    centres = np.random.default_rng(0).normal(size=(3, width)) * 0.7
    return (centres[label] + drawn.normal(size=(count, width))).astype(np.float32), label


def head(features: np.ndarray, label: np.ndarray) -> torch.nn.Linear:
    torch.manual_seed(0)
    layer = torch.nn.Linear(features.shape[1], 3)
    optimiser = torch.optim.Adam(layer.parameters(), 0.05)
    for _ in range(150):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layer(torch.tensor(features)), torch.tensor(label)).backward()
        optimiser.step()
    return layer


def predicted(layer: torch.nn.Linear, features: np.ndarray, label: np.ndarray) -> Predictions:
    with torch.no_grad():
        shares = layer(torch.tensor(features)).softmax(1).numpy()
    return Predictions.from_arrays(label, shares, ("a", "b", "c"), embedding=features)


@pytest.fixture(scope="module")
def fitted() -> tuple[torch.nn.Linear, Predictions, Predictions]:
    train, test = blobs(400, 1), blobs(200, 2)
    layer = head(*train)
    return layer, predicted(layer, *test), predicted(layer, *train)


def test_scores_are_what_a_step_of_gradient_descent_does(
    fitted: tuple[torch.nn.Linear, Predictions, Predictions],
) -> None:
    layer, test, train = fitted
    row, step = int(np.flatnonzero(~test.correct)[0]), 1e-3
    of, over = test.predicted[row : row + 1], test.label[row : row + 1]
    assert test.embedding is not None
    assert train.embedding is not None
    scores = lead_scores(test.embedding[row : row + 1], of, over, train.embedding, residuals(train))[0]
    for j in (0, 7, 31):
        moved = torch.nn.Linear(*reversed(layer.weight.shape))
        moved.load_state_dict(layer.state_dict())
        torch.nn.functional.cross_entropy(
            moved(torch.tensor(train.embedding[j : j + 1])), torch.tensor(train.label[j : j + 1])
        ).backward()
        with torch.no_grad():
            for parameter in moved.parameters():
                parameter -= step * parameter.grad
            x = torch.tensor(test.embedding[row])
            change = (moved(x) - layer(x))[int(of[0])] - (moved(x) - layer(x))[int(over[0])]
        assert float(change) / step == pytest.approx(scores[j], rel=0.02, abs=1e-3)


def test_captum_gives_the_same_influence_on_the_loss(
    fitted: tuple[torch.nn.Linear, Predictions, Predictions], tmp_path: Path
) -> None:
    """TracInCPFast, of the test row's loss, leaves out the bias; else the products of residuals and features agree."""
    from captum.influence import TracInCPFast

    layer, test, train = fitted
    assert test.embedding is not None
    assert train.embedding is not None
    net = torch.nn.Sequential(torch.nn.Identity(), layer)
    torch.save(net.state_dict(), tmp_path / "one.pt")

    def load(module: torch.nn.Module, path: str) -> float:
        module.load_state_dict(torch.load(path, weights_only=True))
        return 1.0

    data = torch.utils.data.TensorDataset(torch.tensor(train.embedding), torch.tensor(train.label))
    loss = torch.nn.CrossEntropyLoss(reduction="sum")
    fast = TracInCPFast(net, layer, data, [str(tmp_path / "one.pt")], load, loss_fn=loss, batch_size=50)
    wanted = fast.influence((torch.tensor(test.embedding[:5]), torch.tensor(test.label[:5]))).numpy()
    ours = (residuals(test)[:5] @ residuals(train).T) * (test.embedding[:5] @ train.embedding.T)
    np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=1e-4)


def test_the_strongest_rows_are_those_of_all_scores(fitted: tuple[torch.nn.Linear, Predictions, Predictions]) -> None:
    _, test, train = fitted
    rows = test.index[~test.correct][:6]
    found = influence(test, train, rows, top=4)
    assert test.embedding is not None
    assert train.embedding is not None
    for k, row in enumerate(rows):
        place = slice(int(row), int(row) + 1)
        every = lead_scores(
            test.embedding[place], test.predicted[place], test.label[place], train.embedding, residuals(train)
        )[0]
        assert found.speaks_for[k].tolist() == np.argsort(-every, kind="stable")[:4].tolist()
        assert found.speaks_against[k].tolist() == np.argsort(every, kind="stable")[:4].tolist()
        np.testing.assert_allclose(found.for_scores[k], np.sort(every)[::-1][:4], rtol=1e-5)


def test_mislabelled_train_rows_that_cause_errors_are_found_and_their_removal_mends_them() -> None:
    """Ten train rows by one test row, of another class: they are the strongest, and their removal shows."""
    features, label = blobs(200, 1)
    test_features, test_label = blobs(60, 2)
    spot = features.mean(0) + 4
    planted = (spot + 0.1 * np.random.default_rng(3).normal(size=(10, 6))).astype(np.float32)
    features, label = np.concatenate([features, planted]), np.concatenate([label, np.full(10, 2)])
    test_features, test_label = np.concatenate([test_features, spot[None]]), np.concatenate([test_label, [0]])
    layer = head(features, label)
    test, train = predicted(layer, test_features.astype(np.float32), test_label), predicted(layer, features, label)
    assert test.predicted[-1] == 2
    found = influence(test, train, np.array([60]), top=10)
    assert sum(row >= 200 for row in found.speaks_for[0]) >= 7
    removal = refit_without(test, train, found)
    assert removal.after[0] < removal.random[0] - 0.5
    assert removal.before[0] == pytest.approx(removal.random[0], abs=1.0)


def test_the_forecast_agrees_with_what_removal_does(fitted: tuple[torch.nn.Linear, Predictions, Predictions]) -> None:
    _, test, train = fitted
    rows = test.index[~test.correct][:25]
    removal = refit_without(test, train, influence(test, train, rows, top=20))
    assert removal.correlation(removal.forecast) > 0.9
    assert (np.sign(removal.forecast) == np.sign(removal.after - removal.before)).mean() > 0.9
    assert removal.correlation(removal.scores) > 0.3
    assert removal.excess[1] > 0
    assert "rank correlation of the change with its forecast" in str(removal)


def test_products_survive_being_reduced(
    fitted: tuple[torch.nn.Linear, Predictions, Predictions], tmp_path: Path
) -> None:
    _, test, train = fitted
    assert test.embedding is not None
    assert train.embedding is not None
    write_reduced(train, tmp_path / "train.npz", 6)
    found = read(tmp_path / "train.npz")
    assert found.embedding is not None
    assert found.embedding.shape == train.embedding.shape
    exact = test.embedding @ train.embedding.T
    np.testing.assert_allclose(test.embedding @ found.embedding.T, exact, atol=0.02 * np.abs(exact).max())
    np.testing.assert_allclose(found.probability, train.probability, atol=1e-3)
    np.testing.assert_array_equal(found.index, train.index)
    np.testing.assert_array_equal(found.label, train.label)
    assert (found.classes, found.provenance) == (train.classes, train.provenance)
    rows = test.index[~test.correct][:20]
    one, other = (influence(test, some, rows, top=10) for some in (train, found))
    kept = [len(set(a) & set(b)) / 10 for a, b in zip(one.speaks_for, other.speaks_for, strict=True)]
    assert np.mean(kept) > 0.8


def test_what_can_not_be_reduced_is_refused(
    fitted: tuple[torch.nn.Linear, Predictions, Predictions], tmp_path: Path
) -> None:
    _, _, train = fitted
    bare = Predictions.from_arrays(train.label, train.probability, train.classes)
    with pytest.raises(DataError, match="expected embeddings and probabilities"):
        write_reduced(bare, tmp_path / "a.npz")
    with pytest.raises(DataError, match="width: expected 1 to 6 directions, not 64"):
        write_reduced(train, tmp_path / "a.npz")
    write_reduced(train, tmp_path / "a.npz", 6)
    damaged = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(damaged[: len(damaged) // 2])
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path / "b.npz")


def test_bad_requests_are_refused(fitted: tuple[torch.nn.Linear, Predictions, Predictions]) -> None:
    _, test, train = fitted
    wrong, right = test.index[~test.correct], test.index[test.correct]
    with pytest.raises(DataError, match="is correct"):
        influence(test, train, right[:1])
    with pytest.raises(DataError, match="expected 1 to 400 train rows, not 401"):
        influence(test, train, wrong[:1], top=401)
    with pytest.raises(DataError, match="with embeddings"):
        influence(test, predictions(), wrong[:1])
    with pytest.raises(DataError, match="of one model"):
        influence(test, predictions(embedding=True), wrong[:1])
    two = [Predictions.from_arrays([0, 1], [[0.4, 0.6], [0.3, 0.7]], ("a", "b"), embedding=np.eye(2)) for _ in range(2)]
    found = influence(*two, np.array([0]), top=1)
    assert found.speaks_for.tolist() == [[1]]
    with pytest.raises(DataError, match="expected three classes or more"):
        refit_without(*two, found)
