"""One interface to every method: images, targets and a method's name in, raw maps out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workbench.attribution import guards
from workbench.attribution.batch import Batch
from workbench.attribution.method import Method
from workbench.attribution.registry import method_of
from workbench.attribution.targets import Targets, seeds_of
from workbench.core.records import Attribution, ImageArray, IntArray, Precision
from workbench.errors import AttributionError
from workbench.models.budget import gradient_batch
from workbench.models.classifier import Classifier
from workbench.models.execution import products
from workbench.models.hooks import out_of_memory, preserve
from workbench.models.layer import Layer

BATCH = 64


def attribute(
    classifier: Classifier,
    images: ImageArray,
    rows: IntArray,
    targets: Targets,
    method: str = "Grad-CAM",
    *,
    layers: Sequence[str] = (),
    precision: Precision = "float32",
    **settings: Any,
) -> dict[str, Attribution]:
    """Maps of ``n`` images by layer, raw and unscaled; a method on the input has the one layer ``""``.

    Parameters
    ----------
    images : uint8 array (n, H, W, 3)
    rows : int64 array (n,)
        Row ids; they also seed a method's random numbers, so that an image's map does not depend on its batch.
    targets : Targets
        The class explained for each image, or its lead over another.
    method : str
        A name in `registry.METHODS`.
    layers : names of CAM layers of the classifier; default: the last
    precision : "float32" or "bfloat16"
        Of the model's products; maps are float32 in either case. bfloat16 is faster where the processor supports it.
    settings : options of the method

    If memory runs out, the batch is halved with a warning.

    Raises
    ------
    AttributionError
        If the method, a layer, a target or a setting does not exist, counts differ, the images are not finite, the
        method does not apply to the model, or a baseline is degenerate on this model.
    """
    chosen = method_of(method)
    options = chosen.with_settings(settings)
    guards.check_request(classifier, images, rows, targets)
    if classifier.opaque and chosen.family != "perturbation":
        raise AttributionError(
            f"{chosen.name} needs the model's layers or gradients, and {classifier.opaque}: take 'Occlusion' or "
            "another one of the family 'perturbation'"
        )
    if targets.against is not None and chosen.no_contrast:
        raise AttributionError(f"{chosen.name} {chosen.no_contrast}: it takes no contrast; take another method")
    if layers and not chosen.at_layer:
        raise AttributionError(f"{chosen.name} gives maps on the input: it takes no layer; omit it")
    asked = [name for name in chosen.layer_names(classifier, layers) if chosen.at_layer]
    named = [classifier.layer(name) for name in asked]
    called = {layer.name: name for layer, name in zip(named, asked, strict=True)}
    parts: dict[str, list[NDArray[np.float32]]] = {layer.name: [] for layer in named} or {"": []}
    residuals: list[NDArray[np.float64]] = []
    with preserve(classifier.module), products(classifier.device, precision):
        for parameter in classifier.module.parameters():  # no map needs their gradients; `preserve` restores the wish
            parameter.requires_grad_(False)
        first, size = 0, gradient_batch(classifier, BATCH)
        while first < len(images):
            part = slice(first, first + size)
            try:
                batch = _batch(classifier, images[part], rows[part], targets.part(part))
                found, residual = _of_batch(classifier, batch, chosen, options, named)
            except (MemoryError, RuntimeError) as error:
                if len(images[part]) == 1 or not out_of_memory(error):
                    raise
                size = len(images[part]) // 2
                warnings.warn(f"out of memory: {size} images at a time from here on", ResourceWarning, stacklevel=2)
                continue
            for name, maps in found.items():
                parts[name].append(maps)
            residuals += [] if residual is None else [residual]
            first += size
    title = chosen.title(options)
    gaps = np.concatenate(residuals) if residuals else None
    return {
        called.get(name, name): Attribution(
            np.concatenate(maps), rows, targets.of, chosen.name, name, gaps, targets.against, chosen.signed, title
        )
        for name, maps in parts.items()
    }


def _of_batch(
    classifier: Classifier,
    batch: Batch,
    method: Method,
    options: dict[str, Any],
    layers: list[Layer],
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float64] | None]:
    """The maps of a batch by layer, and the completeness residuals of a method that has them."""
    if method.input is not None:
        values, total = method.input(classifier, batch, options)
        values = values.detach().float()
        residual = None if total is None else guards.completeness_residual(values, total)
        return {"": _reduced(values, method)}, residual
    found = {} if method.layer is None else method.layer(classifier, batch, layers)
    return {name: values.cpu().numpy() for name, values in found.items()}, None


def _batch(classifier: Classifier, images: ImageArray, rows: IntArray, targets: Targets) -> Batch:
    x = classifier.prepare(images)
    guards.check_finite(x)
    of, against = targets.tensors(x.device)
    return Batch(x, images, of, against, seeds_of(rows))


def _reduced(values: Tensor, method: Method) -> NDArray[np.float32]:
    """One value a pixel of ``(n, 3, s, s)``: the sum over channels, or for magnitudes the largest of them."""
    if values.ndim == 3:
        return np.asarray(values.cpu().numpy(), np.float32)
    maps = values.abs().amax(1) if method.reduction == "largest" else values.sum(1)
    return np.asarray(maps.cpu().numpy(), np.float32)
