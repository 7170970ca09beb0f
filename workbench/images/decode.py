"""Image files of any kind to uint8 RGB, or one clear message."""

from __future__ import annotations

import importlib.util
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from workbench.core.records import ImageArray
from workbench.errors import DataError, first_line
from workbench.images.reading import DEFAULT, Reading

FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000"]
SUFFIXES = [
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2"),
]
# kinds that need a library which may not be installed
OPTIONAL = {".avif": "Pillow with AVIF", ".heic": "pillow-heif", ".heif": "pillow-heif", ".dcm": "pydicom"}
if features.check("avif"):
    FORMATS.append("AVIF")
    SUFFIXES.append(".avif")
if importlib.util.find_spec("pillow_heif"):
    import pillow_heif

    pillow_heif.register_heif_opener()
    FORMATS.append("HEIF")
    SUFFIXES += [".heic", ".heif"]
if importlib.util.find_spec("pydicom"):
    SUFFIXES.append(".dcm")
# what an EXIF orientation asks for, as on an array
TURNS: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda values: np.rot90(values, 2),
    4: np.flipud,
    5: lambda values: np.rot90(np.fliplr(values), 1),
    6: lambda values: np.rot90(values, -1),
    7: lambda values: np.rot90(np.fliplr(values), -1),
    8: lambda values: np.rot90(values, 1),
}
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


def decode(source: Path | bytes, name: str = "", reading: Reading = DEFAULT) -> ImageArray:
    """The image in a file or in its bytes, uint8 ``(H, W, 3)`` RGB.

    JPEG, PNG, WebP, TIFF, BMP, GIF, PPM (PGM, PBM) and JPEG 2000; AVIF, HEIC and DICOM where their library is
    installed (`OPTIONAL`); of several frames, the first. Grey becomes three equal channels, CMYK and palettes are
    converted, and an alpha channel is dropped, as in most training code. ``reading`` decides on the EXIF orientation
    and on values of more than 8 bits. ``name`` is what messages call an image given as bytes.

    Raises
    ------
    DataError
        If the file is missing, damaged, of another format, or has more than 178,956,970 pixels (a decompression bomb).
    """
    name = name or str(source)
    if name.lower().endswith(".dcm"):
        from workbench.images.dicom import decode_dicom

        return decode_dicom(source, name, reading)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata, and about sizes that are large yet allowed
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
                if is_deep_colour(image):
                    values = deep_colour(source)  # Pillow would keep the upper 8 bits alone
                    turns = TURNS.get(image.getexif().get(0x0112, 1)) if reading.orient else None
                    return as_rgb(values if turns is None else turns(values), name, reading)
                return rgb_of(image, name, reading)
    except MemoryError as error:
        raise DataError(f"{name} takes more memory than is free: resize or remove it") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} has more than {MOST_PIXELS:,} pixels: resize or remove it") from error
    except FileNotFoundError as error:
        raise DataError(f"{name} is missing: restore the image, or remove its entry") from error
    except UNREADABLE as error:
        reason = first_line(error)
        raise DataError(f"{name} is not a readable image ({reason}): repair or remove it") from error


def is_deep_colour(image: Image.Image) -> bool:
    """Whether an opened file has 16 bits in each of several channels."""
    return image.mode in ("RGB", "RGBA") and ";16" in str(getattr(image, "tile", ""))


def deep_colour(source: Path | bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """An image of 16 bits in each of three or four channels, RGB; `OSError` if OpenCV can't read it either."""
    import cv2

    content = source if isinstance(source, bytes) else source.read_bytes()
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 3:
        raise OSError("16 bits a channel in an unusual layout")
    return np.asarray(cv2.cvtColor(found[..., :3], cv2.COLOR_BGR2RGB))


def as_rgb(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], name: str, reading: Reading = DEFAULT
) -> ImageArray:
    """An array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)`` as uint8 ``(H, W, 3)``.

    uint8 as it is, bool as black and white, others by the range of ``reading``: by default floats from 0 to 1.

    Raises
    ------
    DataError
        If the shape or type is not one of these, or values lie outside of the range.
    """
    array = np.asarray(values)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise DataError(f"{name}: expected an image (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {values.shape}")
    array = array[..., :3]
    if array.dtype == np.bool_:
        array = np.where(array, np.uint8(255), np.uint8(0))
    elif array.dtype != np.uint8:
        if array.dtype.kind not in "iuf":
            raise DataError(f"{name}: expected whole numbers, bool or float pixels, not {array.dtype}")
        array = reading.levels(array, name)
    return np.ascontiguousarray(np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array)


def rgb_of(image: Image.Image, name: str, reading: Reading = DEFAULT) -> ImageArray:
    """A Pillow image as uint8 ``(H, W, 3)``; `DataError` for values outside of the range."""
    if reading.orient:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return as_rgb(np.asarray(image).astype(np.uint16), name, reading)
    if image.mode in ("I", "F"):  # 32 bits
        return as_rgb(np.asarray(image), name, reading)
    return np.array(image.convert("RGB"), np.uint8)
