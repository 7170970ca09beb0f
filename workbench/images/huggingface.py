"""What is particular to Hugging Face's data sets: columns, class names, images as they are stored, files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.core.names import ClassNames
from workbench.errors import DataError

IMAGES, LABELS = ("image", "img", "pixel_values"), ("label", "labels", "target")
_CUSTOM = "custom"  # the format of a data set whose items a function of the user's makes


def is_hugging_face(dataset: Any) -> bool:
    """Whether it is a data set with described columns."""
    return isinstance(getattr(dataset, "features", None), Mapping)


def columns_of(dataset: Any) -> tuple[str, str]:
    """The columns of image and label.

    Raises
    ------
    DataError
        If they do not follow from their kinds and names, or a row may have several classes.
    """
    kinds = {name: type(feature).__name__ for name, feature in dataset.features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image" or name in IMAGES]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel" or name in LABELS]
    if len(images) != 1 or not labels or (len(labels) > 1 and "label" not in labels):
        raise DataError(
            f"data set: expected one column of images and one of labels, not {', '.join(kinds)}: select and rename "
            "them to 'image' and 'label'"
        )
    label = "label" if "label" in labels else labels[0]
    if type(getattr(dataset.features[label], "feature", None)).__name__ == "ClassLabel":
        raise DataError(f"data set: expected one class a row, not the several of column {label!r}: choose one of them")
    return images[0], label


def names_of(dataset: Any) -> ClassNames | None:
    """The class names that the column of labels has."""
    found: ClassNames | None = getattr(dataset.features[columns_of(dataset)[1]], "names", None)
    return found


def as_stored(dataset: Any) -> Any:
    """A data set whose images are the bytes or paths of their files, and whose labels are numbers.

    So an image is read by this package as from a folder, whatever format is set. Also within PyTorch's ``Subset`` and
    ``ConcatDataset``, which is how names and columns are found below them. Others, and those with a transform of the
    user's, are returned as they are.
    """
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):  # Subset
        inner = as_stored(dataset.dataset)
        return inner.select(list(dataset.indices)) if is_hugging_face(inner) else dataset
    if (parts := getattr(dataset, "datasets", None)) is not None and any(is_hugging_face(part) for part in parts):
        return type(dataset)([as_stored(part) for part in parts])
    form = getattr(dataset, "format", None)
    if not is_hugging_face(dataset) or not isinstance(form, Mapping) or form.get("type") == _CUSTOM:
        return dataset
    plain = dataset.with_format(None)
    image, _ = columns_of(plain)
    feature = plain.features[image]
    return plain.cast_column(image, type(feature)(decode=False)) if type(feature).__name__ == "Image" else plain


def arrow_files(folder: Path) -> list[Path]:
    """The data of a folder that ``save_to_disk`` wrote, without what the library caches beside it.

    Raises
    ------
    DataError
        If the folder's record of its files is damaged.
    """
    state = folder / "state.json"
    if not state.is_file():
        return [path for path in sorted(folder.glob("*.arrow")) if not is_cache(path)]
    try:
        names = [str(one["filename"]) for one in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{state} is damaged ({error}): save the data set again") from error
    return [folder / Path(name).name for name in names]


def split_in_state(folder: Path) -> str:
    """The split that ``save_to_disk`` noted; empty if it noted none."""
    try:
        noted = json.loads((folder / "state.json").read_text(encoding="utf-8")).get("_split")
    except (ValueError, AttributeError, RecursionError):  # `arrow_files` reports a damaged file
        return ""
    return noted if isinstance(noted, str) else ""


def is_cache(path: Path) -> bool:
    """Whether the library wrote a file beside the data, to remember what ``map`` or ``filter`` gave."""
    return path.name.startswith("cache-")
