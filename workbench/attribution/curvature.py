"""Class activation maps that use second derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from workbench.attribution.activation import check_influence, weighed
from workbench.attribution.batch import Batch
from workbench.models.classifier import Classifier
from workbench.models.hooks import record
from workbench.models.layer import Layer


def shapley_cam(classifier: Classifier, batch: Batch, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """ShapleyCAM ``(n, h, w)`` by layer: channels weighted by the mean of ``g - H a / 2`` (Cai 2025, arXiv 2501.06261).

    ``g`` and ``H`` are gradient and Hessian, at the layer's activations ``a``, of the utility that the paper proposes:
    the logit plus the log-probability of the class (of a contrast, the difference of two). Times the activations these
    are their Shapley values in the utility's second-order expansion; they are averaged over the cells first, as
    Grad-CAM's weights are, and as in pytorch-grad-cam.
    """
    with (
        torch.enable_grad(),
        sdpa_kernel(SDPBackend.MATH),  # the faster attention has no second derivative
        record(classifier.module, [layer.name for layer in layers]) as outputs,
    ):
        logits = classifier.module(batch.x).float()
        runs = {layer.name: outputs.runs(layer.name, max(1, len(layer.turns))) for layer in layers}
        values = [value for of_layer in runs.values() for value in of_layer]
        utility = _utility(batch, logits).sum()
        slopes = iter(torch.autograd.grad(utility, values, create_graph=True, allow_unused=True))
        found = {}
        for layer in layers:
            own = runs[layer.name]
            first = [torch.zeros_like(value) if (slope := next(slopes)) is None else slope for value in own]
            if not any(bool(slope.any()) for slope in first):
                check_influence(classifier, layer)
            second = _curved(first, own)
            weights = layer.joined([(g - h / 2).detach() for g, h in zip(first, second, strict=True)])
            activation = layer.joined([value.detach() for value in own]).float()
            found[layer.name] = weighed(activation, weights.float().mean((2, 3)))
    return found


def _utility(batch: Batch, logits: Tensor) -> Tensor:
    """The logit plus the log-probability of the class explained, ``(n,)``; of a contrast, minus the other's."""
    return batch.scored(logits + logits.log_softmax(1))


def _curved(slopes: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
    """The Hessian times the values, from gradients that were made with a graph; 0 where they are constant."""
    bent = [(slope, value) for slope, value in zip(slopes, values, strict=True) if slope.requires_grad]
    if not bent:
        return [torch.zeros_like(value) for value in values]
    made = torch.autograd.grad(
        [slope for slope, _ in bent],
        list(values),
        grad_outputs=[value.detach() for _, value in bent],
        retain_graph=True,
        allow_unused=True,
    )
    return [torch.zeros_like(value) if one is None else one for one, value in zip(made, values, strict=True)]
