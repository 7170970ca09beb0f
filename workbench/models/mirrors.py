"""Parts of a model that see an image and its mirror images, as under flip averaging."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.models.hooks import preserve


def mirrored_parts(module: nn.Module, x: Tensor) -> dict[str, tuple[tuple[int, ...], ...]]:
    """The outermost modules that run several times in a pass, each time on ``x`` or a mirror image of it.

    By name: along which axes of ``(n, C, rows, columns)`` each run sees the image mirrored.
    """
    given: dict[str, list[object]] = {}
    with preserve(module), torch.no_grad():
        for name, part in module.named_modules():
            if name:
                part.register_forward_hook(_input_recorder(name, given))
        module(x)
    mirrors: list[tuple[tuple[int, ...], Tensor]] = [(axes, x.flip(axes)) for axes in ((), (3,), (2,), (2, 3))]
    parts: dict[str, tuple[tuple[int, ...], ...]] = {}
    for name, _ in module.named_modules():
        runs = given.get(name, [])
        if len(runs) < 2 or any(name.startswith(f"{outer}.") for outer in parts):
            continue
        turns = [_mirrored(run, mirrors) for run in runs]
        if None not in turns:
            parts[name] = tuple(turn for turn in turns if turn is not None)
    return parts


def _mirrored(run: object, mirrors: list[tuple[tuple[int, ...], Tensor]]) -> tuple[int, ...] | None:
    """Along which axes an input is the mirror image; None if it is none."""
    if not isinstance(run, Tensor):
        return None
    return next((axes for axes, mirror in mirrors if torch.equal(run, mirror.to(run.dtype))), None)


def _input_recorder(name: str, given: dict[str, list[object]]):  # type: ignore[no-untyped-def]
    def record(_: nn.Module, inputs: tuple[object, ...], __: object) -> None:
        given.setdefault(name, []).append(inputs[0] if inputs else None)

    return record
