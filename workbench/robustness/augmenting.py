"""Train images changed at random, as an augmentation of one kind would change them, with the model's features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workbench.core.predictions import Predictions
from workbench.core.records import ImageArray, ImageSet, IntArray, Precision
from workbench.models.classifier import Classifier
from workbench.models.match import match_classes
from workbench.models.predict import predict
from workbench.robustness.changes import Change, apply
from workbench.robustness.kinds import ChangeKind


def augmented(
    classifier: Classifier,
    images: ImageSet,
    rows: IntArray,
    kind: ChangeKind,
    strength: float,
    *,
    precision: Precision = "float32",
    seed: int = 0,
) -> Predictions:
    """Predictions with embeddings of images ``rows`` after one change each, in the order of ``rows`` ``(n,)``.

    The direction is drawn at random, and the strength evenly from 0 to ``strength``.

    Raises
    ------
    DataError
        If a row has no image, or one can't be read.
    """
    seen = classifier.seen(match_classes(images, classifier.classes))
    generator = np.random.default_rng(seed)
    variants = generator.integers(len(kind.variants), size=len(rows))
    share = np.ones(len(rows)) if kind.is_switch else 1 - generator.random(len(rows))  # above 0, up to 1
    strengths = [max(1.0, kind.rounded(one)) if kind.whole else one for one in (share * strength).tolist()]
    drawn = zip(variants, strengths, rows.tolist(), strict=True)
    changes = [kind.variants[variant](one).seeded(row) for variant, one, row in drawn]
    position = {int(row): place for place, row in enumerate(seen.rows)}
    label = np.array([seen.labels[position[int(row)]] for row in rows], np.int64)
    changed = ImageSet(_Changed(seen, rows, changes), label, seen.classes, seen.split, seen.fingerprint, rows)
    return predict(replace(classifier, fit=None), changed, precision=precision)


class _Changed:
    """Images of some rows, each changed when it is asked for."""

    def __init__(self, images: ImageSet, rows: IntArray, changes: Sequence[Change]) -> None:
        self.images, self.ids, self.changes = images, rows, changes

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int, /) -> ImageArray:
        return apply(self.images.image(int(self.ids[place])), self.changes[place])
