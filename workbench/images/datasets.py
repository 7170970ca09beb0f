"""Images of data sets in memory: PyTorch's, torchvision's and Hugging Face's."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.labels import class_numbers, label_column
from workbench.core.names import ClassNames
from workbench.core.records import ImageArray, ImageSet
from workbench.errors import DataError, first_line
from workbench.images.decode import UNREADABLE, as_rgb, decode, rgb_of
from workbench.images.digests import digest_sample
from workbench.images.huggingface import IMAGES, LABELS, as_stored, columns_of, is_hugging_face, names_of
from workbench.images.reading import DEFAULT, Range, Reading
from workbench.images.survey import SAMPLE, of_depth, survey


def from_dataset(
    dataset: Any,
    classes: ClassNames | None = None,
    *,
    split: str = "test",
    orient: bool = False,
    range: Range = "depth",
) -> ImageSet:
    """The images of a data set whose items are an image and a label, or a record with both; row ids are its indices.

    Images are Pillow's, arrays ``(H, W)`` or ``(H, W, C)``, or tensors ``(C, H, W)``; give the data set without
    normalisation, which the classifier applies. Labels are read from ``targets`` or from the label's column where the
    data set has one, else every item is read once; one-hot labels are numbers. Class names: ``classes``, else the data
    set's own, also through ``Subset``, ``random_split`` and ``ConcatDataset``. ``orient`` and ``range`` as in
    `reading.Reading`: a tensor is as its transform left it.

    Raises
    ------
    DataError
        If it is no data set, or an item is of another kind.
    """
    _check(dataset)
    dataset = as_stored(dataset)
    image, label = columns_of(dataset) if is_hugging_face(dataset) else (None, None)
    known = _targets(dataset)
    if known is None:
        known = [_item(dataset, row, image, label)[1] for row in np.arange(len(dataset)).tolist()]
    values = [np.asarray(one) for one in known] if isinstance(known, list) else known
    names = classes or _names(dataset)
    labels, named = class_numbers(label_column(values, type(dataset).__name__), names, type(dataset).__name__)
    pixels, notes = _surveyed(_DatasetPixels(dataset, image, label, Reading(orient, range)))
    digest = lambda: digest_sample(pixels, labels, named)  # noqa: E731
    return ImageSet(pixels, labels, named, split, digest, notes=tuple(notes), reading=pixels.reading.remark)


def _check(dataset: Any) -> None:
    """Raise `DataError` unless it has items by number."""
    kind = type(dataset).__name__
    if hasattr(dataset, "batch_size") and hasattr(dataset, "dataset"):
        raise DataError(
            f"data set: expected one, not a {kind}: give the one that it loads, from_dataset(loader.dataset)"
        )
    if isinstance(dataset, Mapping):
        raise DataError(
            f"data set: expected one split, not a {kind} of {', '.join(map(str, dataset))}: give one of them"
        )
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise DataError(f"data set: expected items by number, not a {kind}: put them into a list first")


def _targets(dataset: Any) -> Any:
    """The labels of all items where a data set keeps them, as torchvision's do, also through wrappers; else None."""
    if getattr(dataset, "target_transform", None) is not None:
        return None
    if is_hugging_face(dataset):
        return list(dataset[columns_of(dataset)[1]])
    if (parts := getattr(dataset, "datasets", None)) is not None:  # ConcatDataset
        found = [_targets(part) for part in parts]
        return None if any(one is None for one in found) else np.concatenate([np.asarray(one) for one in found])
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):  # Subset
        whole = _targets(dataset.dataset)
        return None if whole is None else np.asarray(whole)[np.asarray(dataset.indices)]
    return getattr(dataset, "targets", None)


def _names(dataset: Any) -> ClassNames | None:
    """The class names that a data set or the one it wraps has."""
    if is_hugging_face(dataset):
        return names_of(dataset)
    if (parts := getattr(dataset, "datasets", None)) is not None:
        each = {tuple(names) for part in parts if (names := _names(part)) is not None}
        if len(each) > 1:
            raise DataError("data set: its parts have different class names: give the classes of all of them")
        return each.pop() if each else None
    own = getattr(dataset, "classes", None)
    return own if own is not None or not hasattr(dataset, "dataset") else _names(dataset.dataset)


@dataclass(frozen=True)
class _DatasetPixels:
    """The images of a data set, read one at a time, as its items may share a file."""

    dataset: Any
    image: str | None
    label: str | None
    reading: Reading = DEFAULT
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self.dataset)

    def item(self, place: int) -> Any:
        """What the data set gives as an image."""
        with self.lock:
            return _item(self.dataset, place, self.image, self.label)[0]

    def __getitem__(self, place: int, /) -> ImageArray:
        image = self.item(place)
        if hasattr(image, "detach"):  # a tensor (C, H, W)
            image = image.detach().cpu().numpy()
            image = image.transpose(1, 2, 0) if image.ndim == 3 else image
        elif hasattr(image, "convert"):
            return rgb_of(image, f"item {place}", self.reading)
        elif _is_stored(image):
            source = image["bytes"] or Path(image["path"] or "")
            return decode(source, f"item {place}" if image["bytes"] else "", self.reading)
        return as_rgb(np.asarray(image), f"item {place}", self.reading)


def _surveyed(pixels: _DatasetPixels) -> tuple[_DatasetPixels, list[str]]:
    """The pixels with one range for all images of more than 8 bits, and what a set's notes say of it.

    Where the first image has 8 bits, or is of floats, the others are not looked at.
    """
    places = np.unique(np.linspace(0, len(pixels) - 1, min(len(pixels), SAMPLE)).astype(int)).tolist()
    if pixels.reading.range != "depth" or not places:
        return pixels, []
    first = _item_there(pixels, places[0])
    if _is_stored(first):
        files = [one["bytes"] or Path(one["path"] or "") for one in map(pixels.item, places)]
        reading, notes = survey(files, pixels.reading)
        return replace(pixels, reading=reading), notes
    if _whole(first) is None:
        return pixels, []
    found = (_whole(_item_there(pixels, place)) for place in places)
    reading, notes = of_depth(max(float(one.max()) for one in found if one is not None), len(places), pixels.reading)
    return replace(pixels, reading=reading), notes


def _item_there(pixels: _DatasetPixels, place: int) -> Any:
    """What the data set gives; None if it can't be read, which is reported when it is needed."""
    try:
        return pixels.item(place)
    except DataError:
        return None


def _is_stored(image: Any) -> bool:
    """Whether an image is a record of its file's bytes or path, as Hugging Face stores it."""
    return isinstance(image, Mapping) and {"bytes", "path"} <= image.keys()


def _whole(image: Any) -> NDArray[np.generic] | None:
    """An image's values if they are whole numbers of more than 8 bits, none of them negative; else None."""
    if image is None or (hasattr(image, "convert") and not image.mode.startswith("I")):
        return None
    values = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
    deep = values.dtype.kind in "iu" and values.dtype.itemsize > 1 and values.size > 0
    return values if deep and values.min() >= 0 else None


def _item(dataset: Any, place: int, image: str | None, label: str | None) -> tuple[Any, Any]:
    try:
        item = dataset[place]
    except (*UNREADABLE, RuntimeError) as error:
        raise DataError(f"item {place} can't be read ({first_line(error)}): repair or remove it") from error
    if isinstance(item, Mapping):
        # a transform of the user's may call the columns otherwise
        keys = [
            name if name in item else _first(usual, item, place) for name, usual in ((image, IMAGES), (label, LABELS))
        ]
        return item[keys[0]], item[keys[1]]
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise DataError(f"item {place}: expected an image and a label, not {type(item).__name__}")
    return item[0], item[1]


def _first(names: tuple[str, ...], item: Mapping[str, Any], place: int) -> str:
    found = next((name for name in names if name in item), None)
    if found is None:
        raise DataError(
            f"item {place}: expected one of {', '.join(names)} in the record, not {', '.join(map(str, item))}"
        )
    return found
