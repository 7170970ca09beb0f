"""A layer that maps can be taken at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """A module whose output has a grid (rows, columns), and how that output is laid out.

    ``extra_tokens`` precede the patches of a transformer's output ``(n, tokens, C)``; None for the output of a
    convolution ``(n, C, rows, columns)``, or with ``channels_last`` one of ``(n, rows, columns, C)``. ``partial``: the
    answer does not all pass through it, as in a member of an ensemble, so that it is never chosen without being named.
    ``turns``: of a layer that runs several times in a pass, on the image and its mirror images, along which axes of
    ``(n, C, rows, columns)`` each run sees them mirrored; empty for a layer that runs once.
    """

    name: str
    grid: tuple[int, int]
    extra_tokens: int | None = None
    channels_last: bool = False
    partial: bool = False
    turns: tuple[tuple[int, ...], ...] = ()

    @property
    def channel_axis(self) -> int:
        """Which axis of the output holds the channels."""
        return 3 if self.channels_last else 1 if self.extra_tokens is None else 2

    def joined(self, runs: Sequence[Tensor]) -> Tensor:
        """Activations or gradients of all runs in a pass, ``(n, runs * C, rows, columns)``, each turned back.

        A map summed over these channels is the sum of the runs' maps, in the image's own geometry.
        """
        if not self.turns:
            return self.spatial(runs[0])
        import torch

        return torch.cat([self.spatial(run).flip(turn) for run, turn in zip(runs, self.turns, strict=True)], 1)

    def spatial(self, values: Tensor) -> Tensor:
        """Activations or gradients as ``(n, C, rows, columns)``."""
        if self.channels_last:
            return values.movedim(3, 1)
        if self.extra_tokens is None:
            return values
        patches = values[:, self.extra_tokens :]
        return patches.transpose(1, 2).reshape(len(values), -1, *self.grid)

    def as_output(self, spatial: Tensor, like: Tensor) -> Tensor:
        """Values ``(n, C, rows, columns)`` laid out as the module's output ``like``; 0 at tokens that are no patch."""
        if self.channels_last:
            return spatial.movedim(1, 3)
        if self.extra_tokens is None:
            return spatial
        whole = like.new_zeros(like.shape)
        whole[:, self.extra_tokens :] = spatial.flatten(2).transpose(1, 2)
        return whole
