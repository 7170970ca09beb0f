"""Recipes: everything that decides what a training run computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from training.errors import TrainingError

Architecture = Literal["resnet18_ln", "convnet_ln"]
Optimizer = Literal["adam", "muon"]
Schedule = Literal["plateau", "linear"]
Precision = Literal["auto", "float32", "bfloat16"]
Layout = Literal["auto", "channels_last", "contiguous"]
TUNED = ", tuned"  # in the name of a recipe for a start from a checkpoint
TUNE_EPOCHS, TUNE_RATE = 10, 0.15  # from a checkpoint: a tenth of the epochs, at this share of the rates


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; round-trips through JSON.

    ``learning_rate`` and ``weight_decay`` belong to ``optimizer``; with Muon they are those of the
    convolutions and ``other_learning_rate`` is AdamW's for everything else. Adam's
    ``weight_decay`` is an L2 term added to the gradient (Kingma & Ba 2015, arXiv 1412.6980).
    The linear schedule raises the rates from 0 over the share ``warm_up`` of the run, then lowers them to 0 at
    its end. ``average`` is the decay per step of a running mean of the weights (Polyak & Juditsky 1992; as an
    exponential mean in Tarvainen & Valpola 2017, arXiv 1703.01780); 0 for none. ``architecture`` is what
    `architectures.build` builds. ``image_sizes`` gives the side in pixels for equal shares of the epochs, in
    order, and ``cutout`` the side of the hole. Distances of the augmentation are pixels of a 32-pixel image, and
    grow with the data's own size; angles are degrees; 0 switches a step off. ``precision`` and ``layout`` "auto"
    are what a short measurement on the model finds fastest.
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
    warm_up: float = 0.1
    average: float = 0.0
    plateau_factor: float = 0.2
    plateau_patience: int = 3
    label_smoothing: float = 0.0
    image_sizes: tuple[int, ...] = (32,)
    architecture: Architecture = "resnet18_ln"
    width: int = 64
    zero_init_residual: bool = True
    validation_fraction: float = 0.1
    flip: bool = False
    crop_padding: int = 4
    pad_reflect: bool = True
    cutout: int = 0
    rotate_degrees: float = 0.0
    coarse_dropout: bool = False
    device: str = "auto"
    precision: Precision = "auto"
    layout: Layout = "auto"
    workers: int = 1

    def __post_init__(self) -> None:
        names = get_args(Architecture)
        checks = (
            (self.epochs >= 1, "epochs", "at least 1", self.epochs),
            (self.batch_size >= 1, "batch-size", "at least 1", self.batch_size),
            (self.workers >= 0, "workers", "at least 0", self.workers),
            (0 <= self.warm_up < 1, "warm-up", "from 0 to below 1", self.warm_up),
            (0 <= self.average < 1, "average", "from 0 to below 1", self.average),
            (self.cutout >= 0, "cutout", "0 or more", self.cutout),
            (self.architecture in names, "architecture", f"one of {', '.join(names)}", self.architecture),
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

    def rate_at(self, share: float) -> float:
        """The linear schedule's share of the learning rates after a share of the run."""
        return share / self.warm_up if share < self.warm_up else (1 - share) / (1 - self.warm_up)

    def for_tuning(self) -> Recipe:
        """The recipe for a start from weights that this one trained: a tenth of the epochs, at low rates.

        A linear schedule, the last image size alone, and the same validation rows.
        """
        return dataclasses.replace(
            self,
            name=self.name if self.name.endswith(TUNED) else self.name + TUNED,
            epochs=max(1, self.epochs // TUNE_EPOCHS),
            image_sizes=self.image_sizes[-1:],
            schedule="linear",
            learning_rate=self.learning_rate * TUNE_RATE,
            other_learning_rate=self.other_learning_rate * TUNE_RATE,
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**dataclasses.asdict(self), "image_sizes": list(self.image_sizes)}

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
        sizes = {"image_sizes": tuple(values["image_sizes"])} if "image_sizes" in values else {}
        return cls(**{**values, **sizes})


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
            cutout=16,
            rotate_degrees=5.0,
            coarse_dropout=True,
        ),
        Recipe(
            name="fast",
            epochs=35,
            average=0.998,
            label_smoothing=0.1,
            image_sizes=(20, 20, 20, 24, 24, 32, 32),
            flip=True,
            cutout=12,
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
