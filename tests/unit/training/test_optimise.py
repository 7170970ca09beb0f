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


def test_linear_schedule_warms_up_and_ends_at_zero() -> None:
    recipe = dataclasses.replace(TINY, warm_up=0.2)
    optimisation = Optimisation(ResNet18LN(3, 4), recipe, total_steps=100)
    rates = []
    for number in range(100):
        optimisation.step(number)
        rates.append(optimisation.learning_rate / recipe.learning_rate)
    assert rates[0] == pytest.approx(0.5 / 20)
    assert rates[19] == pytest.approx(19.5 / 20)
    assert rates[20] == pytest.approx(1 - 0.5 / 80)
    assert rates[99] == pytest.approx(0.5 / 80)


def test_plateau_watches_the_validation_loss() -> None:
    recipe = dataclasses.replace(TINY, optimizer="adam", learning_rate=0.1, schedule="plateau", plateau_patience=1)
    optimisation = Optimisation(ResNet18LN(3, 4), recipe, total_steps=10)
    for loss in (1.0, 0.5, 0.6, 0.6):
        optimisation.end_epoch(loss)
    assert optimisation.learning_rate == pytest.approx(0.1 * recipe.plateau_factor)
