"""Layers that maps can be taken at, found by running the model once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from workbench.classifier import Classifier, Layer, untouched
from workbench.errors import AttributionError

SHOWN = 4
_EXTRA_TOKENS = (0, 1, 2, 5)  # none, class, class and distillation, class and four registers


def layer_of(classifier: Classifier, name: str) -> Layer:
    """The CAM layer of that name.

    Raises
    ------
    AttributionError
        If the model has no such CAM layer.
    """
    if name not in classifier.cam_layers:
        known = ", ".join(classifier.cam_layers) or "none, as nothing in this model has a grid"
        raise AttributionError(f"expected a layer of {known}, not {name!r}")
    return classifier.cam_layers[name]


def find_layers(module: nn.Module, x: Tensor) -> dict[str, Layer]:
    """The layers of a model at which maps make sense, by name, first to last, from one forward pass over ``x``.

    Of a convolutional net the last module of each spatial resolution, the outermost where several end with the same
    tensor, the four last resolutions at most. Of a transformer the first normalisation of up to four evenly spaced
    blocks: behind the last block only the class token reaches the output, so that patches there have no gradient.

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
    with untouched(module), torch.no_grad():
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


@contextmanager
def kept(module: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """Within it, a forward pass leaves the outputs of the named modules, with gradients from the first of them on.

    What lies before the first of them is computed without a graph: parameters are frozen for the time, and the
    first output begins a graph of its own. Each output goes on as a copy, so that an in-place module behind it
    can't change it.
    """
    outputs: dict[str, Tensor] = {}
    with untouched(module):
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        for name in names:
            module.get_submodule(name).register_forward_hook(_keeper(name, outputs))
        yield outputs


def _keeper(name: str, outputs: dict[str, Tensor]):  # type: ignore[no-untyped-def]
    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        begun = output if output.requires_grad else output.detach().requires_grad_()
        outputs[name] = begun
        return begun.clone()

    return keep
