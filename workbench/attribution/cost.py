"""What a method will cost, estimated before it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from workbench.attribution.gradient import PASSES_AT_ONCE
from workbench.attribution.method import Method
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve
from workbench.models.layers import output_shapes

_PROBE = 16
_BACKWARD = 2.0  # a backward pass to the input costs about as much as two forward ones


@dataclass(frozen=True)
class Cost:
    """Forward and backward passes per image; for all images the approximate seconds and the most bytes of memory."""

    forward_passes: float
    backward_passes: float
    seconds: float
    memory_bytes: int

    def __str__(self) -> str:
        size = self.memory_bytes / 2**20
        return (
            f"{self.forward_passes:,.0f} forward and {self.backward_passes:,.0f} backward passes an image, "
            f"about {self.seconds:,.0f} s and {size:,.0f} MB"
        )


def expected_cost(classifier: Classifier, method: Method, count: int, layer: str = "", **settings: Any) -> Cost:
    """The cost of a method for ``count`` images on this machine, from one timed forward pass over 16 black images.

    Memory is that of the activations kept for a backward pass over as many images as the method takes at once.

    Raises
    ------
    AttributionError
        If the layer or a setting does not exist, or the model has no layer for the method.
    """
    options = method.with_settings(settings)
    x = classifier.prepare(np.zeros((_PROBE, *classifier.size, 3), np.uint8))
    shapes = output_shapes(classifier.module, x)
    named = method.one_layer(classifier, layer)
    at = classifier.layer(named) if named else None
    channels = 0 if at is None else shapes[at.name][at.channel_axis]
    forward, backward = method.cost(options, channels, max(classifier.size))
    with preserve(classifier.module), torch.no_grad():
        classifier.module(x)  # the first pass also builds what later ones reuse
        begun = time.perf_counter()
        classifier.module(x)
        once = (time.perf_counter() - begun) / _PROBE
    kept = sum(int(np.prod(shape[1:])) for shape in shapes.values()) * 4
    at_once = min(PASSES_AT_ONCE, max(1, round(count * max(forward, 1.0))))
    return Cost(forward, backward, count * once * (forward + _BACKWARD * backward), kept * at_once)
