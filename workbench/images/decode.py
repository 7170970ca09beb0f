"""Image files of any kind to uint8 RGB, or one clear message."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from workbench.core.records import ImageArray
from workbench.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2"),
)
MOST_PIXELS = 178_956_970  # twice Pillow's MAX_IMAGE_PIXELS, beyond which Pillow itself refuses
# what Pillow's readers have been seen to raise for damaged files
UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def decode(source: Path | bytes, name: str = "") -> ImageArray:
    """The image in a file or in its bytes, uint8 ``(H, W, 3)`` RGB.

    JPEG, PNG, WebP, TIFF, BMP, GIF, PPM (PGM, PBM) and JPEG 2000; of several frames, the first. The image is rotated by
    its EXIF orientation. Grey becomes three equal channels, 16 bits per channel become 8 (divided by 257), CMYK and
    palettes are converted, and an alpha channel is dropped, as in most training code. ``name`` is what messages call an
    image given as bytes.

    Raises
    ------
    DataError
        If the file is missing, damaged, of another format, or has more than 178,956,970 pixels (a decompression bomb).
    """
    name = name or str(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata, and about sizes that are large yet allowed
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
                return rgb_of(ImageOps.exif_transpose(image), name)
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} has more than {MOST_PIXELS:,} pixels: resize or remove it") from error
    except FileNotFoundError as error:
        raise DataError(f"{name} is missing: restore the image, or remove its entry") from error
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{name} is not a readable image ({reason}): repair or remove it") from error


def as_rgb(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], name: str) -> ImageArray:
    """An array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)`` as uint8 ``(H, W, 3)``.

    uint8 as it is, uint16 divided by 257, bool as black and white, floats from 0 to 1 times 255.

    Raises
    ------
    DataError
        If the shape or type is not one of these, or a float is not finite or outside 0 to 1.
    """
    array = np.asarray(values)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise DataError(f"{name}: expected an image (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {values.shape}")
    array = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[..., :3]
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return np.rint(array / 257).astype(np.uint8)
    if array.dtype == np.bool_:
        return np.asarray(np.where(array, 255, 0), np.uint8)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise DataError(
                f"{name}: expected floats from 0 to 1, not {array.min():.3g} to {array.max():.3g}: "
                "give pixels before any normalisation"
            )
        levels: ImageArray = np.rint(array * 255).astype(np.uint8)
        return levels
    raise DataError(f"{name}: expected uint8, uint16, bool or float pixels, not {array.dtype}")


def rgb_of(image: Image.Image, name: str) -> ImageArray:
    """A Pillow image as uint8 ``(H, W, 3)``; `DataError` for grey values of more than 16 bits."""
    if image.mode.startswith("I;16"):
        return as_rgb(np.asarray(image).astype(np.uint16), name)
    if image.mode == "I":  # 32 bits hold 16-bit grey
        whole = np.asarray(image)
        if whole.min() < 0 or whole.max() > 65535:
            raise DataError(f"{name}: expected grey values of 8 or 16 bits, not {whole.min()} to {whole.max()}")
        return as_rgb(whole.astype(np.uint16), name)
    if image.mode == "F":
        return as_rgb(np.asarray(image), name)
    return np.array(image.convert("RGB"), np.uint8)
