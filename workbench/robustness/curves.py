"""Accuracy under the 15 corruptions of CIFAR-10-C at five strengths: measured part by part, and drawn together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from workbench.analysis.statistics import paired_interval, wilson_interval
from workbench.core.files import write_atomically, write_json
from workbench.core.predictions import Predictions
from workbench.core.records import ImageArray, ImageSet, IntArray, Pixels, Precision
from workbench.core.texts import read_json
from workbench.errors import DataError
from workbench.images.batches import batches
from workbench.models.budget import forward_batch
from workbench.models.classifier import Classifier
from workbench.models.match import match_classes
from workbench.robustness.changes import probabilities
from workbench.robustness.corruptions import CORRUPTIONS, corrupt

ANSWERS, ORIGIN = "answers", "origin.json"
CLEAN, ALL = "none", "all"
LEVELS = range(1, 6)
LEAST_ROWS = 20  # of all that are corrupted, and of a group with a separate curve
HELD_BYTES = 2**30  # of images that are read once for all corruptions
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Corrupted:
    """Images that are corrupted when they are read; random numbers depend on corruption, seed and row id alone."""

    pixels: Pixels
    rows: IntArray
    corruption: str
    strength: int
    seed: int

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, place: int, /) -> ImageArray:
        number = list(CORRUPTIONS).index(self.corruption)
        return corrupt(self.pixels[place], self.corruption, self.strength, (self.seed, number, int(self.rows[place])))


@dataclass(frozen=True)
class Corruptions:
    """The corruptions of some rows, to be answered by a model part by part, each kept in a file of ``folder``.

    Parameters
    ----------
    classifier, images : Classifier, ImageSet
    rows : int64 array (n,)
        Row ids.
    folder : Path
    names : sequence of str
        Of `corruptions.CORRUPTIONS`.
    precision : "float32" or "bfloat16"
    seed : int
    """

    classifier: Classifier
    images: ImageSet
    rows: IntArray
    folder: Path
    names: Sequence[str] = tuple(CORRUPTIONS)
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := [name for name in self.names if name not in CORRUPTIONS]:
            raise DataError(f"corruptions: expected some of {', '.join(CORRUPTIONS)}, not {unknown[0]!r}")
        if len(self.rows) < LEAST_ROWS or not self.names:
            raise DataError(
                f"corruptions: expected at least {LEAST_ROWS} rows and one corruption, not {len(self.rows)} rows and "
                f"{len(self.names)} corruptions"
            )
        if self.seed < 0:
            raise DataError(f"seed: expected 0 or more, not {self.seed}")

    @property
    def parts(self) -> list[tuple[str, int]]:
        """The images as they are, then each corruption at each strength."""
        return [(CLEAN, 0), *((name, strength) for name in self.names for strength in LEVELS)]

    def path(self, part: tuple[str, int]) -> Path:
        """The file of a part."""
        name, strength = part
        return self.folder / ANSWERS / f"{name.replace(' ', '-')}-{strength}.parquet"

    def measure(self, *, rank: int = 0, world: int = 1, progress: Progress | None = None) -> None:
        """Answer this process's parts that are not there yet; what is there is kept, so that a killed run resumes.

        Raises
        ------
        DataError
            If the folder holds parts of other weights, images, rows, precision or seed; or an image can't be read.
        OutputError
            If the disk is full or the folder can't be written.
        """
        self._check_origin()
        mine = self.parts[rank::world]
        for number, part in enumerate(mine):
            if not self.path(part).is_file():
                table = pl.DataFrame({"index": self.rows, "predicted": self._answers(*part)})
                write_atomically(self.path(part), table.write_parquet)
            if progress is not None:
                progress(number + 1, len(mine))

    @property
    def missing(self) -> int:
        """How many parts are not there yet."""
        return sum(not self.path(part).is_file() for part in self.parts)

    def answers(self) -> pl.DataFrame:
        """What is there: ``corruption``, ``strength``, ``index`` and ``predicted``; clean images have strength 0."""
        found = [
            pl.read_parquet(self.path(part), glob=False).select(
                pl.lit(part[0]).alias("corruption"), pl.lit(part[1]).alias("strength"), "index", "predicted"
            )
            for part in self.parts
            if self.path(part).is_file()
        ]
        return pl.concat(found)

    @cached_property
    def _seen(self) -> ImageSet:
        """The images as the model sees them; those of the rows are held, if they are not too many."""
        seen = self.classifier.seen(match_classes(self.images, self.classifier.classes))
        height, width = self.classifier.size
        if isinstance(seen.pixels, np.ndarray) or 3 * height * width * len(self.rows) > HELD_BYTES:
            return seen
        rows, pixels, bad = next(batches(seen, self.rows, len(self.rows)))
        if bad:
            raise DataError(next(iter(bad.values())))
        return ImageSet(pixels, seen.labels_of(rows), seen.classes, seen.split, seen.digest, rows)

    def _answers(self, name: str, strength: int) -> IntArray:
        seen = self._seen
        if strength:
            pixels = _Corrupted(seen.pixels, seen.rows, name, strength, self.seed)
            seen = ImageSet(pixels, seen.labels, seen.classes, seen.split, seen.digest, seen.rows)
        found = []
        for _, pixels_of_batch, bad in batches(seen, self.rows, forward_batch(self.classifier)):
            if bad:
                raise DataError(next(iter(bad.values())))
            found.append(probabilities(self.classifier, pixels_of_batch, self.precision).argmax(1))
        return np.concatenate(found)

    def _check_origin(self) -> None:
        """Write what the parts are computed from, or compare it with what is there."""
        origin = {
            "checkpoint": self.classifier.provenance.checkpoint,
            "data": self.images.fingerprint,
            "split": self.images.split,
            "rows": hashlib.sha256(np.asarray(self.rows, np.int64).tobytes()).hexdigest(),
            "precision": self.precision,
            "seed": self.seed,
        }
        path = self.folder / ANSWERS / ORIGIN
        if not path.is_file():
            write_json(path, origin)
        elif other := sorted(name for name, value in read_json(path).items() if origin.get(name) != value):
            raise DataError(
                f"{self.folder} holds answers of another {', '.join(other)}: choose another --out, or replace them "
                "with --force"
            )


def accuracy_curves(
    answers: pl.DataFrame, predictions: Predictions, groups: Mapping[str, IntArray] | None = None
) -> pl.DataFrame:
    """Accuracy of all rows, of each class and of each group at each corruption and strength.

    Parameters
    ----------
    answers : DataFrame
        As of `Corruptions.answers`.
    predictions : Predictions
        With the labels of the rows.
    groups : mapping of str to int64 array
        Row ids of further groups, such as those of findings. Groups and classes with fewer than 20 of the rows are
        omitted.

    Returns
    -------
    DataFrame
        ``corruption``, ``strength``, ``kind`` (all, class or group), ``group``, ``rows``, ``correct``, ``fixed`` and
        ``broken`` (against the clean images), ``accuracy`` and its 95 % Wilson interval ``low`` and ``high``.
    """
    labels = pl.DataFrame({"index": predictions.index, "label": predictions.label})
    table = answers.join(labels, on="index", how="left").with_columns(correct=pl.col("predicted") == pl.col("label"))
    clean = table.filter(pl.col("corruption") == CLEAN).select("index", clean="correct")
    table = table.join(clean, on="index", how="left")
    parts = [table.with_columns(kind=pl.lit(ALL), group=pl.lit(ALL))]
    names = pl.DataFrame({"label": np.arange(len(predictions.classes)), "group": predictions.classes})
    parts.append(table.join(names, on="label").with_columns(kind=pl.lit("class")).select(parts[0].columns))
    for name, rows in (groups or {}).items():
        inside = table.filter(pl.col("index").is_in(rows.tolist()))
        parts.append(inside.with_columns(kind=pl.lit("group"), group=pl.lit(name)))
    keys = ("corruption", "strength", "kind", "group")
    found = (
        pl.concat(parts)
        .group_by(keys, maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("rows"),
            pl.col("correct").sum().cast(pl.Int64),
            (~pl.col("clean") & pl.col("correct")).sum().cast(pl.Int64).alias("fixed"),
            (pl.col("clean") & ~pl.col("correct")).sum().cast(pl.Int64).alias("broken"),
        )
        .filter((pl.col("rows") >= LEAST_ROWS) | (pl.col("kind") == ALL))
    )
    low, high = wilson_interval(found["correct"].to_numpy(), found["rows"].to_numpy())
    return found.with_columns(accuracy=pl.col("correct") / pl.col("rows"), low=pl.Series(low), high=pl.Series(high))


@dataclass(frozen=True)
class MeanError:
    """The mean corruption error, and by how much it exceeds the error on clean images, each with its 95 % interval."""

    value: tuple[float, float, float]
    excess: tuple[float, float, float]
    corruptions: int
    rows: int

    def to_json(self) -> dict[str, object]:
        """The fields as JSON values."""
        names = ("value", "low", "high")
        return {
            "mean_corruption_error": dict(zip(names, self.value, strict=True)),
            "beyond_clean": dict(zip(names, self.excess, strict=True)),
            "corruptions": self.corruptions,
            "rows": self.rows,
        }

    def __str__(self) -> str:
        value, low, high = (100 * share for share in self.value)
        excess, least, most = (100 * share for share in self.excess)
        return (
            f"mean corruption error {value:.1f} % ({low:.1f} to {high:.1f}) over {self.corruptions} corruptions and "
            f"{self.rows:,} images, {excess:.1f} points ({least:.1f} to {most:.1f}) beyond clean images"
        )


def mean_corruption_error(answers: pl.DataFrame, predictions: Predictions) -> MeanError:
    """The mean of the error rates over all corruptions and strengths.

    The plain mean, as the unnormalised corruption error of Hendrycks, Mu et al. 2020 (AugMix, arXiv 1912.02781) for
    CIFAR-10-C, not divided by AlexNet's errors as that of Hendrycks & Dietterich 2019 (arXiv 1903.12261) for
    ImageNet-C. The interval is over the images: each has the share of its corrupted copies that are misclassified
    (`analysis.statistics.paired_interval`).

    Raises
    ------
    DataError
        If the answers lack clean or corrupted images.
    """
    labels = pl.DataFrame({"index": predictions.index, "label": predictions.label})
    table = answers.join(labels, on="index", how="left").with_columns(wrong=pl.col("predicted") != pl.col("label"))
    corrupted, clean = (table.filter(pl.col("corruption").eq(CLEAN) == is_clean) for is_clean in (False, True))
    if not len(corrupted) or not len(clean):
        raise DataError("corruptions: expected answers of clean and of corrupted images: measure both")
    each = corrupted.group_by("index", maintain_order=True).agg(pl.col("wrong").mean())
    both = each.join(clean.select("index", clean="wrong"), on="index")
    shares, before = both["wrong"].to_numpy(), both["clean"].cast(pl.Float64).to_numpy()
    return MeanError(
        paired_interval(shares), paired_interval(shares - before), corrupted["corruption"].n_unique(), len(both)
    )
