"""A second model on the same rows."""

from __future__ import annotations

import dataclasses

import polars as pl

from workbench import figures
from workbench.analysis.compare import churn_against_seeds, compare, pair_rows, seeds_alike
from workbench.analysis.models import differences, equivalence, models
from workbench.analysis.summary import calibration_metrics, churn_metrics, comparison_metrics
from workbench.core.predictions import Predictions
from workbench.findings.registry import KINDS
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material


def section(material: Material) -> Bundle:
    """Rows fixed and broken, with a test; with other seeds of the first recipe, which of them those change as well."""
    before, after = material.predictions, material.compared
    if after is None:
        return _seeds_alone(material)
    result = compare(before, after)
    changed = pair_rows(before, after).filter(pl.col("outcome").is_in(["fixed", "broken"])).sort("index")
    compared = comparison_metrics(result)
    compared["equivalence"] = dataclasses.asdict(equivalence(result))
    groups = {finding.subject: finding.rows for finding in material.findings if KINDS[finding.kind].groups}
    if before.has_probabilities and after.has_probabilities:
        compared["calibration"] = {"before": calibration_metrics(before), "after": calibration_metrics(after)}
    metrics = {"comparison": compared}
    table = changed.collect(engine="streaming")
    if material.seeds:
        metrics["churn"] = churn_metrics(churn_against_seeds([before, *material.seeds], after))
        table = table.with_columns(other_seeds=seeds_alike(table, material.seeds))
        again = table.group_by("outcome").agg((pl.col("other_seeds") > 0).sum())
        compared["also_changed_by_other_seeds"] = dict(again.sort("outcome").iter_rows())
    return Bundle(
        figures={
            "comparison": lambda: figures.figure_of(figures.outcomes(result)),
            "comparison_classes": lambda: figures.figure_of(figures.class_differences(result)),
        },
        tables={
            "comparison": table.with_columns(*(material.class_names(name) for name in ("label", "before", "after"))),
            "comparison_findings": differences(before, after, groups),
            "models": models({"before": before, **_seeds(material), "after": after}),
        },
        metrics=metrics,
    )


def _seeds(material: Material) -> dict[str, Predictions]:
    return {f"seed {number}": one for number, one in enumerate(material.seeds, 2)}


def _seeds_alone(material: Material) -> Bundle:
    """The first model beside other seeds of its recipe, with their majority and ensemble."""
    if not material.seeds:
        return Bundle()
    return Bundle(tables={"models": models({"model": material.predictions, **_seeds(material)})})
