"""Whether the answer needs a concept: taken out of the activations, against random directions of the same size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.analysis.statistics import paired_interval
from workbench.attribution.exact import PooledHead, pooled_head
from workbench.concepts.cells import BATCH, Cells, Features
from workbench.concepts.factorise import Concepts
from workbench.core.records import FloatArray, ImageArray, IntArray
from workbench.models.classifier import Classifier
from workbench.models.layers import Layer

DRAWS = 20


@dataclass(frozen=True)
class Removal:
    """What taking one concept out changes.

    ``changed`` and ``control``: the share of images whose predicted class changes without the concept, and without as
    much of a random direction (the mean over the draws), 0 to 1; ``difference`` between them with its 95 % interval
    over the images (`statistics.paired_interval`), for the directions that were drawn.
    """

    changed: float
    control: float
    difference: float
    low: float
    high: float

    @property
    def needed(self) -> bool:
        """Whether the answers depend on the concept more than on random directions: the interval lies above 0."""
        return self.low > 0


def removal(
    classifier: Classifier,
    images: ImageArray,
    cells: Cells,
    concepts: Concepts,
    strengths: Features,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Removal]:
    """Take each concept out of the images' activations, and see how many answers change.

    From each cell the concept's strength times its direction is subtracted; for the control as much of a direction that
    is drawn at random (normal, of length 1), ``draws`` times, one for all images. ``cells`` and ``strengths``
    (`Concepts.strengths`) are those of the images uint8 ``(n, H, W, 3)``.
    """
    head = pooled_head(classifier)
    if head is not None and head.layer == cells.layer:

        def answers(less: Features | None) -> IntArray:
            return _by_head(head, cells, less)
    else:

        def answers(less: Features | None) -> IntArray:
            return _by_model(classifier, images, cells.layer, less)

    generator = np.random.default_rng(seed)
    before = answers(None)
    found = []
    for k, direction in enumerate(concepts.directions):
        changed = answers(strengths[..., k, None] * direction) != before
        control = np.zeros(len(images))
        for _ in range(draws):
            drawn = generator.normal(size=len(direction)).astype(np.float32)
            control += answers(strengths[..., k, None] * (drawn / np.linalg.norm(drawn))) != before
        less: FloatArray = changed - control / draws
        difference, low, high = paired_interval(less, seed=seed)
        found.append(Removal(float(changed.mean()), float(control.mean() / draws), difference, low, high))
    return found


def _by_head(head: PooledHead, cells: Cells, less: Features | None) -> IntArray:
    """The predicted class of each image, from the mean of the cells that are left: what the head reads."""
    mean = cells.values.mean((1, 2)) - (0 if less is None else less.mean((1, 2)))
    weight = head.linear.weight.detach().float().cpu().numpy()
    bias = 0 if head.linear.bias is None else head.linear.bias.detach().float().cpu().numpy()
    return np.asarray((mean @ weight.T + bias).argmax(1), np.int64)


def _by_model(classifier: Classifier, images: ImageArray, layer: Layer, less: Features | None) -> IntArray:
    """The predicted class of each image, with a part ``(n, h, w, C)`` subtracted from the layer's output."""
    import torch

    from workbench.models.hooks import preserve

    found = []
    at = slice(0, 0)

    def subtract(_: torch.nn.Module, __: object, output: torch.Tensor) -> torch.Tensor | None:
        if less is None:
            return None
        part = torch.as_tensor(less[at], device=output.device, dtype=output.dtype).movedim(3, 1)
        return output - layer.as_output(part, output)

    with preserve(classifier.module), torch.no_grad():
        classifier.module.get_submodule(layer.name).register_forward_hook(subtract)
        for first in range(0, len(images), BATCH):
            at = slice(first, first + BATCH)
            found.append(classifier.module(classifier.prepare(images[at])).argmax(1).cpu().numpy())
    return np.concatenate(found)
