"""What a map explains: the logit of a class, or its lead over another class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.core.predictions import Predictions
from workbench.core.records import TARGETS, IntArray
from workbench.errors import AttributionError


@dataclass(frozen=True)
class Targets:
    """For each of ``n`` images the class explained, int64 ``(n,)``, and for a contrast the class it is compared with.

    The explained output is the logit of ``of``, or with ``against`` its lead, logit of ``of`` less logit of
    ``against``: "why a dog and not a cat".
    """

    of: IntArray
    against: IntArray | None = None

    def __post_init__(self) -> None:
        if self.against is None:
            return
        if self.against.shape != self.of.shape:
            raise AttributionError(
                f"contrast: expected {self.of.shape} classes on both sides, not {self.against.shape}"
            )
        if (self.against == self.of).any():
            raise AttributionError("contrast: a class has no lead over itself; name two classes")

    def __len__(self) -> int:
        return len(self.of)

    def part(self, rows: slice) -> Targets:
        """The targets of some of the images."""
        return Targets(self.of[rows], None if self.against is None else self.against[rows])

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """``of`` and ``against`` int64 ``(n,)`` on the device; without a contrast the second is -1."""
        against = np.full_like(self.of, -1) if self.against is None else self.against
        return torch.tensor(self.of, device=device), torch.tensor(against, device=device)


def seeds_of(rows: IntArray) -> tuple[int, ...]:
    """Row ids as seeds: what is drawn for an image depends on no other image."""
    return tuple(int(row) & 0x7FFFFFFF for row in rows)


def score(logits: Tensor, of: Tensor, against: Tensor) -> Tensor:
    """The explained output ``(n,)`` of logits ``(n, K)``; -1 in ``against`` stands for no contrast."""
    own = logits.gather(1, of[:, None])[:, 0]
    other = logits.gather(1, against.clamp_min(0)[:, None])[:, 0]
    return own - torch.where(against >= 0, other, torch.zeros_like(other))


@dataclass(frozen=True)
class NamedTarget:
    """What a name stands for at a row: a class, and for a contrast the one that it is compared with, else -1."""

    name: str
    title: str
    of: int
    against: int


def targets_of(predictions: Predictions, rows: IntArray, what: str) -> Targets:
    """The targets of some rows: ``"predicted"``, ``"true"``, ``"contrast"`` (predicted over true) or a class's name.

    Raises
    ------
    AttributionError
        If there is no such class, or a contrast is asked for a row that is correct.
    """
    return Targets(*_resolved(predictions, rows, what))


def has_target(predictions: Predictions, rows: IntArray, what: str) -> bool:
    """Whether each row has such a target: a row that is correct has no contrast. `AttributionError` as `targets_of`."""
    of, against = _resolved(predictions, rows, what)
    return against is None or bool((of != against).all())


def named_targets(predictions: Predictions, row: int, names: Sequence[str]) -> list[NamedTarget]:
    """What the names of targets stand for at row id ``row``.

    Of targets that are the same class only the first is kept, and a contrast is omitted where the row is correct.

    Raises
    ------
    AttributionError
        If a name is unknown.
    """
    classes, place = predictions.classes, predictions.position(row)
    roles = {int(predictions.predicted[place]): "predicted", int(predictions.label[place]): "true"}
    if len(roles) == 1:
        roles = dict.fromkeys(roles, "predicted and true")
    found: list[NamedTarget] = []
    for name in names:
        (one,), second = _resolved(predictions, np.array([row]), name)
        of, against = int(one), -1 if second is None else int(second[0])
        if second is not None:
            if of != against:
                found.append(NamedTarget(name, f"{classes[of]} rather than {classes[against]}", of, against))
        elif of not in {target.of for target in found if target.against < 0}:
            role = f" ({roles[of]})" if of in roles else ""
            found.append(NamedTarget(name, f"{classes[of]}{role}", of, -1))
    return found


def _resolved(predictions: Predictions, rows: IntArray, what: str) -> tuple[IntArray, IntArray | None]:
    """The classes that a target's name stands for at some rows, and for a contrast those they are compared with."""
    if what not in TARGETS:
        if what not in predictions.classes:
            known = ", ".join((*TARGETS, *predictions.classes[:20]))
            raise AttributionError(f"target: expected one of {known}, not {what!r}")
        return np.full(len(rows), predictions.classes.index(what)), None
    places = np.array([predictions.position(int(row)) for row in rows])
    predicted, true = predictions.predicted[places], predictions.label[places]
    return (true, None) if what == "true" else (predicted, true if what == "contrast" else None)
