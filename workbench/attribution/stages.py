"""Grad-CAM of some rows at every stage of the model."""

from __future__ import annotations

from workbench.attribution.attribute import attribute
from workbench.attribution.targets import targets_of
from workbench.core.records import Attribution, IntArray
from workbench.errors import DataError
from workbench.runs.run import Run


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
