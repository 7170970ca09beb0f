"""Class activation maps: activations of a layer, weighted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import pytorch_grad_cam
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from workbench.attribution import guards
from workbench.attribution.batch import Batch
from workbench.attribution.method import LayerKernel
from workbench.attribution.targets import score
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve, record
from workbench.models.layer import Layer

Weigh = Callable[[nn.Module, Tensor, Tensor], Tensor]
Output = Callable[[Batch, Tensor], Tensor]
OneByOne = Callable[[nn.Module, Tensor, Layer, Tensor, Tensor], Tensor]
SIMILAR = 3
CHUNK, SMALL = 128, 1e-6


def gradients_at(
    module: nn.Module, x: Tensor, layers: Sequence[Layer], output: Callable[[Tensor], Tensor]
) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """Logits ``(n, K)``, and by layer its activations and the gradients of ``output(logits).sum()``, ``(n, C, h, w)``.

    The backward pass ends at the first of the layers. A layer without influence on the output has zeros.
    """
    with torch.enable_grad(), record(module, [layer.name for layer in layers]) as outputs:
        logits = module(x)
        runs = [outputs.runs(layer.name, max(1, len(layer.turns))) for layer in layers]
        values = [value for of_layer in runs for value in of_layer]
        slopes = iter(torch.autograd.grad(output(logits.float()).sum(), values, allow_unused=True))
    found = {}
    for layer, of_layer in zip(layers, runs, strict=True):
        gradients = [torch.zeros_like(value) if (slope := next(slopes)) is None else slope for value in of_layer]
        activations = [value.detach() for value in of_layer]
        found[layer.name] = (layer.joined(activations).float(), layer.joined(gradients).float())
    return logits.detach().float(), found


def from_gradients(weigh: Weigh, output: Output = Batch.scored, *, needs_gradient: bool = True) -> LayerKernel:
    """A class activation map from what a layer gives and the gradient of the output there.

    ``weigh(module, activation, gradient)`` makes maps ``(n, h, w)`` of two tensors ``(n, C, h, w)``;
    ``output(batch, logits)`` is what is differentiated. With ``needs_gradient`` a layer from which nothing reaches the
    output is refused.
    """

    def kernel(classifier: Classifier, batch: Batch, layers: Sequence[Layer]) -> dict[str, Tensor]:
        _, found = gradients_at(classifier.module, batch.x, layers, functools.partial(output, batch))
        if needs_gradient:
            for layer in layers:
                if not bool(found[layer.name][1].any()):
                    check_influence(classifier, layer)
        return {name: weigh(classifier.module, *pair) for name, pair in found.items()}

    return kernel


def at_each(compute: OneByOne) -> LayerKernel:
    """A class activation map that runs the model many times, layer by layer."""

    def kernel(classifier: Classifier, batch: Batch, layers: Sequence[Layer]) -> dict[str, Tensor]:
        return {layer.name: compute(classifier.module, batch.x, layer, *batch.extra) for layer in layers}

    return kernel


def check_influence(classifier: Classifier, layer: Layer) -> None:
    """Refuse a layer that no output depends on, as four images of noise show.

    Behind the last block of a transformer with a class token, for example, patches no longer matter. A layer without
    influence on the images at hand alone, as behind dead ReLUs, has maps of zeros.

    Raises
    ------
    AttributionError
        If the layer has no gradient at all.
    """
    x = classifier.prepare(guards.probes(classifier))
    with torch.autocast(x.device.type, enabled=False):
        _, found = gradients_at(classifier.module, x, [layer], lambda logits: logits.square().sum(1))
    if not bool(found[layer.name][1].any()):
        raise AttributionError(
            f"layer {layer.name!r} has no gradient: nothing on its grid reaches the output; choose an earlier layer"
        )


def finer(batch: Batch, logits: Tensor) -> Tensor:
    """Finer-CAM's output: the target's lead over the classes of most similar logit, weighted by their probabilities."""
    from pytorch_grad_cam.utils.model_targets import FinerWeightedTarget

    own = logits.gather(1, batch.of[:, None])
    distance = (logits - own).abs().scatter(1, batch.of[:, None], torch.inf)
    near = distance.argsort(dim=1, stable=True)[:, : min(SIMILAR, logits.shape[1] - 1)]
    leads = [
        FinerWeightedTarget(int(t), row.tolist(), 1.0)(z) for t, row, z in zip(batch.of, near, logits, strict=True)
    ]
    return torch.stack(leads)


def by_library(kind: type) -> Weigh:
    """The map of a pytorch-grad-cam class from activations and gradients; no hooks, no scaling, one map an image."""

    def weigh(module: nn.Module, activation: Tensor, gradient: Tensor) -> Tensor:
        cam = kind(model=module, target_layers=[])
        values: NDArray[np.float32] = cam.get_cam_image(
            None, None, None, activation.cpu().numpy(), gradient.cpu().numpy(), eigen_smooth=False
        )
        return torch.from_numpy(np.asarray(values, np.float32))

    return weigh


def weighed(activation: Tensor, weights: Tensor) -> Tensor:
    """``sum_c weights_c activation_c`` in float32, whatever the precision of the model's own products."""
    with torch.autocast(activation.device.type, enabled=False):
        return torch.einsum("nc,nchw->nhw", weights.float(), activation.float())


def eigen_cam(module: nn.Module, activation: Tensor, gradient: Tensor) -> Tensor:
    """Eigen-CAM as in pytorch-grad-cam, with its sign chosen by `_upright`."""
    return _upright(by_library(pytorch_grad_cam.EigenCAM)(module, activation, gradient), activation)


def kernel_cam(module: nn.Module, activation: Tensor, gradient: Tensor) -> Tensor:
    """KPCA-CAM as in pytorch-grad-cam (sigmoid kernel), with its sign chosen by `_upright`."""
    return _upright(by_library(pytorch_grad_cam.KPCA_CAM)(module, activation, gradient), activation)


def _upright(maps: Tensor, activation: Tensor) -> Tensor:
    """Maps ``(n, h, w)`` of a principal component, whose sign is arbitrary, made high where activations are large.

    They correlate with the norm of the activations ``(n, C, h, w)``.
    """
    maps, size = maps.to(activation.device), activation.norm(dim=1)
    centred = [values - values.mean((1, 2), keepdim=True) for values in (maps, size)]
    along = (centred[0] * centred[1]).sum((1, 2))
    return torch.where(along < 0, -1.0, 1.0)[:, None, None] * maps


def refine_cam(classifier: Classifier, batch: Batch, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """RefineCAM as in pytorch-grad-cam: the product of Grad-CAM++ at a layer and at those of finer grids before it.

    Each is cut off at 0, scaled to 0..1, brought to the image's size, and scaled again first.

    Raises
    ------
    AttributionError
        If no layer before has a finer grid: the product would be Grad-CAM++.
    """
    from pytorch_grad_cam.utils.image import scale_cam_image

    known = list(classifier.cam_layers.values())
    groups = {layer.name: [one for one in known if one.grid > layer.grid] for layer in layers}
    for layer in layers:
        if not groups[layer.name]:
            raise AttributionError(
                f"RefineCAM multiplies the maps of layers of several sizes, and none before {layer.name!r} is finer: "
                "take 'Grad-CAM++'"
            )
    wanted = {one.name: one for layer in layers for one in (*groups[layer.name], layer)}
    plain = grad_cam_plus_plus(classifier, batch, list(wanted.values()))
    height, width = batch.x.shape[2:]
    large = {
        name: scale_cam_image(scale_cam_image(maps.clamp_min(0).cpu().numpy(), (width, height)))
        for name, maps in plain.items()
    }
    return {
        layer.name: torch.from_numpy(np.prod([large[one.name] for one in (*groups[layer.name], layer)], axis=0))
        for layer in layers
    }


def grad_cam(_: nn.Module, activation: Tensor, gradient: Tensor) -> Tensor:
    """``sum_c mean(gradient_c) activation_c`` ``(n, h, w)``, as in pytorch-grad-cam, on the device."""
    return weighed(activation, gradient.mean((2, 3)))


def score_cam(module: nn.Module, x: Tensor, layer: Layer, of: Tensor, against: Tensor) -> Tensor:
    """Score-CAM ``(n, h, w)``: channels weighted by the output when the image is masked with them.

    Wang et al. 2020 (arXiv 1910.01279): softmax over the channels of the output for the image times the channel's
    map, upsampled and scaled to 0..1. As in pytorch-grad-cam; the output of an empty image, which the paper
    subtracts, is a constant that the softmax ignores.
    """
    with torch.no_grad(), record(module, [layer.name]) as outputs:
        module(x)
        runs = outputs.runs(layer.name, max(1, len(layer.turns)))
        activation = layer.joined([run.detach() for run in runs]).float()
    weights = []
    with torch.no_grad(), preserve(module):
        for image, maps, o, a in zip(x, activation, of, against, strict=True):
            large = functional.interpolate(maps[None], x.shape[2:], mode="bilinear", align_corners=True)[0]
            low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
            own = (large - low) / (high - low + 1e-8)
            outputs_of = [
                score(module(image * part[:, None]).float(), o.expand(len(part)), a.expand(len(part)))
                for part in torch.split(own, CHUNK)
            ]
            weights.append(torch.cat(outputs_of).softmax(0))
    return weighed(activation, torch.stack(weights))


def ablation_cam(module: nn.Module, x: Tensor, layer: Layer, of: Tensor, against: Tensor) -> Tensor:
    """Ablation-CAM ``(n, h, w)``: channels weighted by the share of the output lost when they are set to zero.

    Desai & Ramaswamy 2020 (doi 10.1109/WACV45572.2020.9093360), equation 5, except that the share is relative to the
    output's magnitude: the equation divides by the output itself and so flips the map's sign where that is negative,
    as a logit or a contrast may be. pytorch-grad-cam sets channels to a value far below the lowest where a layer has
    negative activations; here it is zero as in the paper.
    """
    if layer.turns:
        raise AttributionError(
            f"Ablation-CAM sets channels of one run to zero, and layer {layer.name!r} runs {len(layer.turns)} times in "
            "a pass: take Grad-CAM"
        )
    weights = []
    with torch.no_grad():
        with record(module, [layer.name]) as outputs:
            whole = score(module(x).float(), of, against)
            raw = outputs.runs(layer.name)[0].detach()
        channels = raw.shape[layer.channel_axis]
        for image, own, o, a, full in zip(x, raw, of, against, whole, strict=True):
            drops = []
            for part in torch.split(torch.arange(channels, device=x.device), CHUNK):
                ablated = own.expand(len(part), *own.shape).clone()
                ablated.movedim(layer.channel_axis, 1)[torch.arange(len(part)), part] = 0
                logits = _from_layer(module, layer.name, image.expand(len(part), *image.shape), ablated)
                drops.append(full - score(logits, o.expand(len(part)), a.expand(len(part))))
            weights.append(torch.cat(drops) / full.abs().clamp_min(SMALL))
    return weighed(layer.spatial(raw).float(), torch.stack(weights))


def _from_layer(module: nn.Module, name: str, x: Tensor, values: Tensor) -> Tensor:
    """Logits ``(n, K)`` of the model when the output of one module is replaced."""
    handle = module.get_submodule(name).register_forward_hook(lambda *_: values)
    try:
        logits: Tensor = module(x).float()
    finally:
        handle.remove()
    return logits


# what the catalogue names
grad_cam_plus_plus = from_gradients(by_library(pytorch_grad_cam.GradCAMPlusPlus))
hires_cam = from_gradients(by_library(pytorch_grad_cam.HiResCAM))
layer_cam = from_gradients(by_library(pytorch_grad_cam.LayerCAM))
x_grad_cam = from_gradients(by_library(pytorch_grad_cam.XGradCAM))
eigen = from_gradients(eigen_cam, needs_gradient=False)
kernel_pca = from_gradients(kernel_cam, needs_gradient=False)
finer_cam = from_gradients(grad_cam, finer)
scored = at_each(score_cam)
ablated = at_each(ablation_cam)
