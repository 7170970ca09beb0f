"""Recipes: everything that decides what a training run computes."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from training.errors import TrainingError

Optimizer = Literal["adam", "muon"]
Schedule = Literal["plateau", "linear"]
Precision = Literal["auto", "float32", "bfloat16"]
Corners = tuple[tuple[float, float], ...]
_LISTS = ("image_sizes", "cutout")


def _is_schedule(corners: Corners) -> bool:
    places = [place for place, _ in corners]
    rising = all(a < b for a, b in itertools.pairwise(places))
    return len(corners) > 1 and (places[0], places[-1]) == (0, 1) and rising and all(r >= 0 for _, r in corners)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; round-trips through JSON.

    ``learning_rate`` and ``weight_decay`` belong to ``optimizer``; with Muon they are those of the
    convolutions and ``other_learning_rate`` is AdamW's for everything else. Adam's
    ``weight_decay`` is an L2 term added to the gradient (Kingma & Ba 2015, arXiv 1412.6980).
    ``image_sizes`` gives the side in pixels for equal shares of the epochs, in order, and ``cutout``
    the side of the hole. Distances of the augmentation are pixels at the data's own size and angles
    are degrees; 0 switches a step off. ``rates`` are the corners of the linear schedule: share of the
    run, share of the learning rates. A second rise is a warm restart (Loshchilov & Hutter 2017,
    arXiv 1608.03983).
    """

    name: str
    epochs: int
    batch_size: int = 256
    seed: int = 0
    optimizer: Optimizer = "muon"
    learning_rate: float = 0.07
    weight_decay: float = 0.02
    other_learning_rate: float = 0.002
    schedule: Schedule = "linear"
    rates: Corners = ((0.0, 0.0), (0.1, 1.0), (1.0, 0.0))
    plateau_factor: float = 0.2
    plateau_patience: int = 3
    label_smoothing: float = 0.0
    image_sizes: tuple[int, ...] = (32,)
    width: int = 64
    zero_init_residual: bool = True
    validation_fraction: float = 0.1
    flip: bool = False
    crop_padding: int = 4
    pad_reflect: bool = True
    cutout: tuple[int, ...] = (0,)
    rotate_degrees: float = 0.0
    coarse_dropout: bool = False
    device: str = "auto"
    precision: Precision = "auto"
    workers: int = 1

    def __post_init__(self) -> None:
        checks = (
            (self.epochs >= 1, "epochs", "at least 1", self.epochs),
            (self.batch_size >= 1, "batch-size", "at least 1", self.batch_size),
            (self.workers >= 0, "workers", "at least 0", self.workers),
            (_is_schedule(self.rates), "rates", "rising shares of the run from 0 to 1, rates of 0 or more", self.rates),
            (bool(self.cutout) and min(self.cutout) >= 0, "cutout", "0 or more", self.cutout),
            (self.seed >= 0, "seed", "at least 0", self.seed),
            (0 < self.validation_fraction < 1, "validation-fraction", "between 0 and 1", self.validation_fraction),
            (bool(self.image_sizes) and min(self.image_sizes) >= 8, "image-sizes", "8 or more", self.image_sizes),
            # oneDNN's 1x1 weight gradient on AVX2 was seen never to return with 4 channels
            (self.width >= 8 and self.width % 8 == 0, "width", "a multiple of 8", self.width),
        )
        for holds, option, expected, received in checks:
            if not holds:
                raise TrainingError(f"--{option}: expected {expected}, not {received}")

    def image_size(self, epoch: int) -> int:
        """Side in pixels of the images in ``epoch`` (counted from 0)."""
        return self.image_sizes[epoch * len(self.image_sizes) // self.epochs]

    def cutout_side(self, epoch: int) -> int:
        """Side in pixels of the hole in ``epoch`` (counted from 0); 0 for none."""
        return self.cutout[epoch * len(self.cutout) // self.epochs]

    def rate_at(self, share: float) -> float:
        """The linear schedule's share of the learning rates after a share of the run."""
        places, values = zip(*self.rates, strict=True)
        return float(np.interp(share, places, values))

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        lists = {name: list(getattr(self, name)) for name in _LISTS}
        return {**dataclasses.asdict(self), **lists, "rates": [list(corner) for corner in self.rates]}

    def computes_as(self, other: Recipe) -> bool:
        """Whether both compute the same; the number of workers and the device decide only how fast."""
        return dataclasses.replace(self, workers=other.workers, device=other.device) == other

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_json` wrote.

        Raises
        ------
        TrainingError
            If a field is unknown or missing.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise TrainingError(f"recipe: unknown field {unknown[0]!r}: use the version of training that wrote it")
        if missing := sorted({"name", "epochs"} - set(values)):
            raise TrainingError(f"recipe: field {missing[0]!r} is missing")
        fields: dict[str, Any] = {name: tuple(value) if name in _LISTS else value for name, value in values.items()}
        if "rates" in fields:
            fields["rates"] = tuple((place, rate) for place, rate in fields["rates"])
        return cls(**fields)


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="paper",
            epochs=40,
            batch_size=128,
            optimizer="adam",
            learning_rate=0.001,
            weight_decay=0.0001,
            schedule="plateau",
            zero_init_residual=False,
            pad_reflect=False,
            cutout=(16,),
            rotate_degrees=5.0,
            coarse_dropout=True,
        ),
        Recipe(
            name="fast",
            epochs=33,
            rates=((0.0, 0.0), (2 / 33, 1.0), (20 / 33, 0.0), (21.1 / 33, 0.4), (28 / 33, 4 / 33), (1.0, 0.0)),
            label_smoothing=0.1,
            image_sizes=(20,) * 10 + (24,) * 7 + (32,) * 3 + (24,) * 2 + (32,) * 2 + (28,) * 4 + (32,) * 5,
            flip=True,
            cutout=(8,) * 15 + (0,) * 5 + (12,) * 11 + (6,) * 2,
        ),
        Recipe(
            name="digits",
            epochs=10,
            batch_size=64,
            width=16,
            crop_padding=3,
            rotate_degrees=5.0,
        ),
    )
}
