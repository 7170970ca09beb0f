"""How the answers change with the image, as far as that was measured."""

from __future__ import annotations

from typing import Any

from workbench import figures
from workbench.analysis.robustness import COLUMNS
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material

MISSING = "robustness: it was not measured (python -m workbench robustness --out DIR, then --robustness DIR)"
MEASURED = ("corruptions", "fragility", "consistency")


def section(material: Material) -> Bundle:
    """Accuracy under corruptions, the smallest changes that flip each answer, and test-time augmentation."""
    measured = material.run.robustness
    if measured is None:
        return Bundle(omitted=[MISSING])
    metrics: dict[str, Any] = {name: measured.values[name] for name in MEASURED if name in measured.values}
    bundle = Bundle(metrics={"robustness": metrics})
    if measured.curves is not None:
        curves = measured.curves
        bundle.tables["corruptions"] = curves
        bundle.figures["corruptions"] = lambda: figures.corruption_curves(curves)
    if measured.fragility is not None:
        names = ("index", "label", "predicted", *COLUMNS)
        table = material.predictions.columns(*names)
        bundle.tables["fragility"] = table.drop_nulls("harmless_flips").sort("smallest_change", nulls_last=True)
    return bundle
