"""Optimisers and learning rates of a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from training.muon import Muon
from training.recipe import Recipe


class Optimisation:
    """The optimisers and the schedule of a recipe, with a state of tensors and JSON values."""

    def __init__(self, model: nn.Module, recipe: Recipe, total_steps: int) -> None:
        self._recipe, self._total_steps = recipe, total_steps
        kernels = [p for p in model.parameters() if p.ndim == 4]
        others = [p for p in model.parameters() if p.ndim != 4]
        self.optimizers: list[torch.optim.Optimizer]
        if recipe.optimizer == "adam":
            every = list(model.parameters())
            self.optimizers = [torch.optim.Adam(every, recipe.learning_rate, weight_decay=recipe.weight_decay)]
        else:
            self.optimizers = [
                Muon(kernels, recipe.learning_rate, recipe.weight_decay),
                torch.optim.AdamW(others, recipe.other_learning_rate, weight_decay=recipe.weight_decay),
            ]
        self._base_rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        self._plateaus = [
            torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=recipe.plateau_factor, patience=recipe.plateau_patience
            )
            for optimizer in (self.optimizers if recipe.schedule == "plateau" else ())
        ]

    @property
    def learning_rate(self) -> float:
        """The current rate of the first optimiser."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def step(self, number: int) -> None:
        """Update the parameters with step ``number`` of the whole run, counted from 0."""
        if self._recipe.schedule == "linear":
            share = self._recipe.rate_at((number + 0.5) / self._total_steps)
            for optimizer, rate in zip(self.optimizers, self._base_rates, strict=True):
                optimizer.param_groups[0]["lr"] = rate * share
        for optimizer in self.optimizers:
            optimizer.step()

    def end_epoch(self, validation_loss: float) -> None:
        """Report the validation loss to a plateau schedule."""
        for plateau in self._plateaus:
            plateau.step(validation_loss)

    def _slots(self) -> Iterable[tuple[str, Tensor, dict[str, Any]]]:
        for number, optimizer in enumerate(self.optimizers):
            for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
                yield f"{number}.{index}", parameter, optimizer.state[parameter]

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the optimisers' state, by name."""
        return {
            f"{slot}.{name}": value
            for slot, _, state in self._slots()
            for name, value in state.items()
            if isinstance(value, Tensor)
        }

    def values(self) -> dict[str, Any]:
        """The schedule's state as JSON values."""
        rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        return {"rates": rates, "plateaus": [plateau.state_dict() for plateau in self._plateaus]}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Restore the state that `tensors` and `values` returned."""
        for slot, parameter, state in self._slots():
            for name, value in tensors.items():
                if name.rpartition(".")[0] == slot:
                    like = value.shape == parameter.shape  # in its layout, on its device; a count of steps is neither
                    kept = torch.empty_like(parameter).copy_(value) if like else value.clone()
                    state[name.rpartition(".")[2]] = kept
        for optimizer, rate in zip(self.optimizers, values["rates"], strict=True):
            optimizer.param_groups[0]["lr"] = rate
        for plateau, state in zip(self._plateaus, values["plateaus"], strict=True):
            plateau.load_state_dict(state)
