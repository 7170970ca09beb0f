"""Image files to pixels of one size."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.dataset import Images
from training.errors import TrainingError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")  # no other reader is started, whatever a file holds
DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # modes of more than 8 bits


def decode(source: bytes | Path, where: str, side: int) -> Images:
    """The image in a file or its bytes, uint8 ``(side, side, 3)`` RGB; an alpha channel is dropped.

    Of another size, it is resized to cover the square, bilinear with antialiasing, and its centre cropped.

    Raises
    ------
    TrainingError
        If it is damaged, of another format, or has more than 8 bits a channel.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            if image.mode in DEEP:
                raise TrainingError(f"{where} has more than 8 bits a channel: convert it to 8 bits first")
            return np.asarray(_covering(image.convert("RGB"), side))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise TrainingError(f"{where} is not a readable image ({error}): replace or remove it") from error


def fit(image: Images, side: int, **_: Any) -> Images:
    """An image uint8 ``(h, w, 3)`` as `decode` gives it at that side; further arguments are albumentations' own."""
    from PIL import Image

    return np.asarray(_covering(Image.fromarray(image), side))


def _covering(whole: Image.Image, side: int) -> Image.Image:
    """The image resized to cover the square, and its centre."""
    from PIL import Image

    if whole.size == (side, side):
        return whole
    factor = side / min(whole.size)
    columns, rows = (max(side, round(length * factor)) for length in whole.size)
    left, top = (columns - side) // 2, (rows - side) // 2
    return whole.resize((columns, rows), Image.Resampling.BILINEAR).crop((left, top, left + side, top + side))


def size_of(source: Path | io.BytesIO) -> tuple[int, int] | None:
    """Width and height from the header of an image; None if it has none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source, formats=FORMATS) as image:
            return image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        return None
