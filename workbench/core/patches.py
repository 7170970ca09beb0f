"""A part of an image."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.core.records import ImageArray, ProbabilityArray


@dataclass(frozen=True)
class Patch:
    """Where an image shows something most: a row id and a rectangle, as shares of the image's height and width.

    ``strengths`` float32 ``(h, w)``: how strong it is in each cell of the image.
    """

    row: int
    top: float
    left: float
    height: float
    width: float
    strengths: ProbabilityArray

    def cut(self, image: ImageArray) -> ImageArray:
        """The rectangle of the image ``(H, W, 3)``, at least one pixel."""
        (top, bottom), (left, right) = (
            (first := min(round(at * side), side - 1), max(first + 1, round((at + length) * side)))
            for at, length, side in (
                (self.top, self.height, image.shape[0]),
                (self.left, self.width, image.shape[1]),
            )
        )
        return image[top:bottom, left:right]
