import dataclasses

import pytest
import torch

from tests.factories import TINY
from training.model import ResNet18LN
from training.muon import Muon, orthogonalise
from training.optimise import Optimisation


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (20, 20)])
def test_orthogonalise_flattens_the_spectrum_and_keeps_the_directions(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(*shape, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    ours = torch.diag(left.T @ orthogonalise(matrix) @ right.T)
    large = values > 0.05 * values[0]
    assert ours[large].min() > 0.6
    assert ours.max() < 1.25
    off = left.T @ orthogonalise(matrix) @ right.T - torch.diag(ours)
    assert off.abs().max() < 1e-6


def test_gram_form_equals_the_plain_iteration() -> None:
    torch.manual_seed(1)
    matrix = torch.randn(12, 90, dtype=torch.float64)
    x = matrix / (matrix.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    torch.testing.assert_close(orthogonalise(matrix), x, rtol=1e-8, atol=1e-9)


def test_muon_lowers_a_loss() -> None:
    torch.manual_seed(0)
    kernel, wanted = torch.nn.Parameter(torch.randn(8, 4, 3, 3)), torch.randn(8, 4, 3, 3)
    optimizer = Muon([kernel], lr=0.2, weight_decay=0.0)
    losses = []
    for _ in range(100):
        loss = (kernel - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_linear_schedule_rises_then_falls_to_zero() -> None:
    recipe = dataclasses.replace(TINY, epochs=2, warmup_fraction=0.2)
    optimisation = Optimisation(ResNet18LN(3, 4), recipe, steps_per_epoch=50)
    rates = []
    for number in range(100):
        optimisation.step(number)
        rates.append(optimisation.learning_rate)
    assert rates.index(max(rates)) == 19
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert rates[0] == pytest.approx(recipe.learning_rate / 20)
    assert rates[-1] == pytest.approx(recipe.learning_rate / 80)


def test_linear_schedule_begins_again_after_the_restart() -> None:
    once = dataclasses.replace(TINY, epochs=2, warmup_fraction=0.2)
    twice = dataclasses.replace(once, epochs=3, restart_fraction=2 / 3, restart_factor=0.5)
    rates = []
    for recipe in (once, twice):
        optimisation = Optimisation(ResNet18LN(3, 4), recipe, steps_per_epoch=50)
        for number in range(recipe.epochs * 50):
            optimisation.step(number)
            rates.append(optimisation.learning_rate)
    first, second = rates[:100], rates[100:]
    assert second[:100] == first
    assert second.index(max(second[100:]), 100) == 109
    assert max(second[100:]) == pytest.approx(0.5 * max(first))
    assert second[-1] == pytest.approx(0.5 * max(first) / 40)


def test_plateau_watches_the_validation_loss() -> None:
    recipe = dataclasses.replace(TINY, optimizer="adam", learning_rate=0.1, schedule="plateau", plateau_patience=1)
    optimisation = Optimisation(ResNet18LN(3, 4), recipe, steps_per_epoch=10)
    for loss in (1.0, 0.5, 0.6, 0.6):
        optimisation.end_epoch(loss)
    assert optimisation.learning_rate == pytest.approx(0.1 * recipe.plateau_factor)
