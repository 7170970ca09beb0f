"""What the model gets wrong, and why: the findings of all kinds."""

from __future__ import annotations

import polars as pl

from workbench import figures
from workbench.findings.causes import causes, where_to_work
from workbench.findings.pictures import pictures_of
from workbench.findings.record import Findings
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material

SHOWN = 10


def section(material: Material) -> Bundle:
    """The findings as records, table and figure; the errors that none explains, and the rules that could not run."""
    found = material.findings
    verdicts = causes(material.predictions, found)
    work = where_to_work(verdicts)
    return Bundle(
        figures={
            "findings": lambda: figures.findings(found.table().head(SHOWN), pictures_of(material.run, found[:SHOWN])),
            "causes": lambda: figures.figure_of(figures.causes(work)),
        },
        tables={
            "findings": found.table(),
            "remainder": _remainder(material, found),
            "causes": verdicts.with_columns(material.class_names("label"), material.class_names("predicted")),
            "where_to_work": work.with_columns(pl.col("examples").cast(pl.List(pl.String))),
        },
        records={"findings": found.to_json()},
        metrics={"findings": found.summary()},
        omitted=list(found.missing),
    )


def _remainder(material: Material, found: Findings) -> pl.DataFrame:
    predictions = material.predictions
    names = ("index", "label", "predicted", *(("confidence",) if predictions.has_probabilities else ()))
    rows = predictions.columns(*names).filter(pl.col("index").is_in(found.remainder.tolist()))
    return rows.with_columns(material.class_names("label"), material.class_names("predicted"))
