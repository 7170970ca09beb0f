"""What averaging over changed copies of an image, test-time augmentation, corrects and breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.compare import newcombe_paired
from workbench.analysis.statistics import mcnemar, wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import ImageArray, ImageSet, IntArray, Precision, ProbabilityArray
from workbench.errors import DataError
from workbench.images.batches import batches
from workbench.models.classifier import Classifier
from workbench.models.match import match_classes
from workbench.robustness.changes import Change, apply, probabilities

BATCH_BYTES = 2**25  # of images at once
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Consistency:
    """The answers of the mean over an image and its changed copies, against those of the image alone, on some rows.

    Parameters
    ----------
    rows : int64 array (n,)
        Row ids.
    before, after : int64 array (n,)
        Predicted classes of the image alone, and of the mean of the probabilities.
    label : int64 array (n,)
    unanimous : bool array (n,)
        Whether every copy is predicted as the same class.
    changes : tuple of Change
        What is averaged over beside the image itself.
    """

    rows: IntArray
    before: IntArray
    after: IntArray
    label: IntArray
    unanimous: NDArray[np.bool_]
    changes: tuple[Change, ...]

    @property
    def fixed(self) -> int:
        """Errors that the mean corrects."""
        return int(((self.before != self.label) & (self.after == self.label)).sum())

    @property
    def broken(self) -> int:
        """Correct rows that the mean misclassifies."""
        return int(((self.before == self.label) & (self.after != self.label)).sum())

    @property
    def gain(self) -> tuple[float, float, float]:
        """Accuracy after less accuracy before, with its 95 % interval (Newcombe 1998, paired proportions)."""
        both = int(((self.before == self.label) & (self.after == self.label)).sum())
        neither = len(self.rows) - both - self.fixed - self.broken
        interval = newcombe_paired(both, self.fixed, self.broken, neither)
        return (self.fixed - self.broken) / len(self.rows), *interval

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test."""
        return mcnemar(self.broken, self.fixed).p_value

    @property
    def passes(self) -> int:
        """How many forward passes an answer costs."""
        return 1 + len(self.changes)

    def to_json(self) -> dict[str, object]:
        """What the rows count as JSON values."""
        value, low, high = self.gain
        return {
            "rows": len(self.rows),
            "changes": [change.code() for change in self.changes],
            "passes": self.passes,
            "fixed": self.fixed,
            "broken": self.broken,
            "gain": value,
            "low": low,
            "high": high,
            "p_value": self.p_value,
            "unanimous": float(self.unanimous.mean()),
        }

    def __str__(self) -> str:
        value, low, high = self.gain
        least, most = (float(bound) for bound in wilson_interval(self.unanimous.sum(), len(self.rows)))
        alike = self.unanimous.mean()
        return (
            f"the mean over {self.passes} copies corrects {self.fixed:,} and breaks {self.broken:,} of "
            f"{len(self.rows):,} answers: accuracy changes by {100 * value:+.2f} points ({100 * low:+.2f} to "
            f"{100 * high:+.2f}; McNemar's exact p = {self.p_value:.2g}), at {self.passes} times the cost; "
            f"{alike:.1%} of the rows ({least:.1%} to {most:.1%}) have one answer in all copies"
        )


def usual_changes(side: int) -> tuple[Change, ...]:
    """The flip, and shifts in four directions by a sixteenth of the side in pixels."""
    far = max(1, round(side / 16))
    shifts = ((far, 0), (-far, 0), (0, far), (0, -far))
    return (Change(flip=True), *(Change(shift=shift) for shift in shifts))


def consistency(
    classifier: Classifier,
    images: ImageSet,
    predictions: Predictions,
    rows: IntArray | None = None,
    *,
    changes: Sequence[Change] | None = None,
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> Consistency:
    """The mean of the probabilities over an image and its changed copies, against the image alone.

    Parameters
    ----------
    classifier, images, predictions : Classifier, ImageSet, Predictions
    rows : int64 array (n,), optional
        Row ids; default: all.
    changes : sequence of Change, optional
        Default: `usual_changes`. Whether a flip leaves the class alone depends on the classes: it does not for letters;
        the changes that `fragility.fragility` found to be harmless leave the correct answers alone.
    precision : "float32" or "bfloat16"
        Of the model's products.
    progress : function, optional
        Called with the images done and their number.

    Raises
    ------
    DataError
        If no rows or no changes are given, or an image can't be read.
    """
    chosen = predictions.index if rows is None else np.asarray(rows, np.int64)
    made = usual_changes(min(classifier.size)) if changes is None else tuple(changes)
    if not len(chosen) or not made:
        raise DataError(f"consistency: expected rows and changes, not {len(chosen)} rows and {len(made)} changes")
    seen = classifier.seen(match_classes(images, classifier.classes))
    before, after, alike = [], [], []
    done = 0
    size = max(1, BATCH_BYTES // (3 * classifier.size[0] * classifier.size[1]))
    for ids, pixels, bad in batches(seen, chosen, size):
        if bad:
            raise DataError(next(iter(bad.values())))
        found = _of_copies(classifier, pixels, ids, made, precision)
        answers = found.argmax(2)
        before.append(answers[0])
        after.append(found.mean(0).argmax(1))
        alike.append((answers == answers[0]).all(0))
        done += len(pixels)
        if progress is not None:
            progress(done, len(chosen))
    label = np.array([predictions.label[predictions.position(int(row))] for row in chosen], np.int64)
    return Consistency(chosen, np.concatenate(before), np.concatenate(after), label, np.concatenate(alike), made)


def _of_copies(
    classifier: Classifier, images: ImageArray, ids: IntArray, changes: Sequence[Change], precision: Precision
) -> ProbabilityArray:
    """Probabilities of the images and of their changed copies, float32 ``(1 + len(changes), n, K)``."""
    found = [probabilities(classifier, images, precision)]
    for change in changes:
        copies = [apply(image, change.seeded(int(row))) for image, row in zip(images, ids, strict=True)]
        found.append(probabilities(classifier, np.stack(copies), precision))
    return np.stack(found)
