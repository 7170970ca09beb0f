"""A torch classifier with what it takes to feed it images."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from workbench.errors import DataError
from workbench.records import ImageArray, Provenance

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Classifier:
    """A model from normalised images ``(n, 3, s, s)`` to logits ``(n, K)``, and its preprocessing.

    ``mean`` and ``std`` are fractions of 255 for each channel; ``cam_layers`` maps the name of a
    layer to its grid (rows, columns); ``extra_tokens`` says of a transformer's layers how many tokens
    precede the patches; ``embedding_layer`` names the module whose input is the embedding.
    """

    module: nn.Module
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    cam_layers: Mapping[str, tuple[int, int]]
    embedding_layer: str | None = None
    provenance: Provenance = field(default_factory=Provenance)
    card: Mapping[str, Any] = field(default_factory=dict)
    extra_tokens: Mapping[str, int] = field(default_factory=dict)

    @functools.cached_property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return next(self.module.parameters()).device

    def prepare(self, images: ImageArray) -> Tensor:
        """Normalised float32 ``(n, 3, s, s)``, channels_last, of uint8 ``(n, H, W, 3)``.

        Raises
        ------
        DataError
            If the images are of another size than the model's.
        """
        if images.ndim != 4 or images.shape[1:] != (self.image_size, self.image_size, 3):
            side = self.image_size
            raise DataError(f"expected images (n, {side}, {side}, 3), not {images.shape}: resize them first")
        # one fused multiply-add; channels_last is the arrays' own layout, so nothing is copied
        tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(self.device)
        scale = torch.tensor([1 / (255 * s) for s in self.std], device=self.device)[:, None, None]
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)], device=self.device)
        return tensor.float().mul_(scale).add_(shift[:, None, None])


_GUARD = threading.Lock()
_LOCKS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode, and leave it as it was found, also after an exception.

    Restored: the mode of every submodule, gradients and ``requires_grad`` of every parameter, and
    all forward hooks. One thread at a time has a model: another waits until it is done.
    """
    with _lock_of(module):
        yield from _restored(module)


def _lock_of(module: nn.Module) -> Any:
    with _GUARD:
        return _LOCKS.setdefault(module, threading.RLock())


def _restored(module: nn.Module) -> Iterator[None]:
    modes = {name: m.training for name, m in module.named_modules()}
    hooks = {name: dict(m._forward_hooks) for name, m in module.named_modules()}
    parameters = [(p, p.requires_grad, p.grad) for p in module.parameters()]
    module.eval()
    try:
        yield
    finally:
        for name, m in module.named_modules():
            m.training = modes[name]
            for key in [key for key in m._forward_hooks if key not in hooks[name]]:
                del m._forward_hooks[key]
        for parameter, wanted, gradient in parameters:
            parameter.requires_grad_(wanted)
            parameter.grad = gradient
