"""Repairs that would raise the accuracy, by their forecasts."""

from __future__ import annotations

import numpy as np

from workbench.analysis.forecasts import ACCURACY, SLICE, RepairForecast
from workbench.analysis.index import row_ids, select
from workbench.core.records import Query
from workbench.findings.known import Known
from workbench.findings.record import Finding, Forecast, Found

LEVEL = 0.05
MISSING = (
    "repairs: what actions would bring (python -m workbench forecast --out DIR, then --forecasts DIR or "
    "workbench.with_forecasts(run, DIR))"
)


def find(known: Known) -> Found:
    """Actions on train rows whose forecast of accuracy lies above 0.

    Averaging models and changed copies are reported by the rules *unsettled* and *fragile*, the weighting of a slice
    that was found on these rows with the slice. Of the actions after which
    the network is trained again, those whose 95 % interval (with the noise of training) lies above 0 and whose p-value
    holds when multiplied by their number (Bonferroni). The rows are the errors that the action corrects in
    the forecast. That an action would correct them does not say why they are made, so that they do not count as
    explained.
    """
    if not known.forecasts:
        return Found(missing=(MISSING,))
    tried = [one for one in known.forecasts if one.trains and one.measure == ACCURACY and one.kind != SLICE]
    held = [one for one in tried if one.low > 0 and one.p_value is not None and one.p_value * len(tried) <= LEVEL]
    return Found([_finding(known, one) for one in held], len(tried))


def _finding(known: Known, one: RepairForecast) -> Finding:
    errors, test = known.rows(known.wrong), "McNemar's exact test"
    if len(one.fixed):
        rows = errors[np.isin(errors, one.fixed)]
        sentence = (
            f"Fitted again after this repair, the last layer corrects {len(one.fixed):,} rows and breaks "
            f"{len(one.broken):,}: {one.action}."
        )
    else:  # more of a class: no fit has the new rows
        of_class = Query(where=one.where, wrong_only=True, order="index", descending=False)
        rows = row_ids(select(known.predictions, of_class))
        test = "sign test of what the last doubling brought"
        sentence = f"The learning curve of the last layer forecasts a gain: {one.action}."
    return Finding(
        "repairs",
        one.action,
        sentence,
        rows,
        one.gain,
        one.low,
        one.high,
        "forecast of the change of accuracy",
        "the same model without the repair",
        f"{one.basis}; {test} and the noise of training",
        one.action,
        errors=len(rows),
        cost=max(0.0, one.gain * len(known.label)),
        p_value=one.p_value,
        forecast=Forecast(one.gain, one.low, one.high, one.basis),
        needed=("forecasts",),
        explains=False,
    )
