"""A small plain convolutional network with layer normalisation."""

from __future__ import annotations

from torch import Tensor, nn

from training.model import STAGES, layer_norm


class ConvNetLN(nn.Module):
    """Four stages of a 3×3 convolution, layer normalisation and ReLU, each halving the sides after the first.

    Parameters
    ----------
    class_count : int
        Number of classes K; `forward` maps ``(N, 3, H, W)`` to logits ``(N, K)``.
    width : int
        Channels of the first stage; the others have 2, 4 and 8 times as many.
    """

    def __init__(self, class_count: int = 10, width: int = 64) -> None:
        super().__init__()
        channels = 3
        for name, factor, stride in zip(STAGES, (1, 2, 4, 8), (1, 2, 2, 2), strict=True):
            convolution = nn.Conv2d(channels, factor * width, 3, stride, padding=1, bias=False)
            channels = factor * width
            setattr(self, name, nn.Sequential(convolution, layer_norm(channels), nn.ReLU()))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, class_count)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, K)`` of normalised images ``(N, 3, H, W)``."""
        for name in STAGES:
            x = getattr(self, name)(x)
        logits: Tensor = self.head(self.pool(x).flatten(1))
        return logits
