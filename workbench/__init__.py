"""Explainability and error analysis for image classifiers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Classifier": "workbench.classifier",
    "Dashboard": "workbench.ui.dashboard",
    "Explorer": "workbench.ui.explorer",
    "Run": "workbench.run",
    "analyse": "workbench.run",
    "load_images": "workbench.images",
    "load_weights": "workbench.foreign",
    "open_example": "workbench.run",
    "open_predictions": "workbench.run",
    "open_run": "workbench.run",
    "train_digits": "workbench.run",
    "with_train": "workbench.run",
    "with_votes": "workbench.run",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the package itself loads at once."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")
