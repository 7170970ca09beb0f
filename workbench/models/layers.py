"""Layers that maps can be taken at, found by running the model once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workbench.errors import AttributionError
from workbench.models.hooks import preserve

SHOWN = 4
_EXTRA_TOKENS = (0, 1, 2, 5)  # none, class, class and distillation, class and four registers


@dataclass(frozen=True)
class Layer:
    """A module whose output has a grid (rows, columns), and how that output is laid out.

    ``extra_tokens`` precede the patches of a transformer's output ``(n, tokens, C)``; None for the output of a
    convolution ``(n, C, rows, columns)``, or with ``channels_last`` one of ``(n, rows, columns, C)``.
    """

    name: str
    grid: tuple[int, int]
    extra_tokens: int | None = None
    channels_last: bool = False

    @property
    def channel_axis(self) -> int:
        """Which axis of the output holds the channels."""
        return 3 if self.channels_last else 1 if self.extra_tokens is None else 2

    def spatial(self, values: Tensor) -> Tensor:
        """Activations or gradients as ``(n, C, rows, columns)``."""
        if self.channels_last:
            return values.movedim(3, 1)
        if self.extra_tokens is None:
            return values
        patches = values[:, self.extra_tokens :]
        return patches.transpose(1, 2).reshape(len(values), -1, *self.grid)


def find_layers(module: nn.Module, x: Tensor) -> dict[str, Layer]:
    """The layers of a model at which maps make sense, by name, first to last, from one forward pass over ``x``.

    For a convolutional net: the last module of each spatial resolution (the outermost where several end with the same
    tensor), for at most the last four resolutions. For a transformer: the first normalisation of up to four evenly
    spaced blocks; behind the last block only the class token reaches the output, so that patches there have no
    gradient.

    Raises
    ------
    AttributionError
        If no module has a spatial output.
    """
    seen = output_shapes(module, x)
    blocks = _blocks(module, seen)
    if blocks:
        step = max(1, len(blocks) // SHOWN)
        return {layer.name: layer for layer in blocks[::-1][::step][:SHOWN][::-1]}
    grids: dict[tuple[int, int], Layer] = {}
    for name, shape in seen.items():
        layer = _picture(name, shape, x.shape[2])
        if layer is not None:
            grids[layer.grid] = layer  # later modules replace earlier ones of the same grid
    if not grids:
        raise AttributionError(
            "no layer has a spatial output: class activation maps need a convolution or a transformer over patches"
        )
    shown = sorted(grids.values(), key=lambda layer: -layer.grid[0])[-SHOWN:]
    return {layer.name: layer for layer in shown}


def _picture(name: str, shape: tuple[int, ...], side: int) -> Layer | None:
    """The layer with a picture-like output of this shape for square images; None if it has none."""
    if len(shape) != 4:
        return None
    for grid, last in ((shape[2:], False), (shape[1:3], True)):
        if grid[0] == grid[1] and 1 < grid[0] <= side:
            return Layer(name, (grid[0], grid[1]), channels_last=last)
    return None


def output_shapes(module: nn.Module, x: Tensor) -> dict[str, tuple[int, ...]]:
    """Shape for one image of every named module's tensor output, in the order in which the modules end."""
    seen: dict[str, tuple[int, ...]] = {}
    with preserve(module), torch.no_grad():
        for name, part in module.named_modules():
            if name:
                part.register_forward_hook(_recorder(name, seen))
        module(x[:1])
    return seen


def _recorder(name: str, seen: dict[str, tuple[int, ...]]):  # type: ignore[no-untyped-def]
    def record(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor):
            seen.pop(name, None)
            seen[name] = tuple(output.shape)

    return record


def _blocks(module: nn.Module, seen: Mapping[str, tuple[int, ...]]) -> list[Layer]:
    """The first normalisation of each block of a transformer."""
    found: dict[str, Layer] = {}
    for name, part in module.named_modules():
        block = re.match(r"(.*\.)?[A-Za-z_]*\d+(?=\.)", name)
        shape = seen.get(name, ())
        if not isinstance(part, nn.LayerNorm) or len(shape) != 3 or block is None or block[0] in found:
            continue
        for extra in _EXTRA_TOKENS:
            side = math.isqrt(max(0, shape[1] - extra))
            if side > 1 and side * side == shape[1] - extra:
                found[block[0]] = Layer(name, (side, side), extra)
                break
    return list(found.values())
