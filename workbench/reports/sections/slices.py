"""Slices of rows on which the model fails more often."""

from __future__ import annotations

from workbench import figures
from workbench.analysis.slices import slice_table, systematic_failures
from workbench.errors import DataError
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material


def section(material: Material) -> Bundle:
    """Slices found on one half of the rows and tested on the other."""
    try:
        found = systematic_failures(material.predictions, material.run.images)
    except DataError as error:
        return Bundle(omitted=[f"slices: {error}"])
    return Bundle(
        figures={"slices": lambda: figures.figure_of(figures.slices(found))}, tables={"slices": slice_table(found)}
    )
