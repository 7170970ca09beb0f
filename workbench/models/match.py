"""The classes of images and of a model brought together, by name."""

from __future__ import annotations

import dataclasses

import numpy as np

from workbench.core.records import ImageSet
from workbench.errors import DataError


def match_classes(images: ImageSet, classes: tuple[str, ...]) -> ImageSet:
    """The images with their labels as numbers of ``classes``, and a note where that changed something.

    Names are matched by name: the images' may stand in another order, or lack some. Images whose classes are numbers
    from 0 are taken by number.

    Raises
    ------
    DataError
        If the images have a class that the model lacks.
    """
    if images.classes == classes:
        return images
    if images.classes == tuple(map(str, range(len(images.classes)))) and len(images.classes) <= len(classes):
        note = f"The images' classes are numbers: 0 stands for {classes[0]!r}, 1 for {classes[1]!r} and so on."
        return dataclasses.replace(images, classes=classes, notes=(*images.notes, note))
    place = {name: number for number, name in enumerate(classes)}
    used = {images.classes[k] for k in np.unique(images.labels).tolist()}
    if strange := sorted(used - place.keys()):
        some = "none" if not used & place.keys() else f"{len(used) - len(strange)} of {len(used)}"
        raise DataError(
            f"the images are of {len(used)} classes ({_shown(sorted(used))}), the model has {len(classes)} "
            f"({_shown(classes)}), and {some} of the images' names are the model's: {strange[0]!r} is not; remove the "
            "images of such classes, or give the classifier the names that the images have, in the order of its outputs"
        )
    moved = np.array([place.get(name, -1) for name in images.classes], np.int64)
    lacking = len(place.keys() - set(images.classes))
    note = (
        f"The images' classes are matched with the model's by name: {lacking} of its {len(classes)} have no images."
        if lacking
        else "The images' classes stand in another order than the model's and are matched by name."
    )
    return dataclasses.replace(images, labels=moved[images.labels], classes=classes, notes=(*images.notes, note))


def _shown(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
