"""How the values of an image file become a picture: its EXIF turn, and the range shown from black to white."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.core.records import ImageArray
from workbench.errors import DataError

Range = Literal["depth", "full", "data"] | tuple[float, float]
NORMALISED = 20  # values that a mean and a deviation were applied to span less
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners have; files hold them in 8 or 16


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Parameters
    ----------
    orient : bool
        Whether an image is turned by its EXIF orientation. Off by default: torchvision's ``ImageFolder``, Keras and
        timm read pixels as they are stored, and a model sees what it was trained on only if that is done here, too.
    range : "depth", "full", "data" or (low, high)
        Which values of more than 8 bits are black and white. ``"depth"``: 0 to the largest value of the fewest bits
        (8, 10, 12, 14 or 16) that hold the image's values, so that 12-bit data in 16-bit files is not black.
        ``"full"``: all that the type holds. ``"data"``: the image's own lowest and highest value. Values outside of
        (low, high) are cut off. 8-bit images are never changed.
    follow_links : bool
        Whether a link to a file outside of the folder that was named is followed.
    sampled : bool
        Whether the range is what a sample of the set suggests, so that an image beyond it is refused and not cut off.
    """

    orient: bool = False
    range: Range = "depth"
    follow_links: bool = False
    sampled: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        pair = self.range
        known = ("depth", "full", "data")
        if isinstance(pair, str) and pair in known:
            return
        numbers = isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(v, int | float) for v in pair)
        if isinstance(pair, str) or not numbers or not -np.inf < pair[0] < pair[1] < np.inf:
            raise DataError(f"range: expected {', '.join(known)}, or two numbers (low, high), not {pair!r}")

    @property
    def options(self) -> dict[str, Any]:
        """What a caller may choose, by name."""
        return {"orient": self.orient, "range": self.range, "follow_links": self.follow_links}

    @property
    def remark(self) -> str:
        """What is not the default, as JSON for the record of predictions; empty if nothing is."""
        changed = {name: value for name, value in self.options.items() if value != getattr(DEFAULT, name)}
        return json.dumps(changed) if changed else ""

    @classmethod
    def of_remark(cls, remark: str | None) -> Reading:
        """The reading that a `remark` stands for.

        Raises
        ------
        DataError
            If it is none.
        """
        try:
            given = json.loads(remark) if remark else {}
            pair = given.get("range", "depth")
            return cls(**{**given, "range": pair if isinstance(pair, str) else tuple(pair)})
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"reading: expected how images are read, not {remark!r}: predict again") from error

    def bounds(self, values: NDArray[np.generic], name: str) -> tuple[float, float]:
        """The values that are black and white in this image.

        Raises
        ------
        DataError
            If they do not follow: of floats that are not 0 to 1, or of negative whole numbers, unless the range is
            named.
        """
        low, high = float(values.min()), float(values.max())
        if isinstance(self.range, tuple):
            if self.sampled and (low < self.range[0] or high > self.range[1]):
                raise DataError(
                    f"{name}: expected values from {self.range[0]:.0f} to {self.range[1]:.0f}, as in a sample of the "
                    f"set, not {low:.0f} to {high:.0f}: name the range of all images, as range='full' (--range full)"
                )
            return self.range
        if self.range == "data":
            return low, max(high, low + 1)
        if values.dtype.kind == "f":
            if not np.isfinite(values).all() or low < 0 or high > 1:
                other = (
                    ", or the range that is black to white, such as range=(0, 255)" if high - low > NORMALISED else ""
                )
                raise DataError(
                    f"{name}: expected floats from 0 to 1, not {low:.3g} to {high:.3g}: give pixels before any "
                    f"normalisation{other}"
                )
            return 0.0, 1.0
        if low < 0 or high > 65535:
            raise DataError(
                f"{name}: expected values from 0 to 65535, not {low:.0f} to {high:.0f}: give the range that is black "
                "to white, such as range=(-1000, 2000) or range='data'"
            )
        return 0.0, float(2 ** (16 if self.range == "full" else depth_of(high)) - 1)

    def levels(self, values: NDArray[np.generic], name: str) -> ImageArray:
        """Values of more than 8 bits as uint8, by `bounds`."""
        low, high = self.bounds(values, name)
        if values.dtype == np.uint16:  # a table of all values takes no memory
            found: ImageArray = _scaled(np.arange(65536), low, high)[values]
            return found
        found = np.empty(values.shape, np.uint8)
        for row, line in enumerate(values):
            found[row] = _scaled(line, low, high)
        return found


def _scaled(values: NDArray[np.generic], low: float, high: float) -> ImageArray:
    if low == 0 and high == 65535:
        return np.rint(values.astype(np.float64) / 257).astype(np.uint8)
    shares = (values.astype(np.float64) - low) / (high - low)
    return np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)


def depth_of(highest: float) -> int:
    """The fewest bits of `DEPTHS` that hold a value."""
    return next((bits for bits in DEPTHS if highest < 2**bits), 16)


DEFAULT = Reading()
