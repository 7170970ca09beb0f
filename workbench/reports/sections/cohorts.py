"""The cohorts saved beside the run."""

from __future__ import annotations

from workbench.analysis.cohorts import cohort_rates
from workbench.analysis.models import agreement, differences
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material
from workbench.runs.cohorts import cohorts


def section(material: Material) -> Bundle:
    """The error rate of each cohort against all other rows; with a second model the change within those of both kinds.

    With a second model also how often both predict the same class. Of a cohort of errors alone, or of none, there is no
    change: any other model does better on rows that were chosen because this one misclassifies them.
    """
    groups = cohorts(material.run).groups
    if not groups:
        return Bundle()
    rates = cohort_rates(material.predictions, groups)
    tables = {"cohorts": rates}
    if material.compared is not None:
        mixed = rates.filter((rates["errors"] > 0) & (rates["errors"] < rates["rows"]))["cohort"]
        chosen = {name: groups[name] for name in mixed}
        tables["comparison_cohorts"] = differences(material.predictions, material.compared, chosen)
        tables["agreement_cohorts"] = agreement(material.predictions, material.compared, groups)
    return Bundle(tables=tables, metrics={"cohorts": {row["cohort"]: row for row in rates.to_dicts()}})
