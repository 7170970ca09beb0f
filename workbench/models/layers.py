"""Layers that maps can be taken at, found by running the model a few times."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from workbench.errors import AttributionError
from workbench.models.faults import UNFIT
from workbench.models.hooks import preserve
from workbench.models.layer import Layer
from workbench.models.mirrors import mirrored_parts
from workbench.models.trunk import Trunk

SHOWN = 4
TRIED = 12  # the last modules of a resolution; those of a block that shrinks are branches
_EXTRA_TOKENS = (0, 1, 2, 5)  # none, class, class and distillation, class and four registers
_PADDINGS = (nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d)


def find_layers(module: nn.Module, x: Tensor) -> dict[str, Layer]:
    """The layers of a model at which maps make sense, by name, first to last.

    For a convolutional net: of each spatial resolution the last module that everything passes through (`trunk.Trunk`;
    the outermost where several end with the same tensor), for at most the last four resolutions. Modules that pad, and
    those whose output has a border of zeros, are omitted: their grid is not the image's. Where nothing passes through
    one module, as in an ensemble, a few that everything passes through together, marked as ``partial``. For a
    transformer: the first normalisation of up to four evenly spaced blocks; behind the last block only the class token
    reaches the output, so that patches there have no gradient.

    Parameters
    ----------
    module : nn.Module
    x : float32 tensor (n, 3, h, w)
        Two different images; of fewer, the shape counts and noise takes their place.

    Raises
    ------
    AttributionError
        If no module has a spatial output, or all of those run several times on what are no mirror images.
    """
    shape = (int(x.shape[2]), int(x.shape[3]))
    pair = x[:2] if len(x) > 1 else torch.randn(2, *x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x)
    runs = _runs(module, pair)
    seen = {name: shapes[0] for name, shapes in runs.items() if len(shapes) == 1}
    if blocks := _blocks(module, seen, shape):
        step = max(1, len(blocks) // SHOWN)
        shown = blocks[::-1][::step][:SHOWN][::-1]
        partial = not _is_trunk(module, pair, shown[-1])
        return {layer.name: dataclasses.replace(layer, partial=partial) for layer in shown}
    padded = {name for name, part in module.named_modules() if isinstance(part, _PADDINGS)}
    found = [_picture(name, sizes, shape) for name, sizes in seen.items() if name not in padded]
    layers = [layer for layer in found if layer is not None]
    if chosen := _chosen(Trunk(module, pair), layers) if layers else []:
        return {layer.name: layer for layer in chosen}
    if mirrored := repeated_layers(module, pair):
        return mirrored
    if any(_picture(name, shapes[-1], shape) for name, shapes in runs.items()):
        raise AttributionError(
            "every layer runs several times in a pass on images of other geometry, as over several crops or scales or "
            "in a recurrent model, so that their maps can't be brought together"
        )
    raise AttributionError(
        "no layer has a spatial output: class activation maps need a convolution or a transformer over patches"
    )


def repeated_layers(module: nn.Module, pair: Tensor) -> dict[str, Layer]:
    """The layers of a part that runs several times in a pass, on the image or its mirror images; none if there is none.

    As under flip averaging, or in a Siamese model. They are ``partial`` if the answer does not all pass through it.
    """
    for name, turns in mirrored_parts(module, pair[:1]).items():
        part = module.get_submodule(name)
        try:
            found = find_layers(part, pair)
        except (AttributionError, *UNFIT):  # a part without layers, or one that is no model by itself
            continue
        whole = Trunk(module, pair).is_cut_by_runs(name)
        return {
            f"{name}.{layer.name}": dataclasses.replace(
                layer, name=f"{name}.{layer.name}", turns=turns, partial=layer.partial or not whole
            )
            for layer in found.values()
            if not layer.turns
        }
    return {}


def _chosen(trunk: Trunk, layers: list[Layer]) -> list[Layer]:
    """Of each resolution the last layer that is a cut, else a few that are one together; none if there are none."""
    cuts: dict[tuple[int, int], Layer] = {}
    for grid in sorted({layer.grid for layer in layers}, key=lambda grid: -grid[0])[-SHOWN:]:
        of_grid = [layer for layer in layers if layer.grid == grid][::-1]
        cut = next((layer for layer in of_grid[:TRIED] if _is_whole(trunk, layer) and trunk.is_cut([layer.name])), None)
        if cut is not None:
            cuts[grid] = cut
    if cuts:
        return list(cuts.values())
    known = {layer.name: layer for layer in layers if _is_whole(trunk, layer)}
    return [dataclasses.replace(known[name], partial=True) for name in trunk.joint_cut(list(known))]


def _is_whole(trunk: Trunk, layer: Layer) -> bool:
    """Whether a layer's grid is the image's: not surrounded by zeros, as after padding."""
    values = trunk.given([layer.name]).get(layer.name)
    if not isinstance(values, Tensor) or min(layer.grid) < 3:
        return isinstance(values, Tensor)
    grid = layer.spatial(values)
    inside = grid[..., 1:-1, 1:-1]
    edges = (grid[..., 0, :], grid[..., -1, :], grid[..., 0], grid[..., -1])
    return not (bool(inside.any()) and any(not bool(edge.any()) for edge in edges))


def _is_trunk(module: nn.Module, pair: Tensor, layer: Layer) -> bool:
    """Whether everything passes through the block that a transformer's layer is in."""
    block = re.match(r"(.*\.)?[A-Za-z_]*\d+(?=\.)", layer.name)
    trunk = Trunk(module, pair)
    if block is None or block[0] not in (given := trunk.given([block[0]])):
        return True
    several = given[block[0]] if isinstance(given[block[0]], list | tuple) else ()
    if sum(isinstance(one, Tensor) and one.ndim == 3 for one in several) > 1:  # tokens at several scales side by side
        return False
    return trunk.is_cut([block[0]])


def layer_at(module: nn.Module, name: str, x: Tensor) -> Layer:
    """The layer of any module by its name.

    Raises
    ------
    AttributionError
        If there is no such module, or its output has no grid.
    """
    shapes = output_shapes(module, x)
    if name not in shapes:
        raise AttributionError(f"the model has no module {name!r} that gives one tensor")
    shape = (int(x.shape[2]), int(x.shape[3]))
    found = _picture(name, shapes[name], shape) or _tokens(name, shapes[name], shape)
    if found is None:
        raise AttributionError(f"the module {name!r} gives {shapes[name]}, which has no grid of an image")
    for part, turns in mirrored_parts(module, x[:1]).items():
        if name.startswith(f"{part}.") and len(_runs(module, x)[name]) == len(turns):
            return dataclasses.replace(found, turns=turns)
    return found


def _picture(name: str, given: tuple[int, ...], shape: tuple[int, int]) -> Layer | None:
    """The layer with a picture-like output, in the proportions of the images; None if it has none."""
    if len(given) != 4 or given[0] != 1:  # patches or copies folded into the batch are no grid of the image
        return None
    height, width = shape
    for (rows, columns), last in ((given[2:], False), (given[1:3], True)):
        even = rows == columns if height == width else abs(rows - columns * height / width) < 1
        if even and min(rows, columns) > 1 and rows <= height and columns <= width:
            return Layer(name, (rows, columns), channels_last=last)
    return None


def output_shapes(module: nn.Module, x: Tensor) -> dict[str, tuple[int, ...]]:
    """Shape for one image of every named module's last tensor output, in the order in which the modules end."""
    return {name: shapes[-1] for name, shapes in _runs(module, x).items()}


def _runs(module: nn.Module, x: Tensor) -> dict[str, list[tuple[int, ...]]]:
    """Shapes of the tensors that each module gives in a pass over one image, in the order of their last runs."""
    seen: dict[str, list[tuple[int, ...]]] = {}
    with preserve(module), torch.no_grad():
        for name, part in module.named_modules():
            if name:
                part.register_forward_hook(_recorder(name, seen))
        module(x[:1])
    return seen


def _recorder(name: str, seen: dict[str, list[tuple[int, ...]]]):  # type: ignore[no-untyped-def]
    def record(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor):
            seen[name] = [*seen.pop(name, []), tuple(output.shape)]

    return record


def _blocks(module: nn.Module, seen: Mapping[str, tuple[int, ...]], shape: tuple[int, int]) -> list[Layer]:
    """The first normalisation of each block of a transformer."""
    found: dict[str, Layer] = {}
    for name, part in module.named_modules():
        block = re.match(r"(.*\.)?[A-Za-z_]*\d+(?=\.)", name)
        if not isinstance(part, nn.LayerNorm) or block is None or block[0] in found:
            continue
        layer = _tokens(name, seen.get(name, ()), shape)
        if layer is not None:
            found[block[0]] = layer
    return list(found.values())


def _tokens(name: str, given: tuple[int, ...], shape: tuple[int, int]) -> Layer | None:
    """The layer with tokens of patches, in the proportions of the images; None if it has none."""
    if len(given) != 3 or given[0] != 1:
        return None
    for extra in _EXTRA_TOKENS:
        count = max(0, given[1] - extra)
        rows = math.isqrt(max(0, round(count * shape[0] / shape[1])))
        if rows > 1 and count % rows == 0 and rows * shape[1] == count // rows * shape[0]:
            return Layer(name, (rows, count // rows), extra)
    return None
