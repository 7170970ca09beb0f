"""The repairs whose effect is forecast: what was asked for, and the forecasts as they are made."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.analysis import remedies
from workbench.analysis.compare import pair_rows
from workbench.analysis.forecasts import RepairForecast, check_rows, training_noise
from workbench.analysis.models import mean_answers
from workbench.analysis.retraining import Forecaster
from workbench.core.predictions import Predictions
from workbench.core.records import Precision
from workbench.core.rows import aligned
from workbench.core.texts import read_json
from workbench.errors import DataError
from workbench.reports.train_rows import TrainRows, slices_of
from workbench.robustness.kinds import kinds_named
from workbench.runs.origins import train_of
from workbench.runs.run import Run

MOST_TRAIN, CLASSES, HEAVIEST = 200_000, 3, 10
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Repairs:
    """What is forecast beside what predictions alone tell.

    Parameters
    ----------
    fixes : path or None
        Decisions on train rows that the explorer exported: labels, rows to leave out, weights.
    collect : sequence of str
        Classes of which more would be collected; default: the three with most errors.
    weight : sequence of str
        Slices of the train rows that would be weighted: expressions of `analysis.index.select` with the train
        predictions' columns and those of `analysis.looks.describe`.
    slices : sequence of (str, str), or None
        Name and expression of slices that were found on the judged rows; None if they are not asked for.
    factor : float
        The weight of their rows, above 0, at most 10, where others have 1.
    augment : sequence of str
        Kinds of `robustness.kinds.KINDS`; they need the model and the train images.
    seeds : sequence of Predictions
        Of other seeds of the recipe, on the same rows.
    validation : Predictions or None
        Of the same model on rows that are not judged, to fit a temperature on.
    after : Predictions or None
        Of the repaired model on the same rows, to be set beside the forecast of ``fixes``.
    data : str or None
        Folder or table with the images, for those of train rows that are kept beside the checkpoint.
    precision : "float32" or "bfloat16"
        Of the features of changed images.
    seed : int
        Of what is drawn at random.
    """

    fixes: Path | None = None
    collect: Sequence[str] | None = None
    weight: Sequence[str] = ()
    slices: Sequence[tuple[str, str]] | None = None
    factor: float = 2.0
    augment: Sequence[str] = ()
    seeds: Sequence[Predictions] = ()
    validation: Predictions | None = None
    after: Predictions | None = None
    data: str | None = None
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what needs no run."""
        if not 0 < self.factor <= HEAVIEST:
            raise DataError(f"weight: expected a factor above 0, at most {HEAVIEST}, not {self.factor:g}")
        if self.augment:
            kinds_named(self.augment)


class Forecasts:
    """The forecasts as they are made, after what was asked for is checked."""

    def __init__(self, run: Run, asked: Repairs, progress: Progress) -> None:
        self.run, self.asked, self.progress = run, asked, progress
        self.found: list[RepairForecast] = []
        self.missing: list[str] = []
        self.curves: dict[str, list[float]] = {}
        self.fixes_of: dict[str, dict[str, Any]] = {}  # by action, what `training.run --fixes` reads
        self.notes: list[str] = []
        self.classes = self._classes()
        self.seeds = [self._seed(one) for one in asked.seeds]
        self.fixes = None if asked.fixes is None else read_json(asked.fixes, "export it from the explorer again")

    def _seed(self, other: Predictions) -> Predictions:
        """Another seed's predictions in the order of the run's."""
        own = self.run.predictions
        pair_rows(own, other)
        first, second = own.provenance.checkpoint, other.provenance.checkpoint
        if first is not None and first == second:
            raise DataError("other seed: expected other weights than the judged model's, not the same")
        return aligned(other, own.index)

    def _classes(self) -> list[str]:
        predictions = self.run.predictions
        if self.asked.collect is not None:
            if unknown := [name for name in self.asked.collect if name not in predictions.classes]:
                known = ", ".join(predictions.classes[:5])
                raise DataError(f"collect: expected classes of the model such as {known}, not {unknown[0]!r}")
            return list(self.asked.collect)
        errors = np.bincount(predictions.label[~predictions.correct], minlength=len(predictions.classes))
        return [predictions.classes[k] for k in np.argsort(-errors, kind="stable")[:CLASSES] if errors[k]]

    def without_training(self) -> None:
        """Actions that leave the weights as they are."""
        predictions, asked = self.run.predictions, self.asked
        voters = 2 if all(one.has_probabilities for one in (predictions, *self.seeds)) else 3
        if 1 + len(self.seeds) >= voters and self.seeds:
            self.found.append(remedies.average(predictions, self.seeds, mean_answers([predictions, *self.seeds])))
        else:
            self.missing.append(
                "average of seeds: give other seeds' predictions, best with probabilities (--other-seed)"
            )
        averaged = None if self.run.robustness is None else self.run.robustness.values.get("consistency")
        if averaged is None:
            self.missing.append("test-time augmentation: measure it (robustness --parts consistency): --robustness DIR")
        else:
            self.found.append(remedies.test_time_augmentation(averaged))
        if not predictions.has_probabilities:
            self.missing.append("calibration and rejection: give the model's probabilities")
            return
        self._try("temperature", lambda: remedies.calibrate(predictions, asked.validation, asked.seed))
        self._try("rejection", lambda: remedies.reject(predictions, asked.seed))

    def with_training(self) -> None:
        """Actions on train rows, by the last layer fitted again."""
        asked = self.asked
        try:
            check_rows("actions on train rows", self.run.predictions)
            train, images = train_of(self.run, asked.data)
            if len(train) > MOST_TRAIN:
                raise DataError(f"actions on train rows: more than {MOST_TRAIN:,}: give predictions on a part of them")
            self.progress("slices")
            slices, missing = slices_of(train, images, asked.weight, asked.slices or ())
            self.progress("last layer")
            noise = training_noise(self.run.predictions, self.seeds)
            rows = TrainRows(self.run, train, images, noise, seed=asked.seed, precision=asked.precision)
        except DataError as error:
            if self.fixes is not None or asked.weight:
                raise
            self.missing.append(str(error))
            return
        self.missing += missing
        if asked.slices is not None and not asked.slices:
            self.missing.append("weight slices: the findings name none by columns or looks")
        if self.fixes is not None:
            fixes = self.fixes
            self._try("fixes", lambda: rows.fixes(fixes))
        self._try("relabel", rows.relabel)
        self._try("copies", rows.without_copies)
        for name in self.classes:
            self._try(f"collect {name}", functools.partial(self._collect, rows.forecaster, name))
        for one in slices:
            self._try(f"weight {one.name}", functools.partial(rows.weight, one, asked.factor))
        for name in asked.augment:
            self._try(f"augment {name}", functools.partial(rows.augment, name))
        self.fixes_of, self.notes = rows.fixes_of, rows.notes

    def _try(self, name: str, make: Callable[[], RepairForecast]) -> None:
        """One forecast, or the line why there is none."""
        self.progress(name)
        try:
            self.found.append(make())
        except DataError as error:
            self.missing.append(str(error))

    def _collect(self, forecaster: Forecaster, name: str) -> RepairForecast:
        found, curve = forecaster.collect(self.run.predictions.classes.index(name), self.asked.seed)
        self.curves[name] = curve
        return found
