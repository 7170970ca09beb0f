"""Calibration."""

from __future__ import annotations

from workbench import figures
from workbench.analysis.calibration import class_reliability, reliability, risk_coverage
from workbench.reports.bundle import Bundle
from workbench.reports.material import NO_PROBABILITIES, Material


def section(material: Material) -> Bundle:
    """Reliability overall and of each class, and risk against coverage; beside a second model's, if there is one."""
    predictions = material.predictions
    if not predictions.has_probabilities:
        return Bundle(omitted=[f"calibration: {NO_PROBABILITIES}"])
    diagram, curve = reliability(predictions), risk_coverage(predictions)
    other = (
        None if material.compared is None or not material.compared.has_probabilities else reliability(material.compared)
    )
    of_classes = class_reliability(predictions)
    classes = predictions.classes
    return Bundle(
        figures={
            "reliability": lambda: figures.figure_of(figures.reliability(diagram, compared=other)),
            "risk_coverage": lambda: figures.figure_of(figures.risk_coverage(curve)),
            "class_calibration": lambda: figures.figure_of(figures.class_calibration(classes, of_classes)),
        },
        metrics={"ece_per_class": dict(zip(classes, (d.ece for d in of_classes), strict=True))},
    )
