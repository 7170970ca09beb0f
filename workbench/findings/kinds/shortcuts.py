"""Properties of the images that tell the label by themselves."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from workbench.analysis.statistics import wilson_interval
from workbench.core.records import FloatArray, IntArray
from workbench.findings.known import NO_IMAGES, Known
from workbench.findings.record import Finding, Found

BINS, STRONG, LEAST = 12, 0.3, 200
PROPERTIES = {
    "brightness": "Brightness",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "blockiness": "JPEG compression",
    "width": "The width in pixels",
    "height": "The height in pixels",
}


def find(known: Known) -> Found:
    """Properties from which the label can be guessed far better than by chance, so that a model may learn them instead.

    For each property of `analysis.pictures` its twelfths (values, where there are fewer) are given the label that is
    most frequent there relative to its class's size, on a random half of the rows; the mean recall of the classes on
    the other half is compared with chance, 1 / K. It is a finding from 30 % of the way from chance to 1 on: some
    relation of looks and classes is what images are made of. Datalab's spurious correlations (cleanlab) have that aim.
    """
    if known.pictures is None:
        return Found(missing=(f"shortcuts: {NO_IMAGES}",))
    places = np.flatnonzero(known.seen)
    if len(places) < LEAST or len(np.unique(known.label[places])) < 2:
        return Found()
    candidates = []
    for name, words in PROPERTIES.items():
        finding = _of_property(known, places, words, known.looked_at(name)[places])
        if finding is not None:
            candidates.append(finding)
    return Found(candidates, len(PROPERTIES))


def _of_property(known: Known, places: IntArray, words: str, values: FloatArray) -> Finding | None:
    label = known.label[places]
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.searchsorted(edges, values, side="left")
    half = np.random.default_rng(0).random(len(label)) < 0.5
    hit = _guess(place[half], label[half], place[~half]) == label[~half]
    kinds, inverse, rows = np.unique(label[~half], return_inverse=True, return_counts=True)
    chance, recall = 1 / len(kinds), np.bincount(inverse, hit) / rows
    value = float(recall.mean())
    if (value - chance) / (1 - chance) < STRONG:
        return None
    # Wilson's intervals of the recalls, brought together for their mean as Newcombe does for a difference
    lows, highs = wilson_interval(np.bincount(inverse, hit), rows)
    low = value - float(np.sqrt(((recall - lows) ** 2).sum())) / len(kinds)
    high = value + float(np.sqrt(((highs - recall) ** 2).sum())) / len(kinds)
    null = float(np.sqrt((chance * (1 - chance) / rows).sum())) / len(kinds)
    return Finding(
        "shortcuts",
        f"{words[:1].lower()}{words[1:]} tells the label",
        f"{words} alone tells the label: guessing by it gives a mean recall of {value:.0%}, where chance gives "
        f"{chance:.0%}. A model may have learnt it in place of what the images show.",
        known.rows(places),
        value - chance,
        low - chance,
        high - chance,
        "mean recall of guessing by the property less that of chance",
        "chance",
        "guessed on one half of the rows, counted on the other",
        "make the property the same for all classes (resize, normalise, crop), train again, and compare",
        errors=int(known.wrong[places].sum()),
        p_value=float(scipy.stats.norm.sf((value - chance) / null)),
        needed=("images",),
        explains=False,
    )


def _guess(place: NDArray[np.int64], label: IntArray, asked: NDArray[np.int64]) -> IntArray:
    """For each place the class with the largest share of its rows there."""
    size = (max(int(place.max()), int(asked.max())) + 1, int(label.max()) + 1)
    counts = np.bincount(place * size[1] + label, minlength=size[0] * size[1]).reshape(size)
    return np.asarray((counts / np.maximum(counts.sum(0), 1)).argmax(1)[asked], np.int64)
