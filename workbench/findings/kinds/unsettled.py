"""Errors that another epoch or another seed does not make."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from workbench.analysis.models import majority, mean_answers
from workbench.analysis.statistics import wilson_interval
from workbench.findings.gains import paired_gain
from workbench.findings.known import Known
from workbench.findings.record import Finding, Forecast, Found

LAST, LEAST, LEAST_SHARE = 10, 4, 0.05
MISSING_EPOCHS = (
    "unsettled: predictions of these rows at each epoch (in dynamics.parquet beside the model: of validation "
    "rows, and of test rows if it was trained with --watch-test)"
)
MISSING_SEED = (
    "unsettled: predictions of another seed of the same recipe (--other-seed, seeds=, or in seeds/N/ beside the model)"
)


def find(known: Known) -> Found:
    """Errors that were correct in some of the last ten epochs, and errors that another seed does not make."""
    parts = [_of_epochs(known), _of_seeds(known)]
    return Found(
        [finding for part in parts for finding in part.candidates],
        sum(part.tests for part in parts),
        [line for part in parts for line in part.missing],
    )


def _of_epochs(known: Known) -> Found:
    if known.epochs is None:
        return Found(missing=(MISSING_EPOCHS,))
    last = known.epochs[:, -LAST - 1 : -1]  # without the last epoch, which may be the judged model's own
    if last.shape[1] < LEAST or not known.wrong.any():
        return Found()
    correct = last == known.label[:, None]
    unsettled = known.wrong & correct.any(1)
    p_value, share, base = _held_out(correct, known.wrong)
    count, errors = int(unsettled.sum()), int(known.wrong.sum())
    if not count:
        return Found(tests=1)
    low, high = wilson_interval(count, errors)
    voted = majority(np.flip(known.epochs[:, -LAST:], 1), len(known.predictions.classes))
    gain = paired_gain(~known.wrong, voted == known.label)
    forecast = Forecast(*gain, basis="majority of the last ten epochs' answers, counted on these rows")
    half = int((correct.mean(1) >= 0.5)[known.wrong].sum())
    never = int((~(known.epochs == known.label[:, None]).any(1) & known.wrong).sum())
    finding = Finding(
        "unsettled",
        "unsettled in late epochs",
        f"{count} of {errors} errors are unsettled: correct in at least one of the {last.shape[1]} epochs before the "
        f"last ({half} in at least half of them); {never} were correct in none of {known.epochs.shape[1]}.",
        known.rows(unsettled),
        count / errors,
        float(low),
        float(high),
        "share of the errors",
        "errors that no late epoch got correct",
        f"held-out epochs: called unsettled by every other epoch, these rows are correct in {share:.0%} of the epochs "
        f"between" + (f", the other errors in {base:.0%}" if np.isfinite(base) else ""),
        _advice(forecast, "the last ten epochs' answers"),
        errors=count,
        cost=float((correct.mean(1) * unsettled).sum()),
        p_value=p_value,
        forecast=forecast,
        needed=("predictions of each epoch",),
    )
    return Found([finding], 1)


def _advice(forecast: Forecast, of: str) -> str:
    """What to do, by what averaging was seen to bring on these rows."""
    return f"average {of}" if forecast.low > 0 else f"averaging {of} {forecast.verdict} on these rows"


def _held_out(correct: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Whether errors that are correct in some of one half of the epochs are so in the other half, too.

    Fisher's exact test, one-sided; then the share of correct answers in the other half, of those errors and of the
    rest.
    """
    first, second = correct[wrong][:, ::2], correct[wrong][:, 1::2]
    named, again = first.any(1), second.any(1)
    table = [
        [int((named & again).sum()), int((named & ~again).sum())],
        [int((~named & again).sum()), int((~named & ~again).sum())],
    ]
    p_value = float(scipy.stats.fisher_exact(table, "greater").pvalue)
    shares = [float(second[mask].mean()) if mask.any() else float("nan") for mask in (named, ~named)]
    return p_value, shares[0], shares[1]


def _of_seeds(known: Known) -> Found:
    if not known.seeds:
        return Found(missing=(MISSING_SEED,))
    others = np.stack([other.predicted for other in known.others], 1) == known.label[:, None]
    variance = known.wrong & others.any(1)
    count, errors = int(variance.sum()), int(known.wrong.sum())
    low, high = wilson_interval(count, errors)
    if low < LEAST_SHARE:  # models that differ in a few rows alone settle nothing
        return Found()
    gain = paired_gain(~known.wrong, mean_answers([known.predictions, *known.others]) == known.label)
    forecast = Forecast(*gain, basis="mean of the models' probabilities, counted on these rows")
    several = "another seed" if len(known.seeds) == 1 else f"at least one of {len(known.seeds)} other seeds"
    return Found(
        [
            Finding(
                "unsettled",
                "correct by another seed",
                f"{count} of {errors} errors are errors of variance: {several} is correct there; the other "
                f"{errors - count} are made by every seed.",
                known.rows(variance),
                count / errors,
                float(low),
                float(high),
                "share of the errors",
                "errors that every seed makes",
                "another seed's predictions of the same rows",
                _advice(forecast, "the models"),
                errors=count,
                cost=float((others.mean(1) * variance).sum()),
                forecast=forecast,
                needed=("predictions of another seed",),
            )
        ]
    )
