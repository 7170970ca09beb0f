"""A bundle on what repairs would bring: a table, a figure, and what they were computed from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench import figures
from workbench.analysis import remedies
from workbench.analysis.compare import Comparison, compare, pair_rows
from workbench.analysis.copies import join_copies
from workbench.analysis.fixes import fixed_labels
from workbench.analysis.forecasts import ACCURACY, MANIFEST, RepairForecast, check_rows, training_noise
from workbench.analysis.models import mean_answers
from workbench.analysis.retraining import Forecaster
from workbench.core.files import refuse_to_overwrite, write_atomically, write_json
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet, Precision
from workbench.core.rows import aligned, positions
from workbench.core.stamp import stamp_of
from workbench.core.texts import csv_bytes, read_json
from workbench.errors import DataError
from workbench.robustness.augmenting import augmented
from workbench.robustness.kinds import KINDS, kinds_named
from workbench.runs.origins import train_of
from workbench.runs.run import Run

TABLE, CURVES, FIGURE = "forecasts.csv", "learning_curves.csv", "forecasts"
AUGMENTED_ROWS, MOST_TRAIN, CLASSES = 5000, 200_000, 3
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
    augment: Sequence[str] = ()
    seeds: Sequence[Predictions] = ()
    validation: Predictions | None = None
    after: Predictions | None = None
    data: str | None = None
    precision: Precision = "float32"
    seed: int = 0


def write_forecasts(
    run: Run, out: Path, asked: Repairs, *, force: bool = False, progress: Progress | None = None
) -> list[str]:
    """Write what repairs of the run's model would bring into ``out``; return it, a line each.

    ``forecasts.csv`` has a row for each action, ``forecasts`` the figure, ``learning_curves.csv`` the accuracy with
    shares of a class's train rows, and ``forecasts.json`` all of it, for `workbench.with_forecasts`. What can't be
    forecast for lack of something leaves a line.

    Raises
    ------
    DataError
        If a kind of change or a class does not exist, seeds, fixes or the repaired model's predictions do not fit, or
        nothing can be forecast.
    OutputError
        If ``out`` holds forecasts and ``force`` is off, the disk is full or the folder can't be written.
    """
    refuse_to_overwrite([out / MANIFEST], force)
    outcome = None if asked.after is None else compare(run.predictions, asked.after)
    work = _Work(run, asked, progress or (lambda _: None))
    work.without_training()
    work.with_training()
    if not work.found:
        raise DataError("forecast: nothing can be forecast: " + "; ".join(work.missing))
    _write(run, out, work, asked, outcome)
    lines = [one.sentence for one in sorted(work.found, key=lambda one: (one.measure, -one.gain))]
    if outcome is not None:
        lines.append(_outcome_words(outcome, [one for one in work.found if one.kind == "fixes"]))
    return [*lines, *(f"not forecast: {line}" for line in work.missing)]


class _Work:
    """The forecasts as they are made, after what was asked for is checked."""

    def __init__(self, run: Run, asked: Repairs, progress: Progress) -> None:
        self.run, self.asked, self.progress = run, asked, progress
        self.found: list[RepairForecast] = []
        self.missing: list[str] = []
        self.curves: dict[str, list[float]] = {}
        if asked.augment:
            kinds_named(asked.augment)
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
        try:
            check_rows("actions on train rows", self.run.predictions)
            train, images = train_of(self.run, self.asked.data)
            if len(train) > MOST_TRAIN:
                raise DataError(f"actions on train rows: more than {MOST_TRAIN:,}: give predictions on a part of them")
            self.progress("last layer")
            noise = training_noise(self.run.predictions, self.seeds)
            forecaster = Forecaster(self.run.predictions, train, noise)
        except DataError as error:
            if self.fixes is not None:
                raise
            self.missing.append(str(error))
            return
        if self.fixes is not None:
            label, weight = fixed_labels(self.fixes, train)
            changed, dropped = int((label != train.label).sum()), int((weight == 0).sum())
            words = f"{changed} relabelled, {dropped} dropped, {int((weight != 1).sum()) - dropped} weighted"
            action = f"train with the fixes ({words})"
            self._try("fixes", lambda: forecaster.fixes("fixes", action, label=label, weight=weight))
        self._try("relabel", forecaster.relabel)
        self._try("copies", lambda: _without_copies(self.run, train, images, forecaster))
        for name in self.classes:
            self._try(f"collect {name}", functools.partial(self._collect, forecaster, name))
        for name in self.asked.augment:
            self._try(f"augment {name}", functools.partial(self._augment, forecaster, train, images, name))

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

    def _augment(
        self, forecaster: Forecaster, train: Predictions, images: ImageSet | None, name: str
    ) -> RepairForecast:
        """An augmentation of a kind: changed copies of some train rows, which stand for copies of all."""
        if self.run.classifier is None or images is None:
            raise DataError(f"augment {name}: the model and the train images are needed (--checkpoint, --data)")
        kind = KINDS[name]
        grid = kind.grid(min(images.image(int(train.index[0])).shape[:2]))
        strength = grid[len(grid) // 2]  # a strength that is seen, and leaves most images what they are
        rows = np.sort(np.random.default_rng(self.asked.seed).permutation(len(train))[:AUGMENTED_ROWS])
        changed = augmented(
            self.run.classifier, images, train.index[rows], kind, strength, precision=self.asked.precision
        )
        if changed.embedding is None:
            raise DataError("augmentation: expected a model with a linear last layer")
        up_to = "" if kind.is_switch else f" up to {strength:.3g} {kind.unit.partition(' (')[0]}"
        weight = len(train) / len(rows)
        return forecaster.more("augment", f"train with {name}{up_to}", changed.embedding, train.label[rows], weight)


def _without_copies(run: Run, train: Predictions, images: ImageSet | None, forecaster: Forecaster) -> RepairForecast:
    """The train rows left out that are near-duplicates of judged rows."""
    known = run.predictions
    if "copy_row" not in known.table.collect_schema():
        if run.images is None or images is None:
            raise DataError("copies: the images of both splits are needed (--data)")
        known = join_copies(known, run.images, train, images)
    copies = known.columns("copy_row")["copy_row"].drop_nulls().unique().to_numpy()
    if not len(copies):
        raise DataError("copies: no train row is a near-duplicate of a judged one")
    weight = np.ones(len(train))
    weight[positions(train, copies)] = 0
    action = f"leave out {len(copies):,} train rows that are near-duplicates of judged ones"
    return forecaster.fixes("copies", action, weight=weight)


def _write(run: Run, out: Path, work: _Work, asked: Repairs, outcome: Comparison | None) -> None:
    """The table, the figure, the learning curves, and last the manifest; what was there goes first."""
    for path in (out / MANIFEST, out / TABLE, out / CURVES, *out.glob(f"{FIGURE}.*")):
        path.unlink(missing_ok=True)
    stamp = stamp_of(run.predictions, "forecasts", "", {"seed": asked.seed, "precision": asked.precision})
    names = ("kind", "action", "measure", "gain", "low", "high", "p_value", "basis")
    table = pl.DataFrame(
        [
            {**{name: getattr(one, name) for name in names}, "fixed": len(one.fixed), "broken": len(one.broken)}
            for one in work.found
        ],
        infer_schema_length=None,
    )
    write_atomically(out / TABLE, lambda path: path.write_bytes(csv_bytes(table)))
    if work.curves:
        shares = {"quarter": 0, "half": 1, "all": 2}
        columns = {name: [curve[k] for curve in work.curves.values()] for name, k in shares.items()}
        curves = pl.DataFrame({"class": list(work.curves), **columns})
        write_atomically(out / CURVES, lambda path: path.write_bytes(csv_bytes(curves)))
    shown = [one for one in work.found if one.measure == ACCURACY]
    if shown:
        figures.save(figures.figure_of(figures.forecasts(shown)), out / FIGURE, stamp)
    values: dict[str, Any] = {
        "provenance": run.predictions.provenance.to_json(),
        "forecasts": [one.to_json() for one in work.found],
        "learning_curves": work.curves,
        "missing": work.missing,
    }
    if outcome is not None:
        numbers = ("difference", "low", "high", "fixed", "broken", "rows")
        values["outcome"] = {name: getattr(outcome, name) for name in numbers}
    write_json(out / MANIFEST, values)


def _outcome_words(outcome: Comparison, forecast: Sequence[RepairForecast]) -> str:
    """What came of the repair, beside what was forecast."""
    points = [100 * value for value in (outcome.difference, outcome.low, outcome.high)]
    words = "outcome: accuracy {:+.2f} points ({:+.2f} to {:+.2f})".format(*points)
    if not forecast:
        return words
    one = forecast[0]
    where = "within" if one.low <= outcome.difference <= one.high else "outside"
    limits = f"{100 * one.low:+.2f} to {100 * one.high:+.2f}"
    return f"{words}, whose value lies {where} the forecast of the fixes ({limits})"
