"""The activations of a layer cell by cell, and what each cell's channels add to a margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.attribution import guards
from workbench.attribution.exact import pooled_head
from workbench.attribution.targets import Targets, score
from workbench.core.records import FloatArray, ImageArray, IntArray, ProbabilityArray
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier
from workbench.models.layer import Layer

BATCH = 64
Features = NDArray[np.float32]


@dataclass(frozen=True)
class Cells:
    """A layer's output on ``n`` images as ``(n, h, w, C)``, float32, and the output explained.

    ``gradient``, of the same shape, is that of ``margin`` float64 ``(n,)``: the logit explained, or its lead over
    another (`attribution.targets.Targets`). ``exact``: whether the margin is linear in the activations, as before
    a mean over the cells and a linear head (`exact.pooled_head`).
    """

    layer: Layer
    values: Features
    gradient: Features
    margin: FloatArray
    exact: bool = False

    def __len__(self) -> int:
        return len(self.values)

    def part(self, rows: slice | IntArray) -> Cells:
        """Those of some of the images."""
        return Cells(self.layer, self.values[rows], self.gradient[rows], self.margin[rows], self.exact)


def concept_layer(classifier: Classifier, name: str = "") -> Layer:
    """The layer of that name, or the last; one that concepts can be taken at and taken out of.

    Raises
    ------
    AttributionError
        If the model has none, or runs it several times in a pass.
    """
    layer = classifier.layer(name) if name else classifier.last_layer
    if layer is None:
        raise AttributionError(f"concepts: the model has no layer with a grid ({classifier.no_layer}): name one")
    if layer.turns or layer.partial:
        raise AttributionError(f"concepts: layer {layer.name!r} is not all of a single pass: name another")
    return layer


def cells_of(classifier: Classifier, images: ImageArray, rows: IntArray, targets: Targets, *, layer: str = "") -> Cells:
    """The activations of a layer on images uint8 ``(n, H, W, 3)`` with the gradient of what is explained.

    ``rows`` are their row ids; ``layer`` is a CAM layer's name, default the last, or any other module's whose output
    has a grid.

    Raises
    ------
    AttributionError
        If there is no such layer, or a target is missing or out of range.
    """
    import torch

    from workbench.models.execution import products
    from workbench.models.hooks import record

    guards.check_request(classifier, images, rows, targets)
    chosen = concept_layer(classifier, layer)
    values, gradients, margins = [], [], []
    with record(classifier.module, [chosen.name]) as recorded, products(classifier.device, "float32"):
        for first in range(0, len(images), BATCH):
            part = slice(first, first + BATCH)
            recorded.forget()
            of, against = targets.part(part).tensors(classifier.device)
            margin = score(classifier.module(classifier.prepare(images[part])).float(), of, against)
            (output,) = recorded.runs(chosen.name)
            (gradient,) = torch.autograd.grad(margin.sum(), output)
            values.append(_array(chosen.spatial(output.detach())))
            gradients.append(_array(chosen.spatial(gradient)))
            margins.append(margin.detach().double().cpu().numpy())
    head = pooled_head(classifier)
    exact = head is not None and head.layer == chosen
    return Cells(chosen, np.concatenate(values), np.concatenate(gradients), np.concatenate(margins), exact)


def _array(spatial: object) -> ProbabilityArray:
    """A tensor ``(n, C, h, w)`` as float32 ``(n, h, w, C)``."""
    return np.ascontiguousarray(spatial.float().movedim(1, 3).cpu().numpy())  # type: ignore[attr-defined]
