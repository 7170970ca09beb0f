"""Muon: momentum, orthogonalised, for the convolution kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5


def orthogonalise(matrix: Tensor) -> Tensor:
    """A matrix near the orthogonal polar factor of ``matrix`` ``(m, n)``, same shape.

    Five Newton-Schulz steps with the quintic of Jordan et al. 2024 ("Muon: an optimizer for hidden
    layers"), whose singular values end within about 0.7 to 1.2. The steps act on the small Gram
    matrix alone, which gives the same polynomial with far fewer products when n is much larger
    than m.
    """
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    factor = gram
    a, b, c = _COEFFICIENTS
    for number in range(_STEPS):
        step = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        step.diagonal().add_(a)
        factor = step @ factor if number else step
        if number < _STEPS - 1:
            gram = step @ gram @ step
    x = factor @ x
    near: Tensor = x if matrix.shape[0] <= matrix.shape[1] else x.T
    return near


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose update is orthogonalised per kernel, with decoupled decay.

    torch's own ``torch.optim.Muon`` takes matrices only; here a kernel ``(O, I, h, w)`` counts as
    the matrix ``(O, I·h·w)``.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Apply one update to every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                buffer = state["momentum_buffer"]
                buffer.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(buffer, group["momentum"]).reshape(len(parameter), -1)
                scale = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                direction = orthogonalise(update).reshape(parameter.shape)
                parameter.add_(direction, alpha=-group["lr"] * scale)
        return loss
