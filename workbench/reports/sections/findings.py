"""What the model gets wrong, and why: the findings of all kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from workbench import figures
from workbench.findings.causes import causes, where_to_work
from workbench.findings.find import find
from workbench.findings.record import Finding, Findings
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material

if TYPE_CHECKING:
    from workbench.core.records import ImageArray

SHOWN, PICTURES = 10, 6


def section(material: Material) -> Bundle:
    """The findings as records, table and figure; the errors that none explains, and the rules that could not run."""
    found = find(material.run, seeds=material.seeds, features=material.features)
    verdicts = causes(material.predictions, found)
    work = where_to_work(verdicts)
    return Bundle(
        figures={
            "findings": lambda: figures.findings(found.table().head(SHOWN), _pictures(material, found)),
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


def _pictures(material: Material, found: Findings) -> list[list[ImageArray]] | None:
    """Some images of each finding: a random sample of its errors, or of its rows where it has none."""
    images = material.run.images
    if images is None:
        return None
    return [[images.image(int(row)) for row in _sample(material, finding)] for finding in found[:SHOWN]]


def _sample(material: Material, finding: Finding) -> list[int]:
    predictions = material.predictions
    wrong = finding.rows[np.isin(finding.rows, predictions.index[~predictions.correct])]
    among = wrong if len(wrong) else finding.rows
    chosen = np.random.default_rng(0).permutation(len(among))[:PICTURES]
    return [int(row) for row in among[np.sort(chosen)]]
