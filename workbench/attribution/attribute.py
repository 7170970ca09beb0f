"""One interface to every method: images, targets and a method's name in, raw maps out."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_grad_cam
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.attribution import activation, exact, guards
from workbench.attribution.gradient import Batch
from workbench.attribution.layers import layer_of
from workbench.attribution.registry import Method, method_of
from workbench.attribution.targets import Targets, score, seeds_of
from workbench.classifier import Classifier, Layer, Precision, out_of_memory, untouched
from workbench.errors import AttributionError
from workbench.records import Attribution, ImageArray, IntArray

BATCH = 64
SIMILAR = 3
_KERNELS: Mapping[str, activation.Kernel] = {
    "Grad-CAM": activation.grad_cam,
    "Grad-CAM++": activation.by_library(pytorch_grad_cam.GradCAMPlusPlus),
    "HiResCAM": activation.by_library(pytorch_grad_cam.HiResCAM),
    "LayerCAM": activation.by_library(pytorch_grad_cam.LayerCAM),
    "XGrad-CAM": activation.by_library(pytorch_grad_cam.XGradCAM),
    "Eigen-CAM": activation.eigen_cam,
    "Finer-CAM": activation.grad_cam,
}
_NO_CONTRAST = {
    "Eigen-CAM": "explains no class, but what is common to the activations",
    "Finer-CAM": "holds its class against those most like it already",
}
_ONE_BY_ONE = {"Score-CAM": activation.score_cam, "Ablation-CAM": activation.ablation_cam}


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
        Row ids; they also seed what a method draws, so that an image's map does not depend on its batch.
    targets : Targets
        The class explained of each image, or its lead over another.
    method : str
        A name in `registry.METHODS`.
    layers : names of CAM layers of the classifier; default: the last
    precision : "float32" or "bfloat16"
        Of the model's products; maps are float32 in either case. bfloat16 is faster where the processor has it.
    settings : options of the method

    Out of memory, the batch is halved, with a warning that says so.

    Raises
    ------
    AttributionError
        If the method, a layer, a target or a setting does not exist, counts differ, the images are not finite, the
        model can't carry the method, or a baseline is degenerate on this model.
    """
    chosen = method_of(method)
    options = chosen.with_settings(settings)
    guards.check_request(classifier, images, rows, targets)
    if targets.against is not None and chosen.name in _NO_CONTRAST:
        raise AttributionError(f"{chosen.name} {_NO_CONTRAST[chosen.name]}: it takes no contrast; take another method")
    named = _layers(classifier, chosen, layers)
    parts: dict[str, list[NDArray[np.float32]]] = {layer.name: [] for layer in named} or {"": []}
    residuals: list[NDArray[np.float64]] = []
    pooled = exact.pooled_head(classifier) if chosen.name == "Grad-CAM" else None
    half = torch.autocast(classifier.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with untouched(classifier.module), half:
        first, size = 0, BATCH
        while first < len(images):
            part = slice(first, first + size)
            try:
                batch = _batch(classifier, images[part], rows[part], targets.part(part))
                found, residual = _of_batch(classifier, batch, chosen, options, named, pooled)
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
    kind = title_of(chosen, options)
    gaps = np.concatenate(residuals) if residuals else None
    return {
        name: Attribution(np.concatenate(maps), rows, targets.of, kind, name, gaps, targets.against, chosen.signed)
        for name, maps in parts.items()
    }


def _of_batch(
    classifier: Classifier,
    batch: Batch,
    method: Method,
    options: dict[str, Any],
    layers: list[Layer],
    pooled: exact.PooledHead | None,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float64] | None]:
    """The maps of a batch by layer, and the completeness residuals of a method that has them."""
    if method.input is None:
        found = _at_layers(classifier, batch, method.name, layers, pooled)
        return {layer: maps.cpu().numpy() for layer, maps in found.items()}, None
    values, start = method.input(classifier, batch, options)
    maps = _reduced(values.detach().float(), method)
    return {"": maps}, None if start is None else _residual(classifier, batch, values, start)


def title_of(method: Method, options: Mapping[str, Any]) -> str:
    """The method's name, with its baseline if it has one: two baselines answer two questions."""
    return f"{method.name} ({options['baseline']})" if "baseline" in options else method.name


def _layers(classifier: Classifier, method: Method, names: Sequence[str]) -> list[Layer]:
    if method.input is not None:
        if names:
            raise AttributionError(f"{method.name} gives maps on the input; it takes no layer")
        return []
    if not classifier.cam_layers:
        raise AttributionError(f"{method.name} needs a layer with a grid, and this model has none; take {'Saliency'!r}")
    return [layer_of(classifier, name) for name in names or list(classifier.cam_layers)[-1:]]


def _batch(classifier: Classifier, images: ImageArray, rows: IntArray, targets: Targets) -> Batch:
    x = classifier.prepare(images)
    guards.check_finite(x)
    of, against = targets.tensors(x.device)
    return Batch(x, images, of, against, seeds_of(rows))


def _at_layers(
    classifier: Classifier, batch: Batch, name: str, layers: list[Layer], pooled: exact.PooledHead | None
) -> dict[str, Tensor]:
    module = classifier.module
    if pooled is not None and layers == [pooled.layer]:
        maps, _ = exact.all_targets(classifier, pooled, batch.x)  # the same without a backward pass
        own, other = (maps[torch.arange(len(maps)), kind.clamp_min(0)] for kind in batch.extra)
        return {layers[0].name: own - torch.where((batch.against >= 0)[:, None, None], other, torch.zeros_like(other))}
    if name in _ONE_BY_ONE:
        compute = _ONE_BY_ONE[name]
        return {layer.name: compute(module, batch.x, layer, *batch.extra) for layer in layers}
    output = functools.partial(_finer, of=batch.of) if name == "Finer-CAM" else _scored(batch)
    _, found = activation.gradients_at(module, batch.x, layers, output)
    if name != "Eigen-CAM":
        for layer in layers:
            if not bool(found[layer.name][1].any()):
                guards.check_influence(classifier, layer)
    return {layer: _KERNELS[name](module, *pair) for layer, pair in found.items()}


def _scored(batch: Batch):  # type: ignore[no-untyped-def]
    return lambda logits: score(logits, *batch.extra)


def _finer(logits: Tensor, of: Tensor) -> Tensor:
    """Finer-CAM's output: the target's lead over the classes of most similar logit, weighed by their probabilities."""
    from pytorch_grad_cam.utils.model_targets import FinerWeightedTarget

    own = logits.gather(1, of[:, None])
    distance = (logits - own).abs().scatter(1, of[:, None], torch.inf)
    near = distance.argsort(dim=1, stable=True)[:, : min(SIMILAR, logits.shape[1] - 1)]
    leads = [FinerWeightedTarget(int(t), row.tolist(), 1.0)(z) for t, row, z in zip(of, near, logits, strict=True)]
    return torch.stack(leads)


def _reduced(values: Tensor, method: Method) -> NDArray[np.float32]:
    """One value a pixel of ``(n, 3, s, s)``: the sum over channels, or for magnitudes the largest of them."""
    maps = values.abs().amax(1) if method.reduction == "largest" else values.sum(1)
    return np.asarray(maps.cpu().numpy(), np.float32)


def _residual(classifier: Classifier, batch: Batch, values: Tensor, start: Tensor) -> NDArray[np.float64]:
    with torch.no_grad():
        end, begin = (score(classifier.module(z).float(), *batch.extra) for z in (batch.x, start))
    return guards.completeness_residual(values.detach(), end, begin)
