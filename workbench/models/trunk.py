"""Which modules everything passes through: found by replacing what they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from workbench.models.hooks import preserve

MOST = 40  # replacements tried; each is one forward pass over one image


@dataclass
class Trunk:
    """Tests on a model by two images: whether its answer to the second becomes that to the first.

    A module is a cut if, with what it gave for the first image in place of what it gives for the second, the model
    gives the first one's answer: then nothing reaches the answer but through it. One branch of a block is no cut, nor
    is a member of an ensemble, nor a layer that runs several times with different results.

    Parameters
    ----------
    module : nn.Module
    x : float32 tensor (2, 3, h, w)
        Two different images.
    """

    module: nn.Module
    x: Tensor
    _first: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with preserve(self.module), torch.no_grad():
            self._wanted, other = (self.module(self.x[k : k + 1]).float() for k in (0, 1))
        self._apart = float((self._wanted - other).abs().max())

    def given(self, names: Sequence[str]) -> Mapping[str, Any]:
        """What modules give for the first image, by name; without those that did not run."""
        if missing := [name for name in names if name not in self._first]:
            with preserve(self.module), torch.no_grad():
                for name in missing:
                    self.module.get_submodule(name).register_forward_hook(self._keeper(name))
                self.module(self.x[:1])
        return {name: self._first[name] for name in names if name in self._first}

    def _keeper(self, name: str):  # type: ignore[no-untyped-def]
        def keep(_: nn.Module, __: object, output: object) -> None:
            self._first[name] = output

        return keep

    def distance(self, names: Sequence[str]) -> float:
        """How far the answer to the second image is from that to the first, with these modules' outputs replaced.

        As a share of how far the two answers are apart: 0 where the modules are a cut together, 1 where they do not
        matter.
        """
        values = self.given(names)
        with preserve(self.module), torch.no_grad():
            for name, value in values.items():
                self.module.get_submodule(name).register_forward_hook(lambda *_, value=value: value)
            answer = self.module(self.x[1:]).float()
        return float((answer - self._wanted).abs().max()) / max(self._apart, 1e-30)

    def is_cut(self, names: Sequence[str]) -> bool:
        """Whether everything passes through these modules."""
        return self.distance(names) < 1e-3

    def is_cut_by_runs(self, name: str) -> bool:
        """Whether everything passes through one module's runs, each of which gives something else."""
        given: list[Any] = []
        with preserve(self.module), torch.no_grad():
            self.module.get_submodule(name).register_forward_hook(lambda _, __, output: given.append(output))
            self.module(self.x[:1])
        left = list(given)
        with preserve(self.module), torch.no_grad():
            self.module.get_submodule(name).register_forward_hook(lambda *_: left.pop(0))
            answer = self.module(self.x[1:]).float()
        return float((answer - self._wanted).abs().max()) < 1e-3 * max(self._apart, 1e-30)

    def joint_cut(self, names: Sequence[str]) -> list[str]:
        """A few of these modules, in the order in which they end, that are a cut together; none if there are none.

        Greedy from the last: each that brings the answer nearer is kept.
        """
        kept: list[str] = []
        nearest = 1.0
        for name in list(names)[::-1][:MOST]:
            if any(name.startswith(f"{other}.") or other.startswith(f"{name}.") for other in kept):
                continue
            now = self.distance([*kept, name])
            if now < nearest - 1e-3:
                kept, nearest = [*kept, name], now
            if nearest < 1e-3:
                return kept[::-1]
        return []
