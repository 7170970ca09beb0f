"""How many images a model takes at once: by the memory that its layers need for one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn

from workbench.core import memory
from workbench.errors import DataError
from workbench.models.layers import output_shapes

if TYPE_CHECKING:
    from workbench.models.classifier import Classifier

SIZES = (250, 125, 50, 25, 10, 5, 2, 1)  # each divides the first, so that batches of a share are those of the whole
CACHED = 24 * 2**20  # beyond this a layer's output of a batch only slows a processor down (measured)
AT_ONCE = 3  # outputs of the largest layer that exist at the same time: its input, its output and a working copy
SHARE, MOST = 0.25, 2**30  # of the memory that is free, and at most, where no budget is named
BLIND = 32  # channels at the input's size that are assumed of a model that can't be looked into
_KNOWN: WeakKeyDictionary[nn.Module, dict[tuple[int, int], Footprint]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Footprint:
    """Bytes for one image: of the largest output of a layer, and of all outputs, which a gradient needs."""

    largest: int
    kept: int


def footprint(classifier: Classifier) -> Footprint:
    """What one image needs, from one forward pass over noise; measured once for a model and a size."""
    from workbench.models.adapt import probes

    known = _KNOWN.setdefault(classifier.module, {})
    if classifier.size not in known:
        shapes = output_shapes(classifier.module, classifier.prepare(probes(classifier.size)[:1])).values()
        height, width = classifier.size
        least = 3 * height * width
        sizes = [4 * max(least, math.prod(shape)) for shape in shapes]
        if classifier.opaque:
            sizes.append(4 * BLIND * height * width)
        known[classifier.size] = Footprint(max(sizes, default=4 * least), max(sum(sizes), 4 * least))
    return known[classifier.size]


def budget(memory_gb: float | None) -> int:
    """Bytes for a batch: those named, else a quarter of what is free and at most 1 GiB.

    Raises
    ------
    DataError
        If the budget is not a positive number.
    """
    if memory_gb is None:
        return int(min(MOST, SHARE * memory.available()))
    if not memory_gb > 0 or math.isinf(memory_gb):
        raise DataError(f"memory: expected a budget in GB above 0, not {memory_gb}")
    return int(memory_gb * memory.GIB)


def forward_batch(classifier: Classifier, memory_gb: float | None = None) -> int:
    """Images a forward pass takes at once: one of `SIZES`.

    On a processor the largest layer's output stays within `CACHED`, which is fastest; on an accelerator the budget is
    the only limit.
    """
    largest = footprint(classifier).largest
    allowed = budget(memory_gb) / (AT_ONCE * largest)
    if classifier.device.type == "cpu":
        allowed = min(allowed, CACHED / largest)
    elif memory_gb is None and classifier.device.type == "cuda":
        allowed = SHARE * torch.cuda.mem_get_info(classifier.device)[0] / (AT_ONCE * largest)
    return next((size for size in SIZES if size <= allowed), 1)


def gradient_batch(classifier: Classifier, most: int, memory_gb: float | None = None) -> int:
    """Images a forward pass with its graph takes at once, at most ``most``."""
    return max(1, min(most, budget(memory_gb) // footprint(classifier).kept))
