"""ResNet-18 for small images with layer normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

STAGES = ("stage1", "stage2", "stage3", "stage4")


def layer_norm(channels: int) -> nn.GroupNorm:
    """Layer normalisation of ``(N, C, H, W)`` over C, H and W with an affine per channel.

    GroupNorm with one group (Wu & He 2018, arXiv 1803.08494, section 3.1).
    """
    return nn.GroupNorm(1, channels)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al. 2016, arXiv 1512.03385).

    Each ReLU is a separate module, because DeepLift and Guided Backprop need one per use.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm1 = layer_norm(channels_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = layer_norm(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), layer_norm(channels_out)
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``(N, channels_out, H / stride, W / stride)`` of ``(N, channels_in, H, W)``."""
        y = self.relu1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        z: Tensor = self.relu2(y + self.shortcut(x))
        return z


class ResNet18LN(nn.Module):
    """ResNet-18 with a 3×3 stem and strides 1, 2, 2, 2; 11,173,962 parameters for 10 classes.

    Parameters
    ----------
    class_count : int
        Number of classes K; `forward` maps ``(N, 3, H, W)`` to logits ``(N, K)``.
    width : int
        Channels of the stem; the stages have 1, 2, 4 and 8 times as many.
    """

    def __init__(self, class_count: int = 10, width: int = 64) -> None:
        super().__init__()
        self.stem_conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.stem_norm = layer_norm(width)
        self.stem_relu = nn.ReLU()
        channels = width
        for name, factor, stride in zip(STAGES, (1, 2, 4, 8), (1, 2, 2, 2), strict=True):
            blocks = (
                ResidualBlock(channels, factor * width, stride),
                ResidualBlock(factor * width, factor * width, 1),
            )
            channels = factor * width
            setattr(self, name, nn.Sequential(*blocks))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, class_count)

    def embed(self, x: Tensor) -> Tensor:
        """Pooled features ``(N, 8 * width)`` that the linear head reads."""
        x = self.stem_relu(self.stem_norm(self.stem_conv(x)))
        for name in STAGES:
            x = getattr(self, name)(x)
        pooled: Tensor = self.pool(x)
        return pooled.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, K)`` of normalised images ``(N, 3, H, W)``."""
        logits: Tensor = self.head(self.embed(x))
        return logits


@dataclass(frozen=True)
class LayerSummary:
    """One row of a model summary: the layer's name, class, output shape and own parameters."""

    layer: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


def summary(model: nn.Module, input_shape: Sequence[int] = (1, 3, 32, 32)) -> list[LayerSummary]:
    """Rows for every leaf layer in the order of the forward pass on zeros ``input_shape``."""
    rows: list[LayerSummary] = []
    handles = []
    for name, module in model.named_modules():
        if not any(module.children()):

            def record(layer: nn.Module, _: object, output: Tensor, name: str = name) -> None:
                count = sum(p.numel() for p in layer.parameters())
                rows.append(LayerSummary(name, type(layer).__name__, tuple(output.shape), count))

            handles.append(module.register_forward_hook(record))
    try:
        with torch.no_grad():
            model(torch.zeros(*input_shape))
    finally:
        for handle in handles:
            handle.remove()
    return rows


def format_summary(rows: Sequence[LayerSummary]) -> str:
    """A text table of the summary with the total below."""
    lines = [f"{'layer':<28}{'kind':<20}{'output shape':<22}{'parameters':>12}"]
    lines += [f"{r.layer:<28}{r.kind:<20}{r.output_shape!s:<22}{r.parameters:>12,}" for r in rows]
    return "\n".join([*lines, f"{'total':<70}{sum(r.parameters for r in rows):>12,}"])
