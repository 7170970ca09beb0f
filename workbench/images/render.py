"""Arrays to uint8 RGB pictures; no plotting library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from workbench.core.records import ImageArray

Map = NDArray[np.float32]

# Perceptually uniform ramps as anchor colours, interpolated in CIE Lab: the first runs from dark to
# light, so that more never looks like less; the second from blue through white to red.
_UNSIGNED = ((13, 8, 48), (84, 15, 109), (156, 41, 97), (217, 79, 52), (249, 142, 9), (252, 222, 110))
# Colours that most people can tell apart, also with a colour vision deficiency: ten of Petroff 2021 (arXiv 2107.02270),
# then ten more, each the one that is farthest in CIE Lab from all before it, as seen and as simulated for deuteranopia
# and protanopia (Machado et al. 2009, doi 10.1109/TVCG.2009.113).
PALETTE = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
    "#99f375",
    "#7e0048",
    "#24f3bd",
    "#1b75fc",
    "#483675",
    "#364824",
    "#d8b4fc",
    "#e124b4",
    "#d81275",
    "#87ab3f",
)
_SIGNED = ((33, 76, 145), (112, 161, 214), (247, 247, 247), (228, 130, 100), (158, 27, 43))


def _lookup(anchors: Sequence[tuple[int, int, int]], count: int = 256) -> NDArray[np.float32]:
    lab = cv2.cvtColor(np.asarray([anchors], np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    # even steps along the path in Lab are even steps to the eye
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(lab, axis=0), axis=1))])
    places = np.linspace(0, length[-1], count)
    path = np.stack([np.interp(places, length, lab[:, c]) for c in range(3)], axis=1).astype(np.float32)
    return np.asarray(np.clip(cv2.cvtColor(path[None], cv2.COLOR_LAB2RGB)[0], 0, 1), np.float32)


# two arms that meet in the lightest colour, which is 0
_ARMS = (_lookup(_SIGNED[:3], 128), _lookup(_SIGNED[2:], 128))
_LOOKUP = {False: _lookup(_UNSIGNED), True: np.concatenate(_ARMS)}


def colour_ramp(signed: bool) -> NDArray[np.float32]:
    """The colours from lowest to highest value, float32 ``(256, 3)`` in 0..1."""
    return _LOOKUP[signed]


def scale_of(maps: Map, *, signed: bool) -> float:
    """The value that gets the strongest colour: the largest magnitude, or the largest positive value."""
    finite = np.nan_to_num(maps)
    return float(np.abs(finite).max() if signed else max(finite.max(), 0.0))


def normalise(values: Map, scale: float, *, signed: bool) -> Map:
    """Positions 0..1 on the colour ramp, float32 of the same shape.

    Unsigned: negative values count as 0 (the ReLU of Grad-CAM). Signed: 0 lies at 0.5. NaN counts as 0,
    and a scale of 0 makes all values 0.
    """
    values = np.nan_to_num(np.asarray(values, np.float32))
    share = values / np.float32(scale) if scale > 0 else np.zeros_like(values, np.float32)
    placed = (share + 1) / 2 if signed else share
    return np.clip(placed, 0, 1)


def remark(values: Map, *, signed: bool) -> str:
    """A remark on a map that shows nothing, in plain words; empty for one that shows something."""
    if not np.isfinite(values).any() or not np.any(np.nan_to_num(values)):
        return "empty: every value is 0"
    if not signed and np.nanmax(values) <= 0:
        return "nothing speaks for this class: no positive value"
    return ""


def upsample(values: Map, height: int, width: int) -> Map:
    """The map ``(h, w)`` at ``(height, width)``, bilinear, as float32."""
    large = cv2.resize(np.asarray(values, np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.float32)


def colour(values: Map, scale: float, *, signed: bool) -> ImageArray:
    """The map as colours, uint8 ``(h, w, 3)``."""
    places = np.rint(normalise(values, scale, signed=signed) * 255).astype(np.int64)
    return np.rint(_LOOKUP[signed][places] * 255).astype(np.uint8)


def overlay(
    image: ImageArray, values: Map, scale: float, *, signed: bool = False, strength: float = 0.65
) -> ImageArray:
    """The map in colours over a grey copy of the image, uint8 ``(H, W, 3)``, computed in float."""
    height, width = image.shape[:2]
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    colours = colour(upsample(values, height, width), scale, signed=signed).astype(np.float32)
    return np.rint((1 - strength) * grey[..., None] + strength * colours).astype(np.uint8)


def enlarge(image: ImageArray, factor: int) -> ImageArray:
    """The image with each pixel repeated ``factor`` times, so that small images stay crisp."""
    return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)


def thumbnail(image: ImageArray, side: int, *, square: bool = False) -> ImageArray:
    """The image no larger than ``side`` pixels, averaged over the pixels it loses; ``square`` pads it with black."""
    longest = max(image.shape[:2])
    if longest > side:
        height, width = (max(1, round(length * side / longest)) for length in image.shape[:2])
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    if not square or image.shape[:2] == (side, side):
        return image
    whole = np.zeros((side, side, 3), np.uint8)
    top, left = ((side - length) // 2 for length in image.shape[:2])
    whole[top : top + image.shape[0], left : left + image.shape[1]] = image
    return whole


def thumbnails(images: Iterable[ImageArray], side: int) -> ImageArray:
    """Thumbnails of one size, uint8 ``(n, H, W, 3)``: images of several sizes are each padded to a black square."""
    small = [thumbnail(image, side) for image in images]
    if len({image.shape for image in small}) > 1:
        widest = max(max(image.shape[:2]) for image in small)
        small = [thumbnail(image, widest, square=True) for image in small]
    return np.stack(small) if small else np.zeros((0, 0, 0, 3), np.uint8)


def sprite(images: Sequence[ImageArray], columns: int) -> ImageArray:
    """Images of one size laid out row by row, uint8 ``(rows * H, columns * W, 3)``; unused cells are black."""
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + height, left : left + width] = image
    return sheet
