from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.workbench.concepts.planted import CELLS, CHANNELS, coloured, planted, planted_run
from workbench.attribution.targets import Targets
from workbench.concepts.causal import _by_model, removal
from workbench.concepts.cells import Cells, cells_of
from workbench.concepts.factorise import Concepts, factorise
from workbench.concepts.found import patch_of
from workbench.concepts.ledger import account_words, compared, ledger, means
from workbench.concepts.pairs import pair_concepts
from workbench.concepts.selection import selection_concepts
from workbench.errors import AttributionError, DataError
from workbench.runs.opening import SHIPPED, open_run
from workbench.runs.run import Run

COUNT = 60


def found(seed: int = 0, *, flat: bool = True, count: int = 3):  # type: ignore[no-untyped-def]
    """A model, images, their cells, the concepts in them and how strong these are."""
    model, images = planted(seed, flat=flat), coloured(COUNT, seed)
    targets = Targets(np.ones(COUNT, np.int64), np.zeros(COUNT, np.int64))
    cells = cells_of(model, images, np.arange(COUNT), targets)
    concepts = factorise(cells, count, seeds=3, seed=seed)
    return model, images, cells, concepts, concepts.strengths(cells.values)


def test_cells_are_what_the_layer_gives_with_the_gradient_of_the_margin() -> None:
    model, images, cells, _, _ = found()
    with torch.no_grad():
        output = model.module.features(model.prepare(images))
        logits = model.module(model.prepare(images))
    np.testing.assert_allclose(cells.values, output.movedim(1, 3), atol=1e-6)
    np.testing.assert_allclose(cells.margin, logits[:, 1] - logits[:, 0], atol=1e-5)
    weight = (model.module.head.weight[1] - model.module.head.weight[0]).detach().numpy() / CELLS**2
    np.testing.assert_allclose(cells.gradient, np.broadcast_to(weight, cells.gradient.shape), atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_planted_concepts_are_found_and_the_one_that_decides_comes_first(seed: int) -> None:
    model, _, cells, concepts, strengths = found(seed)
    mixing = model.module.features[1].weight[:, :, 0, 0].detach().numpy()
    truth = (mixing / np.linalg.norm(mixing, axis=0)).T
    cosine = concepts.directions @ truth.T
    assert cosine.max(0).min() > 0.98  # each planted one is there
    assert concepts.stability.min() > 0.95
    assert concepts.explained > 0.98
    account = ledger(cells, concepts, strengths)
    assert int(account.contributions.mean(0).argmax()) == int(cosine[:, 0].argmax())  # red, which the head reads


@pytest.mark.parametrize("flat", [True, False])
def test_the_account_adds_up(flat: bool) -> None:
    model, _, cells, concepts, strengths = found(flat=flat)
    account = ledger(cells, concepts, strengths)
    np.testing.assert_allclose(
        account.contributions.sum(1) + account.rest + account.constant, account.margin, atol=1e-9
    )
    if flat:  # what no activation gives is the difference of the biases
        bias = model.module.head.bias.detach().numpy()
        np.testing.assert_allclose(account.constant, bias[1] - bias[0], atol=1e-4)
    blue = int(np.argmin(np.abs(account.contributions).sum(0)))
    assert np.abs(account.contributions[:, blue]).max() < 0.02 * np.abs(account.margin).max()


def test_removing_what_the_head_reads_changes_answers_and_what_it_does_not_read_none() -> None:
    model, images, cells, concepts, strengths = found()
    account = ledger(cells, concepts, strengths)
    removals = removal(model, images, cells, concepts, strengths)
    red, blue = int(account.contributions.mean(0).argmax()), int(np.abs(account.contributions).sum(0).argmin())
    assert removals[red].needed
    assert removals[red].changed > 0.4
    assert removals[blue].changed == 0
    assert not removals[blue].needed


def test_random_directions_are_seldom_needed() -> None:
    """A direction that is drawn like the control's passes its test in 5 % of the cases."""
    model, images, cells, _, strengths = found()
    directions = np.random.default_rng(5).normal(size=(60, CHANNELS)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    drawn = Concepts(directions, np.ones(60), 1.0)
    whole = np.repeat(strengths.sum(-1, keepdims=True), 60, -1)
    needed = sum(one.needed for one in removal(model, images, cells, drawn, whole))
    assert needed <= 9  # 3 of 60 are expected; more than 9 have a chance of 1 in 1,000


def test_removal_by_the_head_equals_removal_within_the_model() -> None:
    model, images, cells, concepts, strengths = found()
    for k, direction in enumerate(concepts.directions):
        less = strengths[..., k, None] * direction
        head = model.module.head
        mean = torch.as_tensor((cells.values - less).mean((1, 2)))
        expected = head(mean).argmax(1).numpy()
        assert (_by_model(model, images, cells.layer, less) == expected).all()
    other = planted(0, flat=False)  # its head reads no mean: the model itself is run
    whole = removal(other, images, cells, concepts, strengths, draws=2)
    assert len(whole) == len(concepts)


def test_groups_that_do_not_differ_have_no_different_concept() -> None:
    significant = 0
    for seed in range(40):
        _, _, cells, concepts, strengths = found(seed)
        halves = slice(0, COUNT // 2), slice(COUNT // 2, COUNT)
        table = compared(*(ledger(cells.part(half), concepts, strengths[half]) for half in halves))
        significant += bool((table["adjusted_p_value"] < 0.05).any())
    assert significant <= 7  # 5 % of 40 are 2; more than 7 have a chance of 1 in 1,000


def test_a_difference_is_found_and_its_interval_holds_the_truth() -> None:
    model = planted(0)
    few, many = coloured(COUNT, 1, red=0.2), coloured(COUNT, 2, red=0.6)
    targets = Targets(np.ones(2 * COUNT, np.int64), np.zeros(2 * COUNT, np.int64))
    cells = cells_of(model, np.concatenate([many, few]), np.arange(2 * COUNT), targets)
    concepts = factorise(cells, 3, seeds=2)
    strengths = concepts.strengths(cells.values)
    accounts = [ledger(cells.part(half), concepts, strengths[half]) for half in (slice(0, COUNT), slice(COUNT, None))]
    table = compared(*accounts)
    red = int(accounts[0].contributions.mean(0).argmax())
    line = table.row(red, named=True)
    assert line["low"] > 0
    assert line["low"] < line["difference"] < line["high"]
    mean, low, high = means(accounts[0])[red]
    assert low < mean < high
    assert mean == pytest.approx(line["mean"])


def test_strengths_are_the_non_negative_least_squares() -> None:
    from scipy.optimize import nnls

    concepts = Concepts(np.abs(np.random.default_rng(0).normal(size=(3, 8))).astype(np.float32), np.ones(3), 1.0)
    values = np.random.default_rng(1).random((2, 2, 2, 8)).astype(np.float32)
    strengths = concepts.strengths(values).reshape(-1, 3)
    for cell, mine in zip(values.reshape(-1, 8), strengths, strict=True):
        expected, _ = nnls(concepts.directions.T.astype(np.float64), cell.astype(np.float64))
        np.testing.assert_allclose(mine, expected, atol=5e-3)


def test_bad_input_is_refused() -> None:
    model, images, cells, _, _ = found()
    with pytest.raises(DataError, match=f"expected 1 to {CHANNELS} concepts"):
        factorise(cells, 100)
    with pytest.raises(DataError, match="every activation is 0"):
        factorise(Cells(cells.layer, np.zeros_like(cells.values), cells.gradient, cells.margin), 2)
    with pytest.raises(AttributionError, match="expected a layer of features"):
        cells_of(model, images, np.arange(COUNT), Targets(np.ones(COUNT, np.int64)), layer="nowhere")


def test_activations_of_both_signs_are_split_and_the_account_stays_exact() -> None:
    """Without the ReLU, and with red dark on its channels, red is a part below zero."""
    model, images = planted(0), coloured(COUNT, 0)
    with torch.no_grad():
        model.module.features[1].weight[:8] *= -1
        model.module.head.weight[:, :8] *= -1
    model.module.features[2] = torch.nn.Identity()
    cells = cells_of(model, images, np.arange(COUNT), Targets(np.ones(COUNT, np.int64), np.zeros(COUNT, np.int64)))
    assert cells.values.min() < -0.5
    concepts = factorise(cells, 3, seeds=2)
    assert concepts.parts.shape == (3, 2 * CHANNELS)
    mixing = model.module.features[1].weight[:, :, 0, 0].detach().numpy()
    truth = (mixing / np.linalg.norm(mixing, axis=0)).T
    assert (concepts.directions @ truth.T).max(0).min() > 0.98
    strengths = concepts.strengths(cells.values)
    assert strengths.min() >= 0
    account = ledger(cells, concepts, strengths)
    total = account.contributions.sum(1) + account.rest + account.constant
    np.testing.assert_allclose(total, account.margin, atol=1e-9)
    assert np.abs(account.rest).max() < 0.05 * np.abs(account.margin).max()
    removals = removal(model, images, cells, concepts, strengths)
    assert removals[int(account.contributions.mean(0).argmax())].needed


def test_a_transformer_has_concepts() -> None:
    from tests.unit.workbench.attribution.test_attention import small

    model, images = small(token=True), coloured(COUNT, 0).repeat(2, 1).repeat(2, 2)
    targets = Targets(np.zeros(COUNT, np.int64), np.ones(COUNT, np.int64))
    cells = cells_of(model, images, np.arange(COUNT), targets)
    concepts = factorise(cells, 4, seeds=2)
    strengths = concepts.strengths(cells.values)
    account = ledger(cells, concepts, strengths)
    total = account.contributions.sum(1) + account.rest + account.constant
    np.testing.assert_allclose(total, account.margin, atol=1e-5)
    assert len(removal(model, images, cells, concepts, strengths, draws=2)) == 4


def test_the_concepts_of_a_pair() -> None:
    run = planted_run()
    pair = pair_concepts(run, "plain", "marked", count=3, seeds=2)
    assert set(run.predictions.label[pair.errors]) == {0}
    assert set(run.predictions.predicted[pair.errors]) == {1}
    assert (run.predictions.label[pair.correct] == run.predictions.predicted[pair.correct]).all()
    table = pair.table()
    assert table["concept"][0] == int(pair.ledgers[0].contributions.mean(0).argmax())
    assert pair.sentence().startswith("marked leads plain by ")
    assert [len(some) for some in pair.patches] == [6, 6, 6]
    assert pair.patches[0][0].strengths.shape == (CELLS, CELLS)
    for wrong, words in ((("plain", "other"), "not 'other'"), (("plain", "plain"), "two classes")):
        with pytest.raises(DataError, match=words):
            pair_concepts(run, *wrong)
    with pytest.raises(DataError, match="its model and images"):
        pair_concepts(Run("bare", run.predictions), "plain", "marked")


def test_the_concepts_of_a_selection() -> None:
    run = planted_run()
    marked = run.predictions.index[run.predictions.predicted == 1]
    found = selection_concepts(run, marked, count=3, seeds=2)
    assert found.sentence().startswith("the predicted class leads the next by ")
    table = found.table()
    top = table.row(0, named=True)
    assert top["concept"] == int(found.account.contributions.mean(0).argmax())
    assert top["low"] < top["mean"] < top["high"]
    assert top["removal_p_value"] <= 0.05
    ordered = np.sort(run.predictions.probability[np.searchsorted(run.predictions.index, found.rows)], axis=1)
    expected = np.log(ordered[:, -1] / ordered[:, -2]).mean()
    assert found.account.margin.mean() == pytest.approx(expected, rel=1e-3)
    with pytest.raises(DataError, match="at least 10 rows, not 3"):
        selection_concepts(run, marked[:3])
    with pytest.raises(DataError, match="its model and images"):
        selection_concepts(Run("bare", run.predictions), marked)


def test_an_account_says_whether_it_is_exact() -> None:
    for flat in (True, False):
        _, _, cells, concepts, strengths = found(flat=flat)
        account = ledger(cells, concepts, strengths)
        assert account.exact == cells.part(slice(0, 5)).exact == flat
        assert (", to first order: concept" in account_words("x-y leads z", account)) != flat
        assert account_words("x-y leads z", account).startswith("x-y leads z by ")


def test_a_patch_is_the_square_around_the_strongest_cell() -> None:
    strengths = np.zeros((4, 4), np.float32)
    strengths[0, 3] = 2.0
    patch = patch_of(7, strengths)
    assert (patch.row, patch.top, patch.left, patch.height, patch.width) == (7, 0.0, 0.5, 0.5, 0.5)
    wide = np.zeros((8, 2), np.float32)
    wide[4, 0] = 1.0
    patch = patch_of(1, wide)
    assert (patch.top, patch.left, patch.height, patch.width) == (3.5 / 8, 0.0, 0.25, 1.0)


def test_the_account_that_the_guide_shows() -> None:
    """The shipped model on CIFAR-10: docs/concepts.md quotes these figures."""
    root = Path(os.environ.get("CIFAR10_ROOT", "data"))
    if not SHIPPED.is_dir() or not root.is_dir():
        pytest.skip("CIFAR-10 is not on this machine")
    pair = pair_concepts(open_run(SHIPPED, data=root), "cat", "dog")
    errors = pair.ledgers[0]
    assert len(pair.errors) == 73
    assert errors.margin.mean() == pytest.approx(1.57, abs=0.01)
    parts = sorted(errors.contributions.mean(0), reverse=True)
    assert parts == pytest.approx([1.13, 1.09, 1.05, -0.09, -0.72, -1.00], abs=0.03)
    assert np.abs(errors.constant - 0.0098).max() < 1e-3  # the difference of the biases
