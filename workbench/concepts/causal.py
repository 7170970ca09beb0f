"""Whether the answer needs a concept: taken out of the activations, against random directions of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.attribution.exact import PooledHead, pooled_head
from workbench.concepts.cells import BATCH, Cells, Features
from workbench.concepts.factorise import Concepts
from workbench.core.records import ImageArray, IntArray
from workbench.models.classifier import Classifier
from workbench.models.layer import Layer

DRAWS, DRAWS_BY_MODEL = 99, 19  # of the control; the second where each takes whole passes of the model


@dataclass(frozen=True)
class Removal:
    """What taking one concept out changes.

    ``changed`` and ``control``: the share of images whose predicted class changes without the concept, and without as
    much of a random direction (the mean over the draws), 0 to 1; ``difference`` between them, and ``low`` to ``high``:
    to the middle 95 % of the draws. ``p_value``: the share of random directions, this one counted, that change at least
    as many answers (Phipson & Smyth 2010, doi 10.2202/1544-6115.1585).
    """

    changed: float
    control: float
    difference: float
    low: float
    high: float
    p_value: float

    @property
    def needed(self) -> bool:
        """Whether the answers depend on the concept more than on random directions: p of at most 0.05."""
        return self.p_value <= 0.05


def removal_table(concepts: Concepts, removals: Sequence[Removal]) -> pl.DataFrame:
    """A row for each concept: stability, changed, control, removal_difference, removal_low, _high and _p_value."""
    names = {"changed": "changed", "control": "control"}
    names |= {f"removal_{name}": name for name in ("difference", "low", "high", "p_value")}
    columns = {column: [getattr(one, name) for one in removals] for column, name in names.items()}
    return pl.DataFrame({"stability": concepts.stability, **columns})


def removal(
    classifier: Classifier,
    images: ImageArray,
    cells: Cells,
    concepts: Concepts,
    strengths: Features,
    *,
    draws: int | None = None,
    seed: int = 0,
) -> list[Removal]:
    """Take each concept out of the images' activations, and see how many answers change.

    From each cell the concept's strength times its direction is subtracted; for the control as much of a direction that
    is drawn at random (normal, of the concept's length), one for all images, ``draws`` times: 99, or 19 without a
    `pooled_head`. ``cells`` and ``strengths`` (`Concepts.strengths`) are those of the images uint8 ``(n, H, W, 3)``.
    """
    head = pooled_head(classifier)
    if head is not None and head.layer == cells.layer:

        def answers(less: Features | None) -> IntArray:
            return _by_head(head, cells, less)
    else:

        def answers(less: Features | None) -> IntArray:
            return _by_model(classifier, images, cells.layer, less)

    wanted = draws or (DRAWS if head is not None and head.layer == cells.layer else DRAWS_BY_MODEL)
    generator = np.random.default_rng(seed)
    before = answers(None)
    found = []
    for k, direction in enumerate(concepts.directions):
        changed = float((answers(strengths[..., k, None] * direction) != before).mean())
        control = np.empty(wanted)
        for one in range(wanted):
            drawn = generator.normal(size=len(direction)).astype(np.float32)
            part = strengths[..., k, None] * (drawn * (np.linalg.norm(direction) / np.linalg.norm(drawn)))
            control[one] = (answers(part) != before).mean()
        high, low = changed - np.percentile(control, [2.5, 97.5])
        p_value = (1 + int((control >= changed).sum())) / (wanted + 1)
        found.append(
            Removal(changed, float(control.mean()), changed - control.mean(), float(low), float(high), p_value)
        )
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

    from workbench.models.execution import products
    from workbench.models.hooks import preserve

    found = []
    at = slice(0, 0)

    def subtract(_: torch.nn.Module, __: object, output: torch.Tensor) -> torch.Tensor | None:
        if less is None:
            return None
        part = torch.as_tensor(less[at], device=output.device, dtype=output.dtype).movedim(3, 1)
        return output - layer.as_output(part, output)

    with preserve(classifier.module), torch.no_grad(), products(classifier.device, "float32"):
        classifier.module.get_submodule(layer.name).register_forward_hook(subtract)
        for first in range(0, len(images), BATCH):
            at = slice(first, first + BATCH)
            found.append(classifier.module(classifier.prepare(images[at])).argmax(1).cpu().numpy())
    return np.concatenate(found)
