"""The core types: frozen records over NumPy columns, with their validation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
ProbabilityArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]
Precision = Literal["float32", "bfloat16"]
Verdict = Literal["supported", "no evidence either way", "against"]
VERDICTS: tuple[Verdict, ...] = ("supported", "no evidence either way", "against")
TARGETS = ("predicted", "true", "contrast")


@dataclass(frozen=True)
class Provenance:
    """What a result was computed from; stamped into every export.

    ``checkpoint`` and ``data`` are SHA-256 digests; None where a result has no such source. ``threshold``: the second
    of two classes is predicted from this probability on; None where the most probable class is. ``reading``: how image
    files were read, where that is not the default.
    """

    checkpoint: str | None = None
    data: str | None = None
    split: str | None = None
    device: str | None = None
    precision: str | None = None
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    threshold: float | None = None
    reading: str | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Provenance:
        """The provenance that `to_json` gave.

        Raises
        ------
        DataError
            If a field is unknown or of another type.
        """
        kinds: dict[str, type | tuple[type, ...]] = {"seed": int, "versions": dict, "threshold": (int, float)}
        for name, value in values.items():
            if name not in cls.__dataclass_fields__:
                raise DataError(f"provenance: expected some of {', '.join(cls.__dataclass_fields__)}, not {name!r}")
            kind = kinds.get(name, str)
            if isinstance(value, bool) or not (isinstance(value, kind) or (value is None and name != "versions")):
                raise DataError(f"provenance: {name}: expected another type than that of {value!r:.60}")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values; threshold and reading only where there is one."""
        found = asdict(self)
        return {
            name: value for name, value in found.items() if name not in ("threshold", "reading") or value is not None
        }


class Pixels(Protocol):
    """A sequence of images, each uint8 ``(H, W, 3)`` RGB, that may be read on demand."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> ImageArray: ...


@dataclass(frozen=True)
class ImageSet:
    """Images by row id, read on demand.

    Parameters
    ----------
    pixels : Pixels
        An array uint8 ``(N, H, W, 3)``, or any sequence of images, of one size or several.
    labels : int64 array (N,)
    classes : tuple of str
    split : str
    digest : str or function
        What identifies these images, 64 hexadecimal digits; a function is called when the digest is first needed.
    ids : int64 array (N,), optional
        Row ids; by default the positions.
    notes : tuple of str
        What reading them chose, or left aside.
    reading : str
        How the files are read where that is not the default; it is part of the fingerprint.
    """

    pixels: Pixels
    labels: IntArray
    classes: tuple[str, ...]
    split: str
    digest: str | Callable[[], str]
    ids: IntArray | None = None
    notes: tuple[str, ...] = ()
    reading: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.pixels, np.ndarray) and (
            self.pixels.ndim != 4 or self.pixels.shape[3] != 3 or self.pixels.dtype != np.uint8
        ):
            raise DataError(f"images: expected uint8 (N, H, W, 3), not {self.pixels.dtype} {self.pixels.shape}")
        if len(self.pixels) != len(self.labels):
            raise DataError(f"expected a label for each of {len(self.pixels)} images, not {len(self.labels)} labels")
        if self.ids is not None and len(np.unique(self.ids)) != len(self.labels):
            raise DataError(f"row ids: expected {len(self.labels)} unique ones, not {len(np.unique(self.ids))}")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """The digest, 64 hexadecimal digits."""
        digest = self.digest if isinstance(self.digest, str) else self.digest()
        return hashlib.sha256(f"{digest} {self.reading}".encode()).hexdigest() if self.reading else digest

    @property
    def rows(self) -> IntArray:
        """Row ids, int64 ``(N,)``."""
        return np.arange(len(self)) if self.ids is None else self.ids

    @cached_property
    def _order(self) -> IntArray:
        return np.argsort(self.rows, kind="stable")

    def places(self, rows: Sequence[int] | IntArray) -> IntArray:
        """Positions of row ids, int64 ``(n,)``.

        Raises
        ------
        DataError
            If there is no such row.
        """
        wanted = np.asarray(rows, np.int64)
        if self.ids is None:
            if strange := wanted[(wanted < 0) | (wanted >= len(self))].tolist():
                raise DataError(f"expected a row id from 0 to {len(self) - 1}, not {strange[0]}")
            return wanted
        at = self._order[np.minimum(np.searchsorted(self.ids, wanted, sorter=self._order), len(self) - 1)]
        if strange := wanted[self.ids[at] != wanted].tolist():
            raise DataError(f"there is no image of row id {strange[0]}")
        return np.asarray(at)

    def image(self, row: int) -> ImageArray:
        """The image of row id ``row``, uint8 ``(H, W, 3)``.

        Raises
        ------
        DataError
            If there is no such row, or its image can't be read.
        """
        return self.pixels[int(self.places([row])[0])]

    def stack(self, rows: Sequence[int] | IntArray) -> ImageArray:
        """The images of some rows as one array, uint8 ``(n, H, W, 3)``.

        Raises
        ------
        DataError
            As `image`; or if their sizes differ.
        """
        places = self.places(rows)
        if isinstance(self.pixels, np.ndarray):
            found: ImageArray = self.pixels[places]
            return found
        images = [self.pixels[int(place)] for place in places]
        if len(sizes := {image.shape for image in images}) > 1:
            first, second = sorted(sizes)[:2]
            raise DataError(f"images: expected one size, not {first[1]}×{first[0]} and {second[1]}×{second[0]} pixels")
        return np.stack(images) if images else np.zeros((0, 0, 0, 3), np.uint8)

    def labels_of(self, rows: IntArray) -> IntArray:
        """Labels of some rows, int64 ``(n,)``; `DataError` as `places`."""
        return self.labels[self.places(rows)]


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts int64 ``(K, K)``: rows are true classes, columns predicted ones."""

    counts: IntArray
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Rate:
    """A value for each of several things, with the bounds of its 95 % interval; arrays of one shape."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class ClassReport:
    """For each class: support and errors int64 ``(K,)``, and four rates ``(K,)`` with 95 % intervals.

    A rate of a class without rows is nan and its interval 0 to 1: nothing is known of it.
    """

    classes: tuple[str, ...]
    support: IntArray
    errors: IntArray
    error_rate: Rate
    precision: Rate
    recall: Rate
    f1: Rate


@dataclass(frozen=True)
class Query:
    """Which rows, in which order.

    ``true`` and ``predicted`` are class numbers or None for any; ``where`` is an SQL expression over the
    columns, empty for any row; ``order`` names a column and ties keep the order of row ids.
    """

    true: int | None = None
    predicted: int | None = None
    wrong_only: bool = False
    where: str = ""
    order: str = "loss"
    descending: bool = True


@dataclass(frozen=True)
class Attribution:
    """Maps for ``n`` rows, unscaled.

    Parameters
    ----------
    values : float32 array (n, h, w)
        One map per row on the method's own grid; signed as the method gives it.
    rows, targets : int64 array (n,)
        Row ids, and the class that each map explains.
    method, layer : str
        The method's name in the registry, and the layer's, which is empty for maps on the input.
    residual : float64 array (n,) or None
        ``|sum of the map - (F(x) - F(baseline))| / |F(x) - F(baseline)|``, for methods that promise
        completeness (Sundararajan 2017, arXiv 1703.01365).
    against : int64 array (n,) or None
        For a contrast, the class that the target is compared with.
    signed : bool
        Whether values below 0 mean evidence against the target.
    title : str
        The method with its baseline, if it has one, as figures name it; by default the name.
    """

    values: ProbabilityArray
    rows: IntArray
    targets: IntArray
    method: str
    layer: str = ""
    residual: FloatArray | None = None
    against: IntArray | None = None
    signed: bool = True
    title: str = ""

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self.method)
        if self.values.ndim != 3 or not len(self.values) == len(self.rows) == len(self.targets):
            raise DataError(
                f"attribution: expected (n, h, w) with n rows and n targets, not {self.values.shape}, "
                f"{len(self.rows)} rows and {len(self.targets)} targets"
            )

    @property
    def two_sided(self) -> bool:
        """Whether values below 0 are drawn, in the colour of evidence against the target.

        In a class activation map they count as 0, as by the ReLU of Grad-CAM's definition.
        """
        return self.signed and self.layer == ""

    def part(self, rows: slice) -> Attribution:
        """Some of the maps."""
        return replace(
            self,
            values=self.values[rows],
            rows=self.rows[rows],
            targets=self.targets[rows],
            residual=None if self.residual is None else self.residual[rows],
            against=None if self.against is None else self.against[rows],
        )
