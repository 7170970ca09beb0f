"""Models restored after use, and the outputs of some of their modules."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from workbench.errors import AttributionError


def out_of_memory(error: Exception) -> bool:
    """Whether an error reports a lack of memory, on a CPU or an accelerator."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words


_REGISTERING = ("workbench", "captum", "pytorch_grad_cam")
_GUARD = threading.Lock()
_LOCKS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()


@contextmanager
def preserve(module: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode, and restore it afterwards, even after an exception.

    Restored: the mode of every submodule, gradients and ``requires_grad`` of every parameter, and the forward hooks,
    without those that a model registers itself when it first runs. One thread at a time holds a model; others wait
    until it is done.
    """
    with _lock_of(module):
        yield from _restored(module)


def _lock_of(module: nn.Module) -> Any:
    with _GUARD:
        return _LOCKS.setdefault(module, threading.RLock())


def _restored(module: nn.Module) -> Iterator[None]:
    modes = {name: m.training for name, m in module.named_modules()}
    hooks = {name: dict(m._forward_hooks) for name, m in module.named_modules()}
    parameters = [(p, p.requires_grad, p.grad) for p in module.parameters()]
    module.eval()
    try:
        yield
    finally:
        for name, m in module.named_modules():
            m.training = modes[name]
            for key, hook in list(m._forward_hooks.items()):
                if key not in hooks[name] and _is_ours(hook):
                    del m._forward_hooks[key]
        for parameter, wanted, gradient in parameters:
            parameter.requires_grad_(wanted)
            parameter.grad = gradient


def _is_ours(hook: object) -> bool:
    """Whether this package registered a hook, or a library that it explains models with."""
    function = hook.func if isinstance(hook, functools.partial) else hook
    return getattr(function, "__module__", "").partition(".")[0] in _REGISTERING


class Recorded:
    """What named modules gave in one forward pass, by name."""

    def __init__(self) -> None:
        self._calls: dict[str, list[Tensor]] = {}

    def keep(self, name: str, output: Tensor) -> Tensor:
        """Record an output from which gradients begin; what is passed on is a copy of it."""
        begun = output if output.requires_grad else output.detach().requires_grad_()
        self._calls.setdefault(name, []).append(begun)
        return begun.clone()

    def forget(self) -> None:
        """Begin anew, before another pass."""
        self._calls.clear()

    def runs(self, name: str, expected: int = 1) -> list[Tensor]:
        """The module's outputs in the pass, in order.

        Raises
        ------
        AttributionError
            If it ran another number of times than expected, since a map of one run is not the pass's.
        """
        calls = self._calls[name]
        if len(calls) != expected:
            raise AttributionError(
                f"layer {name!r} runs {len(calls)} times in a pass, on images of other geometry or on its own output, "
                "so that a map of one run would not be the prediction's: choose another layer, or a method on the input"
            )
        return list(calls)  # checkpointing runs modules again in the backward pass


@contextmanager
def record(module: nn.Module, names: list[str]) -> Iterator[Recorded]:
    """Record the outputs of the named modules in a forward pass, with gradients from the first of them on.

    Everything before the first of them is computed without a graph: parameters are temporarily frozen, and the
    first output begins a new graph. Each output is passed on as a copy, so that an in-place module behind it
    can't change it.
    """
    recorded = Recorded()
    with preserve(module):
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        for name in names:
            module.get_submodule(name).register_forward_hook(_keeper(name, recorded))
        yield recorded


def _keeper(name: str, recorded: Recorded):  # type: ignore[no-untyped-def]
    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        return recorded.keep(name, output)

    return keep
