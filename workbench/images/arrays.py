"""Images in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench.core.records import ImageSet
from workbench.errors import DataError
from workbench.images.decode import UNREADABLE, as_rgb
from workbench.images.digests import digest_arrays
from workbench.core.labels import class_numbers


def from_arrays(
    images: ArrayLike, labels: ArrayLike, classes: Sequence[str] | None = None, *, split: str = "test"
) -> ImageSet:
    """Images in an array ``(N, H, W)``, ``(N, H, W, 1)`` or ``(N, H, W, 3)``; row ids are its positions.

    uint8, uint16, or floats from 0 to 1; labels are numbers or names.

    Raises
    ------
    DataError
        If the shape or type is not one of these, or there is not one label for each image.
    """
    array = np.asarray(images)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(f"images: expected (N, H, W), (N, H, W, 1) or (N, H, W, 3), not {array.shape}")
    whole = array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3
    pixels = array if whole else np.stack([as_rgb(one, f"image {row}") for row, one in enumerate(array)])
    found, names = class_numbers(pl.Series("label", np.asarray(labels).ravel()), classes, "labels")
    return ImageSet(pixels, found, names, split, lambda: digest_arrays(pixels, found, names))


def from_npz(path: Path, split: str, classes: Sequence[str] | None) -> ImageSet:
    """The arrays ``images``, ``labels`` and, if present, ``classes`` of an ``.npz`` file; see `from_arrays`."""
    from zipfile import BadZipFile

    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in ("images", "labels", "classes") if name in found.files}
    except (*UNREADABLE, BadZipFile, MemoryError, RuntimeError) as error:
        raise DataError(f"{path} is damaged or of another format ({error})") from error
    if missing := {"images", "labels"} - set(arrays):
        raise DataError(f"{path} has no array {sorted(missing)[0]!r}: expected images and labels")
    kept = [str(name) for name in arrays["classes"]] if "classes" in arrays else None
    return from_arrays(arrays["images"], arrays["labels"], classes or kept, split=split)
