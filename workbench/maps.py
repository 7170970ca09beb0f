"""Maps of a run's errors for figures."""

from __future__ import annotations

import numpy as np

from workbench.attribution.attribute import attribute
from workbench.attribution.targets import targets_of
from workbench.errors import DataError
from workbench.records import Attribution, IntArray
from workbench.run import Run

SAMPLE = 20


def sample_errors(run: Run, count: int = SAMPLE, seed: int = 0) -> IntArray:
    """Row ids of ``count`` misclassified rows drawn without replacement, sorted: a fair sample, not the worst.

    Raises
    ------
    DataError
        If no row is misclassified.
    """
    wrong = run.predictions.index[~run.predictions.correct]
    if len(wrong) == 0:
        raise DataError("no row is misclassified: there is no error to show")
    return np.sort(np.random.default_rng(seed).choice(wrong, min(count, len(wrong)), replace=False))


def stage_maps(run: Run, rows: IntArray) -> dict[str, Attribution]:
    """Grad-CAM of the rows at every stage, for the predicted and for the true class, by column title.

    Raises
    ------
    DataError
        If the run has no images or no model.
    """
    if run.images is None or run.classifier is None:
        raise DataError("Grad-CAM needs the images and the model: give --data and --checkpoint")
    images = run.classifier.seen(run.images).stack(rows)
    columns: dict[str, Attribution] = {}
    for name in ("predicted", "true"):
        targets = targets_of(run.predictions, rows, name)
        maps = attribute(run.classifier, images, rows, targets, layers=list(run.classifier.cam_layers))
        columns |= {f"{layer}\n{name}": attribution for layer, attribution in maps.items()}
    return columns
