"""The explorer's views as figures and files to download."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import figures
from workbench.analysis.calibration import reliability
from workbench.analysis.classes import class_report
from workbench.analysis.compare import compare
from workbench.analysis.confusion import confusion_matrix
from workbench.attribution.attribute import attribute
from workbench.attribution.registry import method_of
from workbench.attribution.targets import has_target, targets_of
from workbench.core.records import Attribution
from workbench.core.stamp import stamp_of
from workbench.errors import DataError
from workbench.explorer.state import ExplorerState
from workbench.explorer.words import NEIGHBOURS, PRINCIPAL
from workbench.findings.pictures import pictures_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from workbench.models.classifier import Classifier

GALLERY_IMAGES = 40
GRID_IMAGES = 12
SHOWN = 10  # findings in a figure


def figure_bytes(state: ExplorerState, view: str, kind: str, classifier: Classifier | None = None) -> bytes:
    """The figure of a view as the bytes of a ``png``, ``svg`` or ``pdf`` file; see `figure`."""
    parameters = {"view": view, "selection": state.selection}
    stamp = stamp_of(state.run.predictions, "explorer", f"{view}.{kind}", parameters)
    return figures.encode(figure(state, view, classifier), kind, stamp)


def figure(state: ExplorerState, view: str, classifier: Classifier | None = None) -> Figure:
    """A view as a figure for a paper.

    ``matrix``, ``classes``, ``calibration``, ``compare`` and ``findings`` (the ten most costly) are of the whole run;
    ``gallery`` has the first 40 selected images; ``map`` rings all selected ones; ``detail`` has a row for each picked
    image (at most 12; for the image shown if none is picked) and a column for each method, layer and target.
    ``classifier`` replaces the run's.

    Raises
    ------
    DataError
        If the view is unknown, nothing is selected, or the data that it needs are missing.
    """
    predictions = state.run.predictions
    drawn: dict[str, Callable[[], Figure]] = {
        "matrix": lambda: figures.figure_of(figures.confusion_matrix(confusion_matrix(predictions))),
        "classes": lambda: figures.figure_of(figures.class_error_rates(class_report(confusion_matrix(predictions)))),
        "calibration": lambda: figures.figure_of(figures.reliability(reliability(predictions))),
        "findings": lambda: _findings(state),
        "compare": lambda: _comparison(state),
        "gallery": lambda: _gallery(state),
        "map": lambda: _map(state),
        "detail": lambda: comparison_grid(state, classifier),
    }
    if view not in drawn:
        raise DataError(f"figure: expected one of {', '.join(drawn)}, not {view!r}")
    return drawn[view]()


def _findings(state: ExplorerState) -> Figure:
    found = state.findings
    return figures.findings(found.table().head(SHOWN), pictures_of(state.run, found[:SHOWN]))


def _comparison(state: ExplorerState) -> Figure:
    if state.compared is None:
        raise DataError("There is no second run: open Explorer(run, compared=other)")
    return figures.figure_of(figures.outcomes(compare(state.run.predictions, state.compared.predictions)))


def _gallery(state: ExplorerState) -> Figure:
    rows = state.rows[:GALLERY_IMAGES]
    if state.run.images is None or len(rows) == 0:
        why = "no image is selected" if len(rows) == 0 else "the images are not on this machine"
        raise DataError(f"No figure: {why}")
    return figures.image_grid(state.run.images, state.run.predictions, rows)


def _map(state: ExplorerState) -> Figure:
    name = NEIGHBOURS if NEIGHBOURS in state.maps else PRINCIPAL
    predictions = state.run.predictions
    order = np.argsort(predictions.index, kind="stable")
    chosen = np.isin(predictions.index[order], state.rows)
    return figures.figure_of(
        figures.embedding_map(state.place_map(name), predictions.label[order], predictions.classes, chosen)
    )


def comparison_grid(state: ExplorerState, classifier: Classifier | None = None) -> Figure:
    """Images × methods × targets: a row for each picked image, columns that share one scale per method and layer.

    Raises
    ------
    DataError
        If no image is picked or shown, or there are no images or no model.
    """
    run, rows = state.run, state.picked[:GRID_IMAGES]
    classifier = classifier or run.classifier
    if run.images is None or classifier is None:
        raise DataError("No figure: maps need the images and the model.")
    if len(rows) == 0:
        raise DataError("No figure: choose an image, or pick several in the gallery.")
    columns: dict[str, Attribution] = {}
    chosen, seen = state.selection, classifier.seen(run.images)
    pixels = seen.stack(rows)
    for name in chosen["methods"]:
        method = method_of(name)
        layers = method.layer_names(classifier, chosen["layers"]) if method.at_layer else []
        for target in chosen["targets"]:
            if not has_target(run.predictions, rows, target):
                continue
            wanted = targets_of(run.predictions, rows, target)
            found = attribute(classifier, pixels, rows, wanted, method.name, layers=layers)
            columns |= {"\n".join(filter(None, (maps.title, layer, target))): maps for layer, maps in found.items()}
    if not columns:
        raise DataError("No figure: a contrast needs misclassified images: pick some, or choose another target.")
    return figures.attribution_grid(seen, run.predictions, columns, signed=None)


def json_bytes(values: Any) -> bytes:
    """Values as the bytes of a JSON file."""
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()
