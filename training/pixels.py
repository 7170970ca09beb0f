"""Image files to pixels of one size."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from training.dataset import Images
from training.errors import TrainingError

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
            whole = image.convert("RGB")
            if whole.size != (side, side):
                factor = side / min(whole.size)
                columns, rows = (max(side, round(length * factor)) for length in whole.size)
                left, top = (columns - side) // 2, (rows - side) // 2
                whole = whole.resize((columns, rows), Image.Resampling.BILINEAR)
                whole = whole.crop((left, top, left + side, top + side))
            return np.asarray(whole)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise TrainingError(f"{where} is not a readable image ({error}): replace or remove it") from error


def size_of(source: Path | io.BytesIO) -> tuple[int, int] | None:
    """Width and height from the header of an image; None if it has none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source, formats=FORMATS) as image:
            return image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        return None
