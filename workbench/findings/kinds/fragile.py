"""Errors that a harmless change of the image corrects."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.analysis.statistics import newcombe, wilson_interval
from workbench.findings.known import Known
from workbench.findings.record import Finding, Forecast, Found

LEAST_SHARE = 0.05
MISSING = (
    "fragile: how answers change with the image (python -m workbench robustness --out DIR, then --robustness DIR or "
    "workbench.with_robustness(run, DIR))"
)


def find(known: Known) -> Found:
    """Errors that at least one change corrects which leaves 99 % of the correct answers alone.

    A count, not a test: near its limits every model has such answers. It is reported where the share of the errors is
    at least 5 % by Wilson's interval and exceeds the share of correct rows that the same changes break, others than
    those that the changes were chosen on (Newcombe's interval of the difference above 0). Near a limit between
    classes is where an error lies, not why it is made: its rows do not count as explained. The forecast is what
    averaging over changed copies was seen to bring.
    """
    measured = {} if known.robustness is None else known.robustness.values
    of_errors = measured.get("fragility")
    if of_errors is None or "harmless_corrects" not in known.columns:
        return Found(missing=(MISSING,))
    corrects = known.array("harmless_corrects").astype(np.float64)
    tried = known.wrong & np.isfinite(corrects)
    fragile = tried & (np.nan_to_num(corrects) > 0)
    count, errors = int(fragile.sum()), int(tried.sum())
    broken, correct = of_errors["correct_rows_broken"], of_errors["correct_rows"]
    if not errors or not correct or wilson_interval(count, errors)[0] < LEAST_SHARE:
        return Found()
    more, low, high = newcombe(count, errors, broken, correct)
    if low <= 0:
        return Found()
    changes, forecast = of_errors["tried"], _forecast(measured.get("consistency"))
    return Found(
        [
            Finding(
                "fragile",
                "corrected by a harmless change",
                f"{count} of {errors} errors are fragile: at least one of {changes} changes corrects them that each "
                f"leave about 99% of the correct answers alone; of {correct} correct images these break {broken} "
                f"({broken / correct:.0%}).",
                known.rows(fragile),
                more,
                low,
                high,
                "share of the errors corrected less share of correct rows broken",
                f"{correct} correct rows, others than those that the changes were chosen on",
                "an intervention: the images were changed and predicted again",
                _advice(forecast, measured.get("consistency")),
                errors=count,
                cost=max(0.0, count - errors * broken / correct),
                forecast=forecast,
                needed=("robustness",),
                explains=False,
            )
        ]
    )


def _forecast(averaged: dict[str, Any] | None) -> Forecast | None:
    """What averaging over changed copies brought, on rows drawn at random."""
    if averaged is None:
        return None
    drawn = "rows drawn at random" if averaged["sample"] else "rows, all of them"
    what = "the image and its harmless changes" if averaged["harmless"] else "the image, its flip and small shifts"
    basis = f"mean over {averaged['passes']} copies ({what}), counted on {averaged['rows']} {drawn}"
    return Forecast(averaged["gain"], averaged["low"], averaged["high"], basis)


def _advice(forecast: Forecast | None, averaged: dict[str, Any] | None) -> str:
    if forecast is None or averaged is None:
        return (
            "measure whether averaging over changed copies helps (python -m workbench robustness --parts consistency)"
        )
    if forecast.low > 0:
        return f"average over changed copies of each image, at {averaged['passes']} times the cost"
    return f"averaging over changed copies {forecast.verdict}"
