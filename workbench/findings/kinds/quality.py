"""Images that are dark, blurred, flat, blank, compressed or of odd size, against the others of their classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.pictures import BLANK
from workbench.core.records import FloatArray
from workbench.findings.groups import excess_within_classes, group_finding
from workbench.findings.known import NO_IMAGES, Known
from workbench.findings.record import Found

Mask = NDArray[np.bool_]
TENTHS = (
    ("The darkest tenth of the images", "light", "brightness", True),
    ("The brightest tenth of the images", "light", "brightness", False),
    ("The tenth of lowest contrast", "contrast", "contrast", True),
    ("The most blurred tenth of the images", "sharpness", "sharpness", True),
)
TENTH, LEAST = 0.1, 20
ODD_SIZE, ODD_SHAPE = 2.0, 1.5  # times the median, or a part of it
BLOCKY = 0.25
ACTIONS = {
    "light": "augment brightness in training, or normalise it; check whether such images belong to the task",
    "sharpness": "augment blur in training, or set aside images that nobody could judge",
    "contrast": "augment contrast in training, or normalise it",
    "size": "check how these images are resized and cropped before the model sees them",
    "compression": "augment JPEG compression in training, or keep better copies",
    "blank": "remove these images: they show nothing",
}


def find(known: Known) -> Found:
    """Each property against the other rows of the same classes, so that a mix of classes is no finding.

    Dark and bright: the lowest and highest tenth of mean luma; of low contrast and blurred: the lowest tenth of its
    deviation and of sharpness (`analysis.looks.describe`). A tenth of any data is that: what makes it a finding is that
    these rows fail more often within their classes. Blank (deviation of luma under 0.01), compressed (steps at the
    edges of 8×8 blocks 25 % above the others), of odd size (area twice or half the median) and shape (1.5 times)
    are what they are, by those limits.
    """
    if known.pictures is None:
        return Found(missing=(f"quality: {NO_IMAGES}",))
    seen = known.seen
    tried = [one for one in _properties(known) if one[2].sum() >= LEAST]
    candidates = []
    for words, kind, mask, where in tried:
        found = excess_within_classes(known, mask, seen)
        if found.p_value <= 0.05:
            candidates.append(
                group_finding(
                    known, "quality", words.lower(), words, mask, found, ACTIONS[kind], among=seen, where=where
                )
            )
    return Found(candidates, len(tried))


def _properties(known: Known) -> Iterator[tuple[str, str, Mask, str]]:
    """Name, kind, rows ``(N,)`` and expression of each property; rows whose image was not looked at have none."""
    values = {name: known.looked_at(name) for name in ("brightness", "contrast", "sharpness", "blockiness")}
    width, height = known.looked_at("width"), known.looked_at("height")
    blank = values["contrast"] < BLANK
    yield "Blank images", "blank", blank, ""
    for words, kind, name, is_low in TENTHS:
        limit = float(np.nanquantile(values[name], TENTH if is_low else 1 - TENTH))
        inside = values[name] <= limit if is_low else values[name] >= limit
        where = f'"{name}" {"<=" if is_low else ">="} {limit} AND "contrast" >= {BLANK}'
        yield words, kind, inside & ~blank, "" if known.columns.intersection((name, "contrast")) else where
    yield "Strongly compressed images", "compression", values["blockiness"] >= BLOCKY, ""
    area, shape = width * height, width / height
    yield "Unusually large or small images", "size", _odd(area, ODD_SIZE), ""
    yield "Unusually wide or high images", "size", _odd(shape, ODD_SHAPE), ""


def _odd(values: FloatArray, times: float) -> Mask:
    ratio = values / np.nanmedian(values)
    return (ratio >= times) | (ratio <= 1 / times)
