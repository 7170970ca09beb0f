"""Models that can be run and not looked into: scripted, traced, exported, quantised, or of another runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

SCRIPTED = "a scripted or traced model (TorchScript) takes no hooks"
EXPORTED = "an exported program takes no hooks"
NO_GRADIENT = "the model's forward turns gradients off"
QUANTISED = "quantised layers have no gradient"


def why_opaque(module: nn.Module) -> str:
    """Why a model's layers and gradients can't be had; empty if they can."""
    parts = list(module.modules())
    if any(isinstance(part, torch.jit.ScriptModule | torch.jit.ScriptFunction) for part in parts):
        return SCRIPTED
    if isinstance(module, torch.fx.GraphModule) and hasattr(module, "_in_spec"):
        return EXPORTED
    if any(".quantized" in type(part).__module__ for part in parts):
        return QUANTISED
    return ""


class Opaque(nn.Module):
    """A model that is only run, without a graph: what is inside is no submodule, so that nothing hooks or changes it.

    Parameters
    ----------
    run : function
        From a batch of images to the model's output; no module, which would become a submodule.
    reason : str
        Why it can't be looked into, as messages say it.
    state : function
        Everything that determines the output, by name: tensors, or values with a ``repr``.
    """

    def __init__(self, run: Callable[[Tensor], Any], reason: str, state: Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self.reason = reason
        held = [value for value in state().values() if isinstance(value, Tensor)]
        at = held[0].device if held else torch.device("cpu")
        self.register_buffer("at", torch.empty(0, device=at), persistent=False)
        self._run, self._state = run, state

    def extra_repr(self) -> str:
        """What it is."""
        return self.reason

    def forward(self, x: Tensor) -> Any:
        """The model's output, detached."""
        with torch.no_grad():
            return self._run(x.detach())

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """What determines the output, for its digest."""
        return self._state()


def opaque_of(module: nn.Module) -> nn.Module:
    """The model itself, in evaluation mode inside an `Opaque` if its layers and gradients can't be had."""
    reason = why_opaque(module)
    if not reason:
        return module
    if reason != EXPORTED:  # a program was exported in one mode and keeps it
        module.eval()
    return Opaque(lambda x: module(x), reason, lambda: dict(_state_of(module)))


def _state_of(module: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from module.state_dict().items()
    if isinstance(module, torch.jit.ScriptModule | torch.fx.GraphModule):
        yield "code", module.code


def opaque_in(module: nn.Module) -> Opaque | None:
    """The opaque model within wrappers around it, if there is one."""
    return next((part for part in module.modules() if isinstance(part, Opaque)), None)
