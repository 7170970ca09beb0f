"""Attribution methods: the libraries compute, raw values are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from workbench.attribution import guards
from workbench.classifier import Classifier, untouched
from workbench.records import Attribution, ImageArray, IntArray

BATCH = 64
BASELINES = ("black", "blurred", "mean")
Baseline = Literal["black", "blurred", "mean"]


def grad_cam(
    classifier: Classifier, images: ImageArray, rows: IntArray, targets: IntArray, layers: Sequence[str]
) -> dict[str, Attribution]:
    """Grad-CAM of each image for its target, by layer, from one forward and one backward pass.

    Selvaraju 2017 (arXiv 1610.02391), computed by pytorch-grad-cam. Deviations: maps stay on the
    layer's grid, signed and unscaled, where the paper applies a ReLU and the library also scales
    each map to 0..1; rendering does both. Gradients are taken to the activations alone.

    Parameters
    ----------
    images : uint8 array (n, H, W, 3)
    rows, targets : int64 array (n,)
    layers : names of CAM layers of the classifier

    Raises
    ------
    AttributionError
        If a layer or target does not exist, or counts differ.
    """
    from pytorch_grad_cam import GradCAM

    guards.check_request(classifier, images, rows, targets)
    for layer in layers:
        guards.check_layer(classifier, layer)
    modules = [classifier.module.get_submodule(layer) for layer in layers]
    parts: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]] = {layer: [] for layer in layers}
    with untouched(classifier.module):
        cam = GradCAM(model=classifier.module, target_layers=modules)
        try:
            for first in range(0, len(images), BATCH):
                x = classifier.prepare(images[first : first + BATCH]).requires_grad_()
                target = torch.from_numpy(targets[first : first + BATCH]).to(x.device)
                logits = cam.activations_and_grads(x)
                torch.autograd.grad(logits.gather(1, target[:, None]).sum(), x)
                store = cam.activations_and_grads
                for layer, module, activation, gradient in zip(
                    layers, modules, store.activations, store.gradients, strict=True
                ):
                    values = cam.get_cam_image(x, module, None, activation.numpy(), gradient.numpy())
                    parts[layer].append(np.asarray(values, np.float32))
        finally:
            cam.activations_and_grads.release()
    return {layer: Attribution(np.concatenate(part), rows, targets, "Grad-CAM", layer) for layer, part in parts.items()}


def baseline_images(classifier: Classifier, images: ImageArray, kind: Baseline) -> Tensor:
    """The normalised starting points ``(n, 3, s, s)`` of integrated gradients.

    ``"black"`` is 0 in every channel, ``"blurred"`` the image under a Gaussian of a quarter of its
    side, ``"mean"`` the data's mean colour, which normalises to the zero tensor.
    """
    if kind == "black":
        return classifier.prepare(np.zeros_like(images))
    if kind == "mean":
        return torch.zeros_like(classifier.prepare(images))
    sigma = images.shape[1] / 4
    return classifier.prepare(np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images]))


def integrated_gradients(
    classifier: Classifier,
    images: ImageArray,
    rows: IntArray,
    targets: IntArray,
    *,
    baseline: Baseline = "black",
    steps: int = 64,
) -> Attribution:
    """Integrated gradients on the input, summed over channels, with their completeness residual.

    Sundararajan 2017 (arXiv 1703.01365), computed by Captum with Gauss-Legendre quadrature of
    ``steps`` points. The shares sum to F(image) - F(baseline) for the target's logit as far as the
    residual says.

    Raises
    ------
    AttributionError
        If the baseline is degenerate on this model, a target does not exist, or counts differ.
    """
    from captum.attr import IntegratedGradients

    guards.check_request(classifier, images, rows, targets)
    values, residuals = [], []
    with untouched(classifier.module):
        method = IntegratedGradients(classifier.module)
        for first in range(0, len(images), BATCH):
            chunk = images[first : first + BATCH]
            x, start = classifier.prepare(chunk), baseline_images(classifier, chunk, baseline)
            target = torch.from_numpy(targets[first : first + BATCH]).to(x.device)
            guards.check_baseline(classifier, x, start, target)
            attribution = method.attribute(x, start, target=target, n_steps=steps, internal_batch_size=2 * BATCH)
            with torch.no_grad():
                end, begin = (classifier.module(z).gather(1, target[:, None])[:, 0] for z in (x, start))
            residuals.append(guards.completeness_residual(attribution, end, begin))
            values.append(attribution.sum(1).detach().cpu().numpy().astype(np.float32))
    return Attribution(
        np.concatenate(values), rows, targets, f"Integrated gradients ({baseline})", "", np.concatenate(residuals)
    )
