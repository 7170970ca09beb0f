"""A torch classifier with what it takes to feed it images."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from workbench.errors import DataError
from workbench.records import ImageArray, ImageSet, Pixels, Provenance

Precision = Literal["float32", "bfloat16"]
Outputs = Literal["found", "logits", "probabilities"]


Fit = Callable[[ImageArray], ImageArray]


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


@dataclass(frozen=True)
class Classifier:
    """A model from normalised images ``(n, 3, s, s)`` to logits ``(n, K)``, and its preprocessing.

    ``mean`` and ``std`` are fractions of 255 for each channel; ``cam_layers`` are the layers that maps can be taken at,
    by name, first to last; ``embedding_layer`` names the module whose input is the embedding; ``fit`` brings an image
    of any size to the model's, None if the images must have it already. `from_module` makes one of any torch model.
    """

    module: nn.Module
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    cam_layers: Mapping[str, Layer]
    embedding_layer: str | None = None
    provenance: Provenance = field(default_factory=Provenance)
    card: Mapping[str, Any] = field(default_factory=dict)
    fit: Fit | None = None

    @staticmethod
    def from_module(
        module: nn.Module,
        classes: Sequence[str],
        transform: str | Callable[[Any], Tensor] | None = None,
        *,
        image_size: int | None = None,
        outputs: Outputs = "found",
    ) -> Classifier:
        """Any torch model as a classifier; see `foreign.classifier_of`."""
        from workbench.foreign import classifier_of

        return classifier_of(module, classes, transform, image_size=image_size, outputs=outputs)

    @functools.cached_property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    def prepare(self, images: ImageArray) -> Tensor:
        """Normalised float32 ``(n, 3, s, s)``, channels_last, of uint8 ``(n, H, W, 3)``.

        Raises
        ------
        DataError
            If the images are of another size than the model's, or no uint8.
        """
        if images.dtype != np.uint8:
            raise DataError(f"expected pixels uint8 from 0 to 255, not {images.dtype}: give them before normalisation")
        if images.ndim != 4 or images.shape[1:] != (self.image_size, self.image_size, 3):
            side = self.image_size
            raise DataError(f"expected images (n, {side}, {side}, 3), not {images.shape}: resize them first")
        # one fused multiply-add; channels_last is the arrays' own layout, so nothing is copied
        tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(self.device)
        scale = torch.tensor([1 / (255 * s) for s in self.std], device=self.device)[:, None, None]
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)], device=self.device)
        return tensor.float().mul_(scale).add_(shift[:, None, None])

    def seen(self, images: ImageSet) -> ImageSet:
        """The images as the model sees them, brought to its size."""
        return images if self.fit is None else dataclasses.replace(images, pixels=_Fitted(images.pixels, self.fit))


@dataclass(frozen=True)
class _Fitted:
    """Images brought to a model's size when they are asked for."""

    pixels: Pixels
    fit: Fit

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, place: int, /) -> ImageArray:
        return self.fit(self.pixels[place])


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, types and bytes of all parameters and buffers, as they are in memory now."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is not enough memory, on a processor or an accelerator."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words


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
