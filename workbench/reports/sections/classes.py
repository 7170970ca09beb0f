"""Confusion and class rates."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench import figures
from workbench.analysis.classes import class_report
from workbench.analysis.confusion import asymmetries, confusion_matrix
from workbench.analysis.index import error_index
from workbench.analysis.summary import metrics
from workbench.core.records import ClassReport
from workbench.figures.classes import SHOWN_CLASSES
from workbench.reports.bundle import INDEX, Bundle
from workbench.reports.material import Material


def section(material: Material) -> Bundle:
    """Confusion matrix, rates of each class with intervals, asymmetric pairs, the index of errors and all metrics."""
    predictions = material.predictions
    matrix = confusion_matrix(predictions)
    rates, uneven = class_report(matrix), asymmetries(matrix)
    whole = {"confusion_matrix_whole": lambda: figures.figure_of(figures.whole_matrix(matrix))}
    return Bundle(
        figures={
            **(whole if len(matrix.classes) > SHOWN_CLASSES else {}),
            "confusion_matrix": lambda: figures.figure_of(figures.confusion_matrix(matrix)),
            "confusion_matrix_by_true_class": lambda: figures.figure_of(figures.confusion_matrix(matrix, by="true")),
            "class_error_rates": lambda: figures.figure_of(figures.class_error_rates(rates)),
            "class_rates": lambda: figures.figure_of(figures.class_rates(rates)),
            "asymmetries": lambda: figures.figure_of(figures.asymmetries(uneven, predictions.classes)),
        },
        tables={
            "class_report": _table(rates),
            "asymmetries": uneven.with_columns(material.class_names("first"), material.class_names("second")),
            INDEX: error_index(predictions),
        },
        metrics=metrics(predictions, validation=material.validation),
    )


def _table(rates: ClassReport) -> pl.DataFrame:
    columns: dict[str, Any] = {"class": rates.classes, "support": rates.support, "errors": rates.errors}
    for name in ("error_rate", "precision", "recall", "f1"):
        rate = getattr(rates, name)
        columns |= {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}
    return pl.DataFrame(columns)
