"""Repairs that would raise the accuracy, by their forecasts."""

from __future__ import annotations

import numpy as np

from workbench.analysis.forecasts import ACCURACY, RepairForecast
from workbench.core.records import IntArray
from workbench.findings.known import Known
from workbench.findings.record import Finding, Forecast, Found

LEVEL = 0.05
MISSING = (
    "repairs: what actions would bring (python -m workbench forecast --out DIR, then --forecasts DIR or "
    "workbench.with_forecasts(run, DIR))"
)


def find(known: Known) -> Found:
    """Actions on train rows whose forecast of accuracy lies above 0.

    Averaging models and changed copies are reported by the rules *unsettled* and *fragile*. Of the actions after which
    the network is trained again, those whose 95 % interval (with the noise of training) lies above 0 and whose exact
    McNemar test holds when multiplied by their number (Bonferroni). The rows are the errors that the action corrects in
    the forecast. That an action would correct them does not say why they are made, so that they do not count as
    explained.
    """
    if not known.forecasts:
        return Found(missing=(MISSING,))
    tried = [one for one in known.forecasts if one.trains and one.measure == ACCURACY]
    held = [one for one in tried if one.low > 0 and one.p_value is not None and one.p_value * len(tried) <= LEVEL]
    return Found([_finding(known, one) for one in held], len(tried))


def _finding(known: Known, one: RepairForecast) -> Finding:
    rows = _errors(known, one.fixed)
    net = len(one.fixed) - len(one.broken)
    return Finding(
        "repairs",
        one.action,
        f"{len(one.fixed):,} answers would be corrected and {len(one.broken):,} broken by this repair, if the features "
        f"stay: {one.action}.",
        rows,
        one.gain,
        one.low,
        one.high,
        "forecast of the change of accuracy",
        "the same model without the repair",
        f"{one.basis}; exact McNemar test",
        one.action,
        errors=len(rows),
        cost=float(max(0, net)),
        p_value=one.p_value,
        forecast=Forecast(one.gain, one.low, one.high, one.basis),
        needed=("forecasts",),
        explains=False,
    )


def _errors(known: Known, fixed: IntArray) -> IntArray:
    """Row ids of errors, of those judged, that a repair corrects."""
    errors = known.rows(known.wrong)
    return errors[np.isin(errors, fixed)]
