"""Predictions and images in which something is wrong on purpose, or nothing is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.runs.run import Run

ROWS, CLASSES, SIDE = 4000, 8, 32
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Planted:
    """A run, the kind that should find what is planted (empty for nothing), and the rows concerned."""

    run: Run
    kind: str
    rows: Mask
    seeds: tuple[Predictions, ...] = ()


class _Draft:
    """Calibrated probabilities whose labels are drawn from them; the classes differ in their error rates."""

    def __init__(self, seed: int, rows: int = ROWS, classes: int = CLASSES) -> None:
        self.random = g = np.random.default_rng(seed)
        self.classes = tuple(f"class {k}" for k in range(classes))
        answer = g.integers(0, classes, rows)
        sharp = g.uniform(3.5, 7.0, classes)[answer]
        scores = g.normal(0, 1, (rows, classes))
        scores[np.arange(rows), answer] += sharp + g.normal(0, 1.5, rows)
        self.probability = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        self.label = self.draw(self.probability)
        self.columns: dict[str, object] = {
            "camera": g.choice(["old", "new", "phone"], rows, p=[0.2, 0.6, 0.2]),
            "hour": g.integers(0, 24, rows),
            "exposure": g.normal(0, 1, rows),
        }
        self.pixels = self._scenes(rows)

    def draw(self, probability: NDArray[np.float64]) -> NDArray[np.int64]:
        return (probability.cumsum(1) > self.random.random(len(probability))[:, None]).argmax(1)

    def _scenes(self, rows: int) -> NDArray[np.uint8]:
        """Smooth noise of differing light and contrast."""
        small = self.random.normal(0, 1, (rows, 8, 8, 3)).astype(np.float32)
        scenes = np.stack([cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for one in small])
        light = self.random.uniform(70, 180, (rows, 1, 1, 1))
        return np.clip(light + self.random.uniform(15, 45, (rows, 1, 1, 1)) * scenes, 0, 255).astype(np.uint8)

    @property
    def predicted(self) -> NDArray[np.int64]:
        return np.asarray(self.probability.argmax(1))

    def fail(self, rows: Mask, rate: float) -> None:
        """Let rows be misclassified at this rate, as confidently as others: other labels for them, chosen at random."""
        failing = rows & (self.random.random(len(rows)) < rate)
        away = self.random.integers(1, len(self.classes), len(rows))
        self.label = np.where(failing, (self.predicted + away) % len(self.classes), self.label)

    def finish(self, kind: str, rows: Mask | None = None, seeds: tuple[Predictions, ...] = ()) -> Planted:
        made = Predictions.from_arrays(self.label, self.probability, self.classes)
        own = pl.DataFrame({"index": made.index, **self.columns})
        images = ImageSet(self.pixels, self.label, self.classes, "test", "0" * 64)
        none = np.zeros(len(self.label), bool)
        return Planted(Run("planted", made.join(own), images), kind, none if rows is None else rows, seeds)


def nothing(seed: int) -> Planted:
    """Class rates alone, and a calibrated model."""
    return _Draft(seed).finish("")


def labels_1(seed: int) -> Planted:
    """One label in a hundred exchanged."""
    return _labels(seed, 0.01)


def labels_5(seed: int) -> Planted:
    """One label in twenty exchanged."""
    return _labels(seed, 0.05)


def _labels(seed: int, share: float) -> Planted:
    draft = _Draft(seed)
    wrong = draft.random.random(ROWS) < share
    away = draft.random.integers(1, CLASSES, ROWS)
    draft.label = np.where(wrong, (draft.label + away) % CLASSES, draft.label)
    return draft.finish("labels", wrong)


def dark_class(seed: int) -> Planted:
    """The dark images of one class fail."""
    draft = _Draft(seed)
    chosen = int(draft.random.integers(CLASSES))
    rows = (draft.label == chosen) & (draft.random.random(ROWS) < 0.3)
    draft.pixels[rows] = (draft.pixels[rows] * 0.35).astype(np.uint8)
    failing = rows & (draft.random.random(ROWS) < 0.7) & (draft.predicted == draft.label)
    _answer_otherwise(draft, failing)
    return draft.finish("slices", rows)


def camera(seed: int) -> Planted:
    """One camera fails."""
    draft = _Draft(seed)
    rows = draft.columns["camera"] == "old"
    _answer_otherwise(draft, rows & (draft.random.random(ROWS) < 0.4) & (draft.predicted == draft.label))
    return draft.finish("slices", rows)


def _answer_otherwise(draft: _Draft, rows: Mask) -> None:
    """Exchange the highest probability for that of another class: the model fails as surely as it was correct."""
    for row in np.flatnonzero(rows):
        best = int(draft.probability[row].argmax())
        other = int((best + draft.random.integers(1, CLASSES)) % CLASSES)
        draft.probability[row, [best, other]] = draft.probability[row, [other, best]]


def copies(seed: int) -> Planted:
    """Forty images are there twice, with another label."""
    draft = _Draft(seed)
    chosen = draft.random.permutation(ROWS)[:80]
    draft.pixels[chosen[40:]] = draft.pixels[chosen[:40]]
    draft.label[chosen[40:]] = (draft.label[chosen[:40]] + draft.random.integers(1, CLASSES, 40)) % CLASSES
    rows = np.zeros(ROWS, bool)
    rows[chosen] = True
    return draft.finish("copies", rows)


def miscalibrated(seed: int) -> Planted:
    """One predicted class is correct less often than its confidence says."""
    draft = _Draft(seed)
    chosen = int(draft.random.integers(CLASSES))
    rows = draft.predicted == chosen
    scores = np.log(draft.probability[rows]) * 2.0
    draft.probability[rows] = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return draft.finish("calibration", rows)


def fragile(seed: int) -> Planted:
    """One class is answered otherwise by every other seed where it is misclassified."""
    draft = _Draft(seed)
    chosen = int(draft.random.integers(CLASSES))
    others = []
    for _ in range(2):
        again = draft.probability.copy()
        wrong = np.flatnonzero((draft.label == chosen) & (draft.predicted != draft.label))
        for row in wrong:
            best, label = int(again[row].argmax()), int(draft.label[row])
            again[row, [best, label]] = again[row, [label, best]]
        others.append(Predictions.from_arrays(draft.label, again, draft.classes))
    rows = (draft.label == chosen) & (draft.predicted != draft.label)
    return draft.finish("unsettled", rows, tuple(others))


MAKERS: Mapping[str, Callable[[int], Planted]] = {
    "nothing": nothing,
    "labels_1": labels_1,
    "labels_5": labels_5,
    "dark_class": dark_class,
    "camera": camera,
    "copies": copies,
    "miscalibrated": miscalibrated,
    "fragile": fragile,
}
