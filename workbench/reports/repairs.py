"""The repairs whose effect is forecast: what was asked for, and the forecasts as they are made."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from workbench.analysis import remedies
from workbench.analysis.compare import pair_rows
from workbench.analysis.copies import join_copies
from workbench.analysis.fixes import fixed_labels, fixes_of_labels
from workbench.analysis.forecasts import RepairForecast, check_rows, training_noise
from workbench.analysis.index import row_ids, select
from workbench.analysis.looks import LOOKS, with_looks
from workbench.analysis.models import mean_answers
from workbench.analysis.retraining import Forecaster
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, ImageSet, IntArray, Precision, Query
from workbench.core.rows import aligned, positions
from workbench.core.texts import read_json
from workbench.errors import DataError
from workbench.robustness.augmenting import augmented
from workbench.robustness.kinds import KINDS, kinds_named
from workbench.runs.origins import train_of
from workbench.runs.run import Run

AUGMENTED_ROWS, MOST_TRAIN, CLASSES, HEAVIEST = 5000, 200_000, 3, 10
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
    slices : mapping of str to str, or None
        The same for slices that were found, by what they are called; None if they are not asked for.
    factor : float
        How much more they would count, above 0, at most 10.
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
    slices: Mapping[str, str] | None = None
    factor: float = 2.0
    augment: Sequence[str] = ()
    seeds: Sequence[Predictions] = ()
    validation: Predictions | None = None
    after: Predictions | None = None
    data: str | None = None
    precision: Precision = "float32"
    seed: int = 0


class Forecasts:
    """The forecasts as they are made, after what was asked for is checked."""

    def __init__(self, run: Run, asked: Repairs, progress: Progress) -> None:
        self.run, self.asked, self.progress = run, asked, progress
        self.found: list[RepairForecast] = []
        self.missing: list[str] = []
        self.curves: dict[str, list[float]] = {}
        self.fixes_of: dict[str, dict[str, Any]] = {}  # by action, what `training.run --fixes` reads
        if asked.augment:
            kinds_named(asked.augment)
        if not 0 < asked.factor <= HEAVIEST:
            raise DataError(f"weight: expected a factor above 0, at most {HEAVIEST}, not {asked.factor:g}")
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
        self._try("relabel", lambda: self._kept(forecaster.relabel(), train, label=forecaster.suggested))
        self._try("copies", lambda: self._without_copies(forecaster, train, images))
        for name in self.classes:
            self._try(f"collect {name}", functools.partial(self._collect, forecaster, name))
        self._weights(forecaster, train, images)
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

    def _weights(self, forecaster: Forecaster, train: Predictions, images: ImageSet | None) -> None:
        """Slices of the train rows that count more."""
        asked = {where: where for where in self.asked.weight} | dict(self.asked.slices or {})
        if self.asked.slices is not None and not self.asked.slices:
            self.missing.append("weight slices: the findings name none by columns or looks")
        columns = train.table.collect_schema()
        looks = [name for name in LOOKS if name not in columns]
        slices = {name: (where, [one for one in looks if one in where]) for name, where in asked.items()}
        if images is not None and any(needed for _, needed in slices.values()):
            self.progress("what the train images look like")
            train = with_looks(train, images)
        for name, (where, needed) in slices.items():
            if needed and images is None:
                self.missing.append(f"weight {name}: {' and '.join(needed)}: the train images are needed (--data)")
            else:
                self._try(f"weight {name}", functools.partial(self._weight, forecaster, train, name, where))

    def _weight(self, forecaster: Forecaster, train: Predictions, name: str, where: str) -> RepairForecast:
        rows = row_ids(select(train, Query(where=where, order="index", descending=False)))
        if not len(rows):
            raise DataError(f"weight {name}: of no train row {where} holds")
        weight = np.ones(len(train))
        weight[positions(train, rows)] = self.asked.factor
        action = f"weight {len(rows):,} train rows {self.asked.factor:g}-fold ({name})"
        found = replace(forecaster.fixes("weight", action, weight=weight), where=where)
        return self._kept(found, train, weight=weight)

    def _kept(
        self,
        found: RepairForecast,
        train: Predictions,
        *,
        label: IntArray | None = None,
        weight: FloatArray | None = None,
    ) -> RepairForecast:
        """The forecast, its fixes kept for those who act on it."""
        fixes = fixes_of_labels(
            train, train.label if label is None else label, np.ones(len(train)) if weight is None else weight
        )
        if fixes is not None:
            self.fixes_of[found.action] = fixes
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

    def _without_copies(self, forecaster: Forecaster, train: Predictions, images: ImageSet | None) -> RepairForecast:
        """The train rows left out that are near-duplicates of judged rows."""
        known = self.run.predictions
        if "copy_row" not in known.table.collect_schema():
            if self.run.images is None or images is None:
                raise DataError("copies: the images of both splits are needed (--data)")
            known = join_copies(known, self.run.images, train, images)
        copies = known.columns("copy_row")["copy_row"].drop_nulls().unique().to_numpy()
        if not len(copies):
            raise DataError("copies: no train row is a near-duplicate of a judged one")
        weight = np.ones(len(train))
        weight[positions(train, copies)] = 0
        action = f"leave out {len(copies):,} train rows that are near-duplicates of judged ones"
        return self._kept(forecaster.fixes("copies", action, weight=weight), train, weight=weight)
