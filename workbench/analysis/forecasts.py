"""What a repair would bring, before it is made: forecasts of actions from predictions and frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from workbench.analysis.compare import newcombe_paired
from workbench.analysis.robustness import check_origin
from workbench.analysis.statistics import Z_95, paired_interval, sign_test
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray
from workbench.core.texts import read_json
from workbench.errors import DataError

MANIFEST = "forecasts.json"
LEAST_JUDGED, BOOTSTRAPPED = 50, 20_000
SLICE = "slice"  # the kind of a forecast for a slice that was found on the judged rows
ACCURACY, LOG_LOSS, KEPT = "accuracy", "log loss (nats)", "accuracy of the answers kept"


@dataclass(frozen=True)
class RepairForecast:
    """What an action would bring.

    Parameters
    ----------
    kind : str
        Such as ``relabel`` or ``collect``.
    action : str
        What would be done, as an imperative.
    measure : str
        What ``gain`` is the change of: accuracy, the log loss (a fall is a gain), or the accuracy of the answers kept.
    gain, low, high : float
        With a 95 % interval.
    basis : str
        What it was computed from.
    trains : bool
        Whether the network would be trained again: the interval then holds the noise of training, too.
    fixed, broken : int64 array
        Row ids that the action corrects and misclassifies, as far as it is known; none where no fit has the action.
    p_value : float or None
        Of a change of accuracy: exact McNemar test of fixed against broken rows; where the network would be trained
        again the larger of it and of the normal test with the noise of training. Whoever chose the action for the
        errors on these rows has to discount it.
    where : str
        Of an action on a slice of the train rows, the expression that holds of them.
    """

    kind: str
    action: str
    measure: str
    gain: float
    low: float
    high: float
    basis: str
    trains: bool
    fixed: IntArray
    broken: IntArray
    p_value: float | None = None
    where: str = ""

    @property
    def sentence(self) -> str:
        """The forecast in words."""
        if self.measure == LOG_LOSS:
            words = "log loss {:+.4f} ({:+.4f} to {:+.4f})".format(
                *(-value for value in (self.gain, self.high, self.low))
            )
        else:
            words = f"{self.measure} {in_points(self.gain, self.low, self.high)}"
        return f"{self.action}: {words}; {self.basis}"

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**values, "fixed": self.fixed.tolist(), "broken": self.broken.tolist()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RepairForecast:
        """The forecast that `to_json` describes."""
        rows = {name: np.array(values[name], np.int64) for name in ("fixed", "broken")}
        return cls(**{**values, **rows})


def in_points(value: float, low: float, high: float) -> str:
    """A difference of shares with its interval, in points."""
    return "{:+.2f} points ({:+.2f} to {:+.2f})".format(*(100 * part for part in (value, low, high)))


def read_forecasts(folder: Path, predictions: Predictions) -> tuple[RepairForecast, ...]:
    """The forecasts that ``python -m workbench forecast`` made for the model and images that predictions are of.

    Raises
    ------
    DataError
        If the folder holds none, damaged ones, or those of another model or of other images.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder} has no {MANIFEST}: expected a folder that `python -m workbench forecast` wrote")
    values = read_json(path)
    try:
        check_origin(folder, values, predictions, "forecast")
        return tuple(RepairForecast.from_json(one) for one in values["forecasts"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error}): write it again with `forecast --force`") from error


def training_noise(predictions: Predictions, seeds: Sequence[Predictions] = ()) -> float:
    """The standard deviation of the change of accuracy that training once more brings by chance alone.

    With other seeds of the recipe (on the same rows, in the same order) the mean share c of rows on which one of two
    models is correct gives the square root of c / N; or, with two or more, √2 times the deviation of the models'
    accuracies, if that is larger. Without them c is taken as the error rate: two trainings of a calibrated kind of
    model disagree as often as one of them errs (Jiang et al. 2022, arXiv 2106.13799).
    """
    own = predictions.correct
    if not seeds:
        return float(np.sqrt((~own).mean() / len(own)))
    others = [other.correct for other in seeds]
    churn = float(np.sqrt(np.mean([(other != own).mean() for other in others]) / len(own)))
    if len(others) == 1:
        return churn
    return max(churn, float(np.sqrt(2) * np.std([own.mean(), *(other.mean() for other in others)], ddof=1)))


def forecast_of_answers(
    kind: str,
    action: str,
    basis: str,
    test: Predictions,
    before: IntArray,
    after: IntArray,
    *,
    noise: float = 0.0,
    trains: bool = False,
) -> RepairForecast:
    """A forecast of accuracy from answers ``(N,)`` without the action and with it."""
    was, now = before == test.label, after == test.label
    fixed, broken = now & ~was, was & ~now
    counts = int((was & now).sum()), int(fixed.sum()), int(broken.sum()), int((~was & ~now).sum())
    gain = (counts[1] - counts[2]) / len(was)
    low, high = joint_limits(gain, *newcombe_paired(*counts), noise)
    p_value = sign_test(counts[1], counts[2])
    if noise:
        p_value = max(p_value, normal_p_value(gain, low, high))
    return RepairForecast(
        kind, action, ACCURACY, gain, low, high, basis, trains, test.index[fixed], test.index[broken], p_value
    )


def joint_limits(value: float, low: float, high: float, noise: float) -> tuple[float, float]:
    """The limits of a value to which normal noise of a standard deviation is added."""
    return value - float(np.hypot(value - low, Z_95 * noise)), value + float(np.hypot(high - value, Z_95 * noise))


def normal_p_value(value: float, low: float, high: float) -> float:
    """Two-sided, that a value with a 95 % interval is 0, by the half of the interval that lies towards 0."""
    half = value - low if value > 0 else high - value
    return float(2 * scipy.stats.norm.sf(Z_95 * abs(value) / half)) if half > 0 else 1.0


def mean_interval(values: FloatArray) -> tuple[float, float, float]:
    """The mean of differences ``(n,)`` with its 95 % interval: by bootstrap, for many rows normal."""
    if len(values) <= BOOTSTRAPPED:
        return paired_interval(values)
    mean, half = float(values.mean()), Z_95 * float(values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def check_rows(what: str, predictions: Predictions) -> None:
    """Raise `DataError` for too few judged rows to forecast from."""
    if len(predictions) < LEAST_JUDGED:
        raise DataError(f"{what}: expected at least {LEAST_JUDGED} judged rows, not {len(predictions)}")
