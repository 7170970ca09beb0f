"""What a method works on: images, what is explained of them, and the explained output."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from workbench.attribution.targets import score
from workbench.core.records import ImageArray


class Scored(nn.Module):
    """The explained output ``(n,)`` of a classifier's module, which Captum's methods differentiate."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, of: Tensor, against: Tensor) -> Tensor:
        """`targets.score` of the logits."""
        return score(self.module(x).float(), of, against)


@dataclass(frozen=True)
class Batch:
    """What a method works on.

    Parameters
    ----------
    x : float32 tensor (n, 3, s, s)
        Normalised images.
    pixels : uint8 array (n, s, s, 3)
        The same images before normalisation.
    of, against : int64 tensor (n,)
        The class explained, and for a contrast the one it is compared with, else -1.
    seeds : tuple of int
        A seed for each image, for methods that draw numbers.
    """

    x: Tensor
    pixels: ImageArray
    of: Tensor
    against: Tensor
    seeds: tuple[int, ...]

    @property
    def extra(self) -> tuple[Tensor, Tensor]:
        """What `Scored` takes besides the images."""
        return self.of, self.against

    def scored(self, logits: Tensor) -> Tensor:
        """The explained output ``(n,)`` of logits ``(n, K)``."""
        return score(logits, self.of, self.against)
