"""A torch classifier with everything needed to feed it images."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.core.names import ClassNames
from workbench.core.records import ImageArray, ImageSet, Pixels, Provenance
from workbench.errors import AttributionError, DataError
from workbench.models.crops import crop
from workbench.models.layer import Layer

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from workbench.models.adapt import Outputs
    from workbench.models.measured import Transform

Fit = Callable[[ImageArray], ImageArray]


class OnDemand:
    """A model that is loaded when it is first asked for, by whichever thread comes first."""

    def __init__(self, load: Callable[[], nn.Module]) -> None:
        self._load, self._lock = load, threading.Lock()
        self._module: nn.Module | None = None

    def get(self) -> nn.Module:
        """The model."""
        import torch

        with self._lock, torch.inference_mode(False):  # weights made within it could never be differentiated
            if self._module is None:
                self._module = self._load()
            return self._module

    def __getstate__(self) -> tuple[Callable[[], nn.Module], nn.Module | None]:
        return self._load, self._module

    def __setstate__(self, kept: tuple[Callable[[], nn.Module], nn.Module | None]) -> None:
        self._load, self._module = kept
        self._lock = threading.Lock()


class _Held:
    """The attribute ``module`` of a `Classifier`: a model, or `OnDemand` of one."""

    def __get__(self, classifier: Classifier | None, _: type | None = None) -> nn.Module:
        if classifier is None:
            raise AttributeError("module: an attribute of each classifier, not of the class")
        held = vars(classifier)["_held"]
        return held.get() if isinstance(held, OnDemand) else held

    def __set__(self, classifier: Classifier, held: nn.Module | OnDemand) -> None:
        vars(classifier)["_held"] = held


@dataclass(frozen=True)
class Classifier:
    """A model from normalised images ``(n, 3, h, w)`` to logits ``(n, K)``, and its preprocessing.

    `classifier_of` makes one of any torch model.

    Parameters
    ----------
    module : nn.Module
        Given as `OnDemand`, it is loaded when it is first asked for.
    classes : tuple of str
        K names, in the order of the logits.
    mean, std : tuple of float
        Of each channel, as fractions of 255.
    image_size : int or (int, int)
        Side of the input in pixels, or its height and width where they differ.
    cam_layers : mapping of str to Layer
        The layers that maps can be taken at, first to last.
    embedding_layer : str or None
        The module whose input is the embedding.
    provenance : Provenance
        Identifies the weights, and the versions of libraries.
    card : mapping
        A checkpoint's sidecar; empty for other models.
    fit : function or None
        Brings an image uint8 ``(H, W, 3)`` to the model's size; None if the images must have it already.
    no_layer : str
        Why no map can be taken at a layer unless one is named; empty if `last_layer` is one.
    references : uint8 array (m, h, w, 3), or None
        Typical images at the model's size, from which expected gradients start; see `with_references`.
    channels_last : bool
        Memory layout of the prepared images; which is faster can be measured (see `runs.training.fastest_execution`).
    """

    module: nn.Module
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int | tuple[int, int]
    cam_layers: Mapping[str, Layer]
    embedding_layer: str | None = None
    provenance: Provenance = field(default_factory=Provenance)
    card: Mapping[str, Any] = field(default_factory=dict)
    fit: Fit | None = None
    no_layer: str = ""
    references: ImageArray | None = field(default=None, compare=False)
    channels_last: bool = field(default=True, compare=False)

    @staticmethod
    def from_module(
        module: nn.Module | Path | str,
        classes: ClassNames,
        transform: str | Transform | None = None,
        *,
        image_size: int | tuple[int, int] | None = None,
        outputs: Outputs = "found",
    ) -> Classifier:
        """Any torch model as a classifier; see `classifier_of`."""
        import workbench

        return workbench.classifier_of(module, classes, transform, image_size=image_size, outputs=outputs)

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        import torch

        held = itertools.chain(self.module.parameters(), self.module.buffers())
        return next((p.device for p in held), torch.device("cpu"))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    @property
    def opaque(self) -> str:
        """Why the model's layers and gradients can't be had, as of a scripted one; empty if they can."""
        from workbench.models.opaque import opaque_in

        inner = opaque_in(self.module)
        return "" if inner is None else inner.reason

    def layer(self, name: str) -> Layer:
        """The CAM layer of that name, or any other module's whose output has a grid.

        Raises
        ------
        AttributionError
            If the model has no such module, or its output has no grid.
        """
        if name in self.cam_layers:
            return self.cam_layers[name]
        from workbench.models.adapt import probes
        from workbench.models.layers import layer_at

        known = ", ".join(self.cam_layers) or f"none, as {self.no_layer}"
        inside = f"module.{name}"  # of a model around the user's, by the user's own name
        if inside in self.cam_layers:
            return self.cam_layers[inside]
        modules = dict(self.module.named_modules())
        try:
            place = inside if name not in modules and inside in modules else name
            return layer_at(self.module, place, self.prepare(probes(self.size)[:1]))
        except AttributionError as error:
            raise AttributionError(f"expected a layer of {known}, not {name!r}: {error}") from error

    @property
    def last_layer(self) -> Layer | None:
        """The last CAM layer, at which maps are taken unless another is named.

        None if the model has none, or none that everything passes through, as an ensemble.
        """
        last = list(self.cam_layers.values())[-1] if self.cam_layers else None
        return None if last is None or last.partial else last

    def prepare(self, images: ImageArray) -> Tensor:
        """Normalised float32 ``(n, 3, h, w)``, in the layout of ``channels_last``, of uint8 ``(n, H, W, 3)``.

        Raises
        ------
        DataError
            If the images do not have the model's size, or are not uint8.
        """
        if images.dtype != np.uint8:
            raise DataError(f"expected pixels uint8 from 0 to 255, not {images.dtype}: give them before normalisation")
        if images.ndim != 4 or images.shape[1:] != (*self.size, 3):
            height, width = self.size
            raise DataError(
                f"expected images (n, {height}, {width}, 3), not {images.shape}: bring them to the model's size with "
                "classifier.seen(images)"
            )
        import torch

        # one fused multiply-add; channels_last is the layout of the arrays, so that nothing is copied
        device, tensor = self.device, torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        if device.type == "cuda":
            tensor = tensor.pin_memory().to(device, non_blocking=True)
        scale = torch.tensor([1 / (255 * s) for s in self.std], device=device)[:, None, None]
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)], device=device)[:, None, None]
        prepared = tensor.to(device).float().mul_(scale).add_(shift)
        return prepared if self.channels_last else prepared.contiguous()

    def seen(self, images: ImageSet) -> ImageSet:
        """The images as the model sees them, at its input size."""
        fits = isinstance(images.pixels, np.ndarray) and images.pixels.shape[1:3] == self.size
        if self.fit is None or (fits and getattr(self.fit, "func", None) is crop):  # which leaves them as they are
            return images
        return dataclasses.replace(images, pixels=_Fitted(images.pixels, self.fit))


Classifier.module = _Held()  # type: ignore[assignment]  # after the dataclass, which would take it for a default


@dataclass(frozen=True)
class _Fitted:
    """Images brought to a model's input size on demand."""

    pixels: Pixels
    fit: Fit

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, place: int, /) -> ImageArray:
        return self.fit(self.pixels[place])
