"""A running mean of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential mean of a model's weights over the steps (Tarvainen & Valpola 2017, arXiv 1703.01780, section 2).

    Weights of early steps would weigh on the mean long after they are outdated; the decay therefore starts at 0.1 and
    rises to its final value as ``(1 + step) / (10 + step)``.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after ``step``, counted from 0."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            self.weights[name].lerp_(value, 1 - keep)

    @contextmanager
    def within(self, model: nn.Module) -> Iterator[None]:
        """The model with the mean as its weights; with its own again afterwards."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.weights)
        try:
            yield
        finally:
            model.load_state_dict(own)
