"""Maps that are exact by construction: global average pooling and a linear head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from workbench.attribution.layers import Layer, kept
from workbench.classifier import Classifier
from workbench.errors import AttributionError
from workbench.records import FloatArray, ImageArray, ProbabilityArray

BATCH = 250


@dataclass(frozen=True)
class ClassMaps:
    """The class activation maps of every class at once.

    ``values`` float32 ``(n, K, h, w)``: ``values[i, k].sum() + bias[k]`` is the logit of class k of image i, and so
    ``(values[i, a] - values[i, b]).sum() + bias[a] - bias[b]`` the margin of a over b. ``bias`` float64 ``(K,)``,
    ``logits`` float32 ``(n, K)``.
    """

    values: ProbabilityArray
    bias: FloatArray
    logits: ProbabilityArray

    def margin(self, image: int, of: int, against: int) -> tuple[ProbabilityArray, float]:
        """The map ``(h, w)`` of one class's lead over another, and the bias difference that completes it."""
        return self.values[image, of] - self.values[image, against], float(self.bias[of] - self.bias[against])


def pooled_head(classifier: Classifier) -> tuple[nn.Linear, Layer]:
    """The linear head and the layer whose spatial mean it reads.

    Raises
    ------
    AttributionError
        If the model does not end with a mean over the cells of its last CAM layer and a linear layer.
    """
    name = classifier.embedding_layer
    head = classifier.module.get_submodule(name) if name else None
    if not isinstance(head, nn.Linear) or not classifier.cam_layers:
        raise AttributionError("exact margin maps need global average pooling and a linear head; take Grad-CAM instead")
    last = list(classifier.cam_layers)[-1]
    return head, Layer(last, tuple(classifier.cam_layers[last]))


def class_maps(classifier: Classifier, images: ImageArray) -> ClassMaps:
    """Maps of all classes for images uint8 ``(n, H, W, 3)``, from one forward pass and no backward pass.

    The original class activation maps (Zhou et al. 2016, arXiv 1512.04150) over the number of cells: with a mean over
    the cells and a linear head the logit is the sum over cells of ``w_k . a(cell) / cells`` plus the bias. They equal
    Grad-CAM at this layer, and their sums the logits, to rounding.

    Raises
    ------
    AttributionError
        If the model has no such end, which is checked on the images themselves.
    """
    head, layer = pooled_head(classifier)
    weight = head.weight.detach().float()
    bias = torch.zeros(len(weight)) if head.bias is None else head.bias.detach().double().cpu()
    values, logits = [], []
    for first in range(0, len(images), BATCH):
        with torch.no_grad(), kept(classifier.module, [layer.name]) as outputs:
            out = classifier.module(classifier.prepare(images[first : first + BATCH])).float()
            activation = outputs[layer.name].detach().float()
        cells = activation.shape[2] * activation.shape[3]
        maps = torch.einsum("kc,nchw->nkhw", weight / cells, activation)
        gap = (maps.double().sum((2, 3)) + bias.to(maps.device) - out).abs().max()
        if float(gap) > 1e-3 * max(1.0, float(out.abs().max())):
            raise AttributionError(
                f"exact margin maps: the maps of {layer.name} miss the logits by up to {float(gap):.3g}, so that the model "
                "does not end with their mean and a linear layer; take Grad-CAM instead"
            )
        values.append(maps.cpu().numpy())
        logits.append(out.cpu().numpy())
    return ClassMaps(np.concatenate(values), bias.numpy().astype(np.float64), np.concatenate(logits))
