"""Images of PyTorch data sets."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from workbench.core.records import ImageArray, ImageSet
from workbench.errors import DataError
from workbench.images.decode import UNREADABLE, as_rgb, rgb_of
from workbench.images.digests import digest_sample
from workbench.core.labels import class_numbers


def from_dataset(dataset: Any, classes: Sequence[str] | None = None, *, split: str = "test") -> ImageSet:
    """The images of a PyTorch data set whose items are an image and a label; row ids are its indices.

    Images are Pillow's, arrays ``(H, W)`` or ``(H, W, C)``, or tensors ``(C, H, W)``; give the data set without
    normalisation, which the classifier applies. Labels are read from ``targets`` where the data set has it (as
    torchvision's do), else every item is read once. Class names: ``classes``, else the data set's own.

    Raises
    ------
    DataError
        If an item is of another kind.
    """
    changed = getattr(dataset, "target_transform", None) is not None
    known = None if changed else getattr(dataset, "targets", None)
    if known is None:
        known = [_item(dataset, row)[1] for row in range(len(dataset))]
    names = classes or getattr(dataset, "classes", None)
    labels, named = class_numbers(pl.Series("label", np.asarray(known).ravel()), names, type(dataset).__name__)
    pixels = _DatasetPixels(dataset)
    return ImageSet(pixels, labels, named, split, lambda: digest_sample(pixels, labels, named))


@dataclass(frozen=True)
class _DatasetPixels:
    """The images of a PyTorch data set, read one at a time, as its items may share a file."""

    dataset: Any
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: int, /) -> ImageArray:
        with self.lock:
            image = _item(self.dataset, place)[0]
        if hasattr(image, "detach"):  # a tensor (C, H, W)
            image = image.detach().cpu().numpy()
            image = image.transpose(1, 2, 0) if image.ndim == 3 else image
        elif hasattr(image, "convert"):
            return rgb_of(image, f"item {place}")
        return as_rgb(np.asarray(image), f"item {place}")


def _item(dataset: Any, place: int) -> tuple[Any, Any]:
    try:
        item = dataset[place]
    except UNREADABLE as error:
        raise DataError(f"item {place} can't be read ({error}): repair or remove it") from error
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise DataError(f"item {place}: expected an image and a label, not {type(item).__name__}")
    return item[0], item[1]
