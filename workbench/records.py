"""The core types: frozen records over NumPy columns, with their validation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.errors import DataError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
ProbabilityArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]


@dataclass(frozen=True)
class Provenance:
    """What a result was computed from; stamped into every export.

    ``checkpoint`` and ``data`` are SHA-256 digests; None where a result knows no such source.
    """

    checkpoint: str | None = None
    data: str | None = None
    split: str | None = None
    device: str | None = None
    precision: str | None = None
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class ImageSet:
    """Images by row id: ``image(i)`` is uint8 ``(H, W, 3)`` RGB; ``labels`` int64 ``(N,)``."""

    pixels: ImageArray
    labels: IntArray
    classes: tuple[str, ...]
    split: str
    fingerprint: str

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[3] != 3 or self.pixels.dtype != np.uint8:
            raise DataError(f"images: expected uint8 (N, H, W, 3), not {self.pixels.dtype} {self.pixels.shape}")
        if len(self.pixels) != len(self.labels):
            raise DataError(f"expected a label for each of {len(self.pixels)} images, not {len(self.labels)}")

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, row: int) -> ImageArray:
        """The image of row id ``row``.

        Raises
        ------
        DataError
            If there is no such row.
        """
        if not 0 <= row < len(self):
            raise DataError(f"expected a row id from 0 to {len(self) - 1}, not {row}")
        image: ImageArray = self.pixels[row]
        return image


@dataclass(frozen=True)
class Predictions:
    """What a model said about each row.

    Parameters
    ----------
    index : int64 array (N,)
        Row ids, unique: the position in the source's own order.
    label, predicted : int64 array (N,)
        The truth, and the class of highest probability (the first of equals).
    probability : float32 array (N, K)
        Rows that sum to 1.
    embedding : float32 array (N, D) or None
        What the last linear layer reads.
    classes : tuple of str
        K names.

    Raises
    ------
    DataError
        If shapes, ranges or sums are off.
    """

    index: IntArray
    label: IntArray
    predicted: IntArray
    probability: ProbabilityArray
    classes: tuple[str, ...]
    embedding: ProbabilityArray | None = None
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        rows, classes = len(self.index), len(self.classes)
        if rows == 0:
            raise DataError("predictions hold no row: expected at least one")
        if self.probability.shape != (rows, classes):
            raise DataError(
                f"probability: expected {rows} rows of {classes} classes, not {self.probability.shape}: "
                "the class names and the model must have the same count"
            )
        for name, values in (("label", self.label), ("predicted", self.predicted)):
            if values.shape != (rows,):
                raise DataError(f"{name}: expected {rows} values, not {values.shape}")
            if not 0 <= values.min() <= values.max() < classes:
                raise DataError(f"{name}: expected 0 to {classes - 1}, not {values.min()} to {values.max()}")
        if len(np.unique(self.index)) != rows:
            raise DataError("index: expected unique row ids, some occur twice")
        if not np.isfinite(self.probability).all() or self.probability.min() < 0:
            raise DataError("probability: expected finite values from 0 to 1; the model or the file is damaged")
        if (worst := float(np.abs(self.probability.sum(1, dtype=np.float64) - 1).max())) > 1e-3:
            raise DataError(f"probability: expected rows that sum to 1, one is off by {worst:.3g}")

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the label, bool ``(N,)``."""
        right: NDArray[np.bool_] = self.predicted == self.label
        return right

    @cached_property
    def confidence(self) -> ProbabilityArray:
        """Probability of the predicted class, float32 ``(N,)``."""
        return np.take_along_axis(self.probability, self.predicted[:, None], 1)[:, 0]

    @cached_property
    def label_probability(self) -> ProbabilityArray:
        """Probability of the label, float32 ``(N,)``; self-confidence in Northcutt 2021 (arXiv 1911.00068)."""
        return np.take_along_axis(self.probability, self.label[:, None], 1)[:, 0]

    @cached_property
    def margin(self) -> ProbabilityArray:
        """Label's probability less the highest of the other classes, float32 ``(N,)``, -1 to 1.

        The normalised margin of Northcutt 2021 (arXiv 1911.00068): negative where the model is wrong.
        """
        others = self.probability.copy()
        np.put_along_axis(others, self.label[:, None], -np.inf, 1)
        margin: ProbabilityArray = self.label_probability - others.max(1)
        return margin

    @cached_property
    def loss(self) -> FloatArray:
        """Cross entropy ``-log P[label]`` in nats, float64 ``(N,)``.

        A probability that float32 rounds to 0 counts as the smallest positive float32, so that the loss stays finite.
        """
        smallest = np.finfo(np.float32).smallest_subnormal
        return -np.log(np.maximum(self.label_probability, smallest).astype(np.float64))

    @property
    def accuracy(self) -> float:
        """Fraction of rows predicted as labelled."""
        return float(self.correct.mean())

    @property
    def error_count(self) -> int:
        """Number of rows predicted otherwise than labelled."""
        return int((~self.correct).sum())

    def position(self, row: int) -> int:
        """Position of row id ``row`` in the columns; `DataError` if absent."""
        found = np.flatnonzero(self.index == row)
        if len(found) == 0:
            raise DataError(f"no row with the id {row} in the predictions")
        return int(found[0])

    def frame(self) -> pl.DataFrame:
        """A table with index, label, predicted, correct, confidence, margin and loss."""
        return pl.DataFrame(
            {
                "index": self.index,
                "label": self.label,
                "predicted": self.predicted,
                "correct": self.correct,
                "confidence": self.confidence,
                "margin": self.margin,
                "loss": self.loss,
            }
        )


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts int64 ``(K, K)``: rows are true classes, columns predicted ones."""

    counts: IntArray
    classes: tuple[str, ...]


@dataclass(frozen=True)
class ClassReport:
    """For each class: support, errors, error rate and its 95 % Wilson interval, arrays ``(K,)``.

    The rate of a class without rows is nan and its interval 0 to 1: nothing is known of it.
    """

    classes: tuple[str, ...]
    support: IntArray
    errors: IntArray
    error_rate: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Query:
    """Which rows, in which order.

    ``true`` and ``predicted`` are class numbers or None for any; ``order`` is one of `ORDERS` and
    ties keep the order of row ids.
    """

    true: int | None = None
    predicted: int | None = None
    wrong_only: bool = False
    order: str = "loss"
    descending: bool = True


ORDERS = ("loss", "confidence", "margin", "index")


@dataclass(frozen=True)
class Attribution:
    """Maps for ``n`` rows, unscaled.

    Parameters
    ----------
    values : float32 array (n, h, w)
        One map a row on the method's own grid; signed as the method gives it.
    rows, targets : int64 array (n,)
        Row ids, and the class that each map explains.
    method, layer : str
        Its name; the layer is empty for maps on the input.
    residual : float64 array (n,) or None
        ``|sum of the map - (F(x) - F(baseline))| / |F(x) - F(baseline)|``, for methods that promise
        completeness (Sundararajan 2017, arXiv 1703.01365).
    """

    values: ProbabilityArray
    rows: IntArray
    targets: IntArray
    method: str
    layer: str = ""
    residual: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or not len(self.values) == len(self.rows) == len(self.targets):
            raise DataError(
                f"attribution: expected (n, h, w) with n rows and n targets, not {self.values.shape}, "
                f"{len(self.rows)} rows and {len(self.targets)} targets"
            )
