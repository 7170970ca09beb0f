"""Where the model looks in a selection of rows, and whether it needs that place more than elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.core.predictions import Predictions
from workbench.core.records import IntArray
from workbench.errors import DataError
from workbench.evidence.groups import Effect, SharedPlace, shared_place
from workbench.explorer.replies import Reply, images_here
from workbench.models.classifier import Classifier
from workbench.runs.run import Run

METHOD = "Grad-CAM"
MOST, BESIDE, FEWEST = 48, 24, 10  # images of the group and beside it, and the fewest to say anything


def group_reply(run: Run, rows: Sequence[int], classifier: Classifier, *, seed: int = 0) -> Reply:
    """The mean map of a random sample of rows with its causal check, beside that of other rows of their kind.

    Where all rows are misclassified, the lead of the predicted class over the true one is explained, and the others are
    other errors; else the predicted class, and any other rows. See `evidence.groups.shared_place`.

    Raises
    ------
    DataError
        If there are fewer than ten rows, or no images.
    AttributionError
        If the model has no maps of this kind.
    """
    predictions, images = run.predictions, classifier.seen(images_here(run.images))
    generator = np.random.default_rng(seed)
    inside = np.isin(predictions.index, np.asarray(rows, np.int64))
    if inside.sum() < FEWEST:
        raise DataError(f"What these images share: expected at least {FEWEST} images, not {inside.sum()}")
    errors = not predictions.correct[inside].any()
    places = generator.permutation(np.flatnonzero(inside))[:MOST]
    beside = np.flatnonzero(~inside & ~(predictions.correct & errors))
    beside = generator.permutation(beside)[:BESIDE]
    chosen = predictions.index[places]
    pixels, targets = images.stack(chosen), _targets(predictions, places, contrast=errors)
    ((layer, maps),) = attribute(classifier, pixels, chosen, targets, METHOD).items()
    others = None
    if len(beside) >= FEWEST // 2:
        others = images.stack(predictions.index[beside]), _targets(predictions, beside, contrast=errors)
    found = shared_place(classifier, maps, pixels, others, seed=seed)
    reply = {
        "title": "the predicted rather than the true class" if errors else "the predicted class",
        "method": METHOD,
        "layer": layer,
        "grid": list(found.mean.shape),
        "signed": maps.two_sided,
        "side": len(found.region),
        "sentences": sentences(found, errors, len(places)),
        "special": bool(found.special),
    }
    return reply, [np.ascontiguousarray(found.mean, np.float32).tobytes(), found.region.astype(np.uint8).tobytes()]


def _targets(predictions: Predictions, places: IntArray, *, contrast: bool) -> Targets:
    return Targets(predictions.predicted[places], predictions.label[places] if contrast else None)


def sentences(found: SharedPlace, errors: bool, count: int) -> list[str]:
    """What was done, what came out, and what follows from it."""
    half, what = count // 2, "the lead of the predicted class" if errors else "the predicted class's score"
    kind = "errors" if errors else "images"
    effect = found.effect
    place = f"the outlined {effect.share:.0%} of the area".replace("%", " %")
    said = [
        f"Mean of {half} {METHOD} maps of this selection.",
        f"In {count - half} others of it, filling in {place} lowers {what} by {_more(effect)} logits more than "
        "filling in as much elsewhere.",
    ]
    if found.others is not None:
        said.append(f"In {len(found.others.drop)} {kind} outside the selection: {_more(found.others)}.")
    if not effect.shown:
        said.append("So no place that these images share is shown to matter.")
    elif found.special:
        said.append(f"So the model relies on that place here more than in the other {kind}.")
    elif found.others is None:
        said.append("So the model relies on that place; there is nothing outside to compare with.")
    else:
        said.append(f"So the model relies on that place, but is not shown to do so more than in the other {kind}.")
    return said


def _more(effect: Effect) -> str:
    words = f"{effect.difference:.2f} ({effect.low:.2f} to {effect.high:.2f})"
    return words.replace("-", "−")
