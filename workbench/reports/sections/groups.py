"""Groups of classes."""

from __future__ import annotations

from workbench import figures
from workbench.analysis.confusion import confusion_matrix, group_classes
from workbench.analysis.summary import group_metrics
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material


def section(material: Material) -> Bundle:
    """The confusion matrix and rates of groups of classes, if there are any."""
    if not material.groups:
        return Bundle()
    matrix = group_classes(confusion_matrix(material.predictions), material.groups)
    return Bundle(
        figures={"group_confusion_matrix": lambda: figures.figure_of(figures.confusion_matrix(matrix))},
        metrics={"groups": group_metrics(matrix)},
    )
