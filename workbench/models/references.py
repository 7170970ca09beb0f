"""Reference images of a classifier, from which expected gradients start."""

from __future__ import annotations

import dataclasses

import numpy as np

from workbench.core.records import ImageArray, ImageSet
from workbench.errors import DataError
from workbench.models.classifier import Classifier

REFERENCES = 64


def with_references(classifier: Classifier, images: ImageSet | ImageArray, count: int = REFERENCES) -> Classifier:
    """The classifier with reference images: what expected gradients compare an image with.

    Parameters
    ----------
    classifier : Classifier
    images : ImageSet, or uint8 array (N, H, W, 3)
        Typical images, such as the train split.
    count : int
        How many of them are drawn, without replacement and with a fixed seed.

    Returns
    -------
    Classifier
        The same model; its ``references`` are uint8 ``(count, h, w, 3)`` at its input size.

    Raises
    ------
    DataError
        If there is no image, or an array is not of that kind.
    """
    if isinstance(images, np.ndarray):
        nothing = np.zeros(len(images), np.int64)
        images = ImageSet(images, nothing, classifier.classes, "references", "")
    if len(images) == 0 or count < 1:
        raise DataError(f"references: expected at least one image, not {min(len(images), count)}")
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
    seen = classifier.seen(images)
    return dataclasses.replace(classifier, references=np.stack([seen.pixels[int(place)] for place in chosen]))
