"""Explainability and error analysis for image classifiers.

Public names load when they are first used, so that the package itself loads at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from workbench.moved import install

if TYPE_CHECKING:
    from workbench.explorer.dashboard import Dashboard
    from workbench.explorer.widget import Explorer
    from workbench.findings.find import find as findings
    from workbench.images import load_images
    from workbench.models.classifier import Classifier
    from workbench.models.making import classifier_of
    from workbench.models.references import with_references
    from workbench.models.weights import load_weights
    from workbench.runs.cohorts import cohorts
    from workbench.runs.examples import open_example, train_digits
    from workbench.runs.ood import out_of_distribution
    from workbench.runs.opening import analyse, open_predictions, open_run, with_train
    from workbench.runs.run import Run, with_device, with_forecasts, with_robustness, with_votes

__all__ = [
    "Classifier",
    "Dashboard",
    "Explorer",
    "Run",
    "analyse",
    "classifier_of",
    "cohorts",
    "findings",
    "load_images",
    "load_weights",
    "open_example",
    "open_predictions",
    "open_run",
    "out_of_distribution",
    "train_digits",
    "with_device",
    "with_forecasts",
    "with_references",
    "with_robustness",
    "with_train",
    "with_votes",
]
_HOMES = {
    "Classifier": "workbench.models.classifier",
    "Dashboard": "workbench.explorer.dashboard",
    "Explorer": "workbench.explorer.widget",
    "Run": "workbench.runs.run",
    "analyse": "workbench.runs.opening",
    "classifier_of": "workbench.models.making",
    "cohorts": "workbench.runs.cohorts",
    "findings": "workbench.findings",
    "out_of_distribution": "workbench.runs.ood",
    "load_images": "workbench.images",
    "load_weights": "workbench.models.weights",
    "open_example": "workbench.runs.examples",
    "open_predictions": "workbench.runs.opening",
    "open_run": "workbench.runs.opening",
    "train_digits": "workbench.runs.examples",
    "with_device": "workbench.runs.run",
    "with_references": "workbench.models.references",
    "with_forecasts": "workbench.runs.run",
    "with_robustness": "workbench.runs.run",
    "with_train": "workbench.runs.opening",
    "with_votes": "workbench.runs.run",
}
install()


if not TYPE_CHECKING:  # a checker of types knows the names above, and that there are no others

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used."""
        if name in _HOMES:
            home = import_module(_HOMES[name])
            return home if name == "findings" else getattr(home, name)  # the package itself is called
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
