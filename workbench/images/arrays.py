"""Images in arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from workbench.core.labels import class_numbers, label_column
from workbench.core.names import ClassNames, names_in
from workbench.core.records import ImageSet
from workbench.errors import DataError
from workbench.images.decode import UNREADABLE, as_rgb
from workbench.images.digests import digest_arrays
from workbench.images.reading import DEFAULT, Range, Reading, depth_of


def from_arrays(
    images: ArrayLike,
    labels: ArrayLike,
    classes: ClassNames | None = None,
    *,
    split: str = "test",
    range: Range = "depth",
) -> ImageSet:
    """Images in an array ``(N, H, W)``, ``(N, H, W, 1)`` or ``(N, H, W, 3)``; row ids are its positions.

    uint8, uint16, or floats from 0 to 1; ``range`` says which other values are black and white, such as (0, 255).
    Torch's ``(N, 3, H, W)`` is read, too. Labels are numbers or names, ``(N,)``, ``(N, 1)`` or one-hot ``(N, K)``.

    Raises
    ------
    DataError
        If the shape or type is not one of these, or there is not one label for each image.
    """
    try:
        array = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
    except (ValueError, TypeError) as error:
        raise DataError(f"images: expected one array of images of one size ({error})") from error
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3, 4):
        array = array.transpose(0, 2, 3, 1)
    reading = reading_of(array, Reading(range=range))
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(f"images: expected (N, H, W), (N, H, W, 1) or (N, H, W, 3), not {array.shape}")
    whole = array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3
    pixels = array if whole else np.stack([as_rgb(one, f"image {row}", reading) for row, one in enumerate(array)])
    found, names = class_numbers(label_column(labels, "labels"), classes, "labels")
    return ImageSet(
        pixels, found, names, split, lambda: digest_arrays(pixels, found, names), reading=Reading(range=range).remark
    )


def reading_of(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], reading: Reading) -> Reading:
    """The reading with one range for all images of an array of whole numbers, so that they stay comparable."""
    if reading.range != "depth" or array.dtype.kind not in "iu" or array.dtype == np.uint8 or array.min() < 0:
        return reading
    return Reading(reading.orient, (0, 2 ** depth_of(float(array.max())) - 1))


def from_npz(path: Path, split: str, classes: ClassNames | None, reading: Reading = DEFAULT) -> ImageSet:
    """The arrays ``images``, ``labels`` and, if present, ``classes`` of an ``.npz`` file; see `from_arrays`."""
    from zipfile import BadZipFile

    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in ("images", "labels", "classes") if name in found.files}
    except (*UNREADABLE, BadZipFile, MemoryError, RuntimeError) as error:
        raise DataError(f"{path} is damaged or of another format ({error})") from error
    if missing := {"images", "labels"} - set(arrays):
        raise DataError(f"{path} has no array {sorted(missing)[0]!r}: expected images and labels")
    kept = names_in(arrays["classes"]) if "classes" in arrays else None
    return from_arrays(arrays["images"], arrays["labels"], classes or kept, split=split, range=reading.range)
