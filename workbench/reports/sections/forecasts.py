"""What repairs would bring, as far as that was forecast."""

from __future__ import annotations

import polars as pl

from workbench import figures
from workbench.analysis.forecasts import ACCURACY
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material

MISSING = "forecasts: none were made (python -m workbench forecast --out DIR, then --forecasts DIR)"
COLUMNS = ("kind", "action", "measure", "gain", "low", "high", "basis")


def section(material: Material) -> Bundle:
    """A row for each action, and those of accuracy as a figure."""
    found = material.run.forecasts
    if not found:
        return Bundle(omitted=[MISSING])
    table = pl.DataFrame([{name: getattr(one, name) for name in COLUMNS} for one in found])
    bundle = Bundle(metrics={"forecasts": table.to_dicts()}, tables={"forecasts": table})
    shown = [one for one in found if one.measure == ACCURACY]
    if shown:
        bundle.figures["forecasts"] = lambda: figures.figure_of(figures.forecasts(shown))
    return bundle
