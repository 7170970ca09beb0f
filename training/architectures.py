"""The architectures that a recipe or a checkpoint can name; each has `STAGES` and a linear ``head``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from training.convnet import ConvNetLN
from training.errors import TrainingError
from training.model import STAGES, ResidualBlock, ResNet18LN
from training.recipe import Recipe

BUILDERS: Mapping[str, Callable[[int, int], nn.Module]] = {"resnet18_ln": ResNet18LN, "convnet_ln": ConvNetLN}
HEAD_FACTOR = 8  # features of the head for each channel of the first stage


def build(name: str, class_count: int, width: int) -> nn.Module:
    """The model of that name for ``class_count`` classes, with torch's own initial weights.

    Raises
    ------
    TrainingError
        If there is no architecture of that name.
    """
    if name not in BUILDERS:
        raise TrainingError(f"expected an architecture of {', '.join(BUILDERS)}, not {name!r}")
    return BUILDERS[name](class_count, width)


def build_for(recipe: Recipe, class_count: int) -> nn.Module:
    """The recipe's model with its initial weights, drawn from the recipe's seed.

    Convolutions are He normal (He et al. 2015, arXiv 1502.01852); ``zero_init_residual`` starts each residual block
    as its shortcut (Goyal et al. 2017, arXiv 1706.02677).
    """
    torch.manual_seed(recipe.seed)
    model = build(recipe.architecture, class_count, recipe.width)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if recipe.zero_init_residual and isinstance(module, ResidualBlock):
            nn.init.zeros_(module.norm2.weight)
    return model


@torch.no_grad()
def cam_layers(model: nn.Module, image_size: int) -> list[dict[str, Any]]:
    """The stages as CAM layers, each with its grid (rows, columns) for the given image side."""
    grids: dict[str, list[int]] = {}
    handles = []
    for name in STAGES:

        def record(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
            grids[name] = list(output.shape[2:])

        handles.append(model.get_submodule(name).register_forward_hook(record))
    try:
        model(next(model.parameters()).new_zeros(1, 3, image_size, image_size))
    finally:
        for handle in handles:
            handle.remove()
    return [{"layer": name, "grid": grids[name]} for name in STAGES]
