"""Maps that are exact by construction: global average pooling and a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from workbench.attribution import activation
from workbench.attribution.batch import Batch
from workbench.core.records import FloatArray, ImageArray, Precision, ProbabilityArray
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier
from workbench.models.execution import products
from workbench.models.hooks import preserve
from workbench.models.layer import Layer

BATCH, PROBES = 250, 4


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


@dataclass(frozen=True)
class PooledHead:
    """The end of a model that allows exact maps: a layer, the mean over its cells, and a linear layer ``(K, C)``."""

    layer: Layer
    linear: nn.Linear


_KNOWN: WeakKeyDictionary[nn.Module, dict[tuple[object, ...], PooledHead | None]] = WeakKeyDictionary()


def pooled_head(classifier: Classifier) -> PooledHead | None:
    """The end of the model if its head is linear and reads the mean over the cells of the last CAM layer; else None.

    Checked in one forward pass over four images of noise: the layer's mean is what the head reads, and what the head
    gives are the logits.
    """
    last = classifier.last_layer
    key = (classifier.embedding_layer, last, classifier.image_size)
    known = _KNOWN.setdefault(classifier.module, {})
    if key not in known:  # how a model ends is a matter of its structure: checked once
        known[key] = None if last is None else _seen(classifier, last)
    return known[key]


def _seen(classifier: Classifier, last: Layer) -> PooledHead | None:
    """`pooled_head`, by running the model."""
    name = classifier.embedding_layer
    head = classifier.module.get_submodule(name) if name else None
    if not isinstance(head, nn.Linear) or len(head.weight) != len(classifier.classes) or last.extra_tokens is not None:
        return None
    if last.turns:
        return None
    images = np.random.default_rng(0).integers(0, 256, (PROBES, *classifier.size, 3)).astype(np.uint8)
    images[:, : classifier.size[0] // 2] //= 3
    read: list[tuple[Tensor, Tensor]] = []
    with preserve(classifier.module), torch.autocast(classifier.device.type, enabled=False):
        head.register_forward_hook(lambda _, inputs, output: read.append((inputs[0].detach(), output.detach())))
        found, logits = _forward(classifier, last, classifier.prepare(images))
    if len(read) != 1:
        return None
    pooled, (given, answered) = found.mean((2, 3)), read[0]
    same = pooled.shape == given.shape and torch.allclose(pooled, given.float(), rtol=1e-4, atol=1e-5)
    same = same and answered.shape == logits.shape and torch.allclose(answered.float(), logits, rtol=1e-4, atol=1e-5)
    return PooledHead(last, head) if same else None


def _forward(classifier: Classifier, layer: Layer, x: Tensor) -> tuple[Tensor, Tensor]:
    """Activations of a layer and logits, without a graph; the model is restored afterwards."""
    found: list[Tensor] = []
    with preserve(classifier.module), torch.no_grad():
        classifier.module.get_submodule(layer.name).register_forward_hook(lambda _, __, output: found.append(output))
        logits = classifier.module(x)
    return layer.spatial(found[0]).float(), logits.float()


def all_targets(classifier: Classifier, head: PooledHead, x: Tensor) -> tuple[Tensor, Tensor]:
    """Maps float32 ``(n, K, h, w)`` of all classes of prepared images, and the logits ``(n, K)``; see `class_maps`."""
    found, logits = _forward(classifier, head.layer, x)
    n, channels, rows, columns = found.shape
    cells = found.permute(0, 2, 3, 1).reshape(-1, channels)
    with torch.autocast(x.device.type, enabled=False):
        maps = cells @ (head.linear.weight.detach().float() / (rows * columns)).T
    return maps.reshape(n, rows, columns, -1).permute(0, 3, 1, 2), logits


def gives_all_classes(classifier: Classifier, method: str, layer: str = "") -> bool:
    """Whether one pass gives a method's maps of all classes: of Grad-CAM at the last layer before a `pooled_head`."""
    head = pooled_head(classifier) if method == "Grad-CAM" else None
    return head is not None and layer in ("", head.layer.name)


def grad_cam(classifier: Classifier, batch: Batch, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """Grad-CAM; at the last layer before a `pooled_head` without a backward pass, which gives the same maps."""
    head = pooled_head(classifier)
    if head is None or list(layers) != [head.layer]:
        return activation.from_gradients(activation.grad_cam)(classifier, batch, layers)
    maps, _ = all_targets(classifier, head, batch.x)
    own, other = (maps[torch.arange(len(maps)), kind.clamp_min(0)] for kind in batch.extra)
    return {head.layer.name: own - torch.where((batch.against >= 0)[:, None, None], other, torch.zeros_like(other))}


def class_maps(classifier: Classifier, images: ImageArray, *, precision: Precision = "float32") -> ClassMaps:
    """Maps of all classes for images uint8 ``(n, H, W, 3)``, from one forward pass and no backward pass.

    The original class activation maps (Zhou et al. 2016, arXiv 1512.04150) divided by the number of cells: with a mean
    over the cells and a linear head the logit is the sum over cells of ``w_k . a(cell) / cells`` plus the bias. They
    equal Grad-CAM at this layer, and their sums plus the bias equal the logits, to rounding.

    Raises
    ------
    AttributionError
        If the model does not end with a mean over the cells of its last CAM layer and a linear layer.
    """
    head = pooled_head(classifier)
    if head is None:
        raise AttributionError(
            "exact margin maps need a model that ends with the mean over a layer's cells and a linear head; "
            "take Grad-CAM with a contrast instead"
        )
    with products(classifier.device, precision):
        parts = [
            all_targets(classifier, head, classifier.prepare(images[first : first + BATCH]))
            for first in range(0, len(images), BATCH)
        ]
    values, logits = (torch.cat(part).contiguous().cpu().numpy() for part in zip(*parts, strict=True))
    bias = head.linear.bias
    offset = np.zeros(len(classifier.classes)) if bias is None else bias.detach().double().cpu().numpy()
    return ClassMaps(values, offset, logits)
