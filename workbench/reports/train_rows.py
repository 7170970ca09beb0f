"""Actions on train rows: their forecasts, and the fixes that make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench.analysis.copies import join_copies
from workbench.analysis.expressions import names_in
from workbench.analysis.fixes import fixes_of_labels, labels_and_weights
from workbench.analysis.forecasts import SLICE, RepairForecast
from workbench.analysis.index import row_ids, select
from workbench.analysis.looks import LOOKS, with_looks
from workbench.analysis.retraining import Forecaster
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, ImageSet, IntArray, Precision, Query
from workbench.core.rows import positions
from workbench.errors import DataError
from workbench.robustness.augmenting import augmented
from workbench.robustness.kinds import KINDS
from workbench.runs.run import Run

AUGMENTED_ROWS = 5000


@dataclass(frozen=True)
class Slice:
    """Train rows that would be weighted: ``rows``, int64 ids, of which the expression ``where`` holds.

    ``kind``: ``weight`` for a slice of the user's choice, `SLICE` for one that was found on the judged rows.
    """

    kind: str
    name: str
    where: str
    rows: IntArray


class TrainRows:
    """Forecasts of actions on a run's train rows.

    Attributes
    ----------
    fixes_of : dict of str to dict
        By action what `training.run --fixes` reads.
    notes : list of str
        Of each action without such fixes, why.
    """

    def __init__(
        self, run: Run, train: Predictions, images: ImageSet | None, noise: float, *, seed: int, precision: Precision
    ) -> None:
        self.run, self.train, self.images, self.seed, self.precision = run, train, images, seed, precision
        self.forecaster = Forecaster(run.predictions, train, noise)
        self.fixes_of: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []

    def fixes(self, values: dict[str, Any]) -> RepairForecast:
        """What a file of fixes would change."""
        label, weight = labels_and_weights(values, self.train)
        changed, dropped = int((label != self.train.label).sum()), int((weight == 0).sum())
        words = f"{changed} relabelled, {dropped} dropped, {int((weight != 1).sum()) - dropped} weighted"
        return self.forecaster.fixes("fixes", f"train with the fixes ({words})", label=label, weight=weight)

    def relabel(self) -> RepairForecast:
        """The doubtful labels, as last layers that were fitted without them suggest."""
        found = self.forecaster.relabel()
        self._keep(found.action, self.forecaster.suggested, np.ones(len(self.train)))
        return found

    def without_copies(self) -> RepairForecast:
        """The train rows left out that are near-duplicates of judged rows."""
        known = self.run.predictions
        if "copy_row" not in known.table.collect_schema():
            if self.run.images is None or self.images is None:
                raise DataError("copies: the images of both splits are needed (--data)")
            known = join_copies(known, self.run.images, self.train, self.images)
        copies = known.columns("copy_row")["copy_row"].drop_nulls().unique().to_numpy()
        if not len(copies):
            raise DataError("copies: no train row is a near-duplicate of a judged one")
        action = f"leave out {len(copies):,} train rows that are near-duplicates of judged ones"
        return self._weighted("copies", action, copies, 0.0)

    def weight(self, one: Slice, factor: float) -> RepairForecast:
        """A slice whose rows have another weight."""
        if not len(one.rows):
            raise DataError(f"weight {one.name}: of no train row {one.where} holds")
        action = f"weight {len(one.rows):,} train rows {factor:g}-fold ({one.name})"
        found = replace(self._weighted(one.kind, action, one.rows, factor), where=one.where)
        if one.kind == SLICE:
            found = replace(found, basis=f"{found.basis}; the slice was found on these rows")
        return found

    def augment(self, name: str) -> RepairForecast:
        """An augmentation of a kind: changed copies of some train rows, which stand for copies of all."""
        if self.run.classifier is None or self.images is None:
            raise DataError(f"augment {name}: the model and the train images are needed (--checkpoint, --data)")
        kind = KINDS[name]
        grid = kind.grid(min(self.images.image(int(self.train.index[0])).shape[:2]))
        strength = grid[len(grid) // 2]  # a strength that is seen, and leaves most images what they are
        rows = np.sort(np.random.default_rng(self.seed).permutation(len(self.train))[:AUGMENTED_ROWS])
        changed = augmented(
            self.run.classifier, self.images, self.train.index[rows], kind, strength, precision=self.precision
        )
        if changed.embedding is None:
            raise DataError("augmentation: expected a model with a linear last layer")
        up_to = "" if kind.is_switch else f" up to {strength:.3g} {kind.unit.partition(' (')[0]}"
        more = changed.embedding, self.train.label[rows], len(self.train) / len(rows)
        return self.forecaster.more("augment", f"train with {name}{up_to}", *more)

    def _weighted(self, kind: str, action: str, rows: IntArray, factor: float) -> RepairForecast:
        weight = np.ones(len(self.train))
        weight[positions(self.train, rows)] = factor
        found = self.forecaster.fixes(kind, action, weight=weight)
        self._keep(action, self.train.label, weight)
        return found

    def _keep(self, action: str, label: IntArray, weight: FloatArray) -> None:
        """Keep an action's fixes for those who act on it, or note why there are none."""
        try:
            if self.images is not None and len(self.images) > len(self.train):
                raise DataError(f"these are {len(self.train):,} rows of a split of {len(self.images):,}")
            self.fixes_of[action] = fixes_of_labels(self.train, label, weight)
        except DataError as error:
            self.notes.append(f"no fixes to {action}: {error}")


def slices_of(
    train: Predictions, images: ImageSet | None, given: Sequence[str], found: Sequence[tuple[str, str]]
) -> tuple[list[Slice], list[str]]:
    """The slices that expressions describe, and a line for each that can't be told.

    Parameters
    ----------
    train, images : Predictions and ImageSet or None
        Images are looked at where an expression names one of `LOOKS` that is no column.
    given : sequence of str
        Expressions of the user's.
    found : sequence of (str, str)
        Names and expressions of slices that were found on the judged rows.

    Raises
    ------
    DataError
        If an expression of the user's is not understood, or names columns that there are not.
    """
    asked = [("weight", where, where) for where in given] + [(SLICE, *one) for one in found]
    lacked = set(LOOKS).difference(train.table.collect_schema())
    looks = {where: sorted(lacked.intersection(names_in(where))) for _, _, where in asked}
    reason = "the train images are needed (--data)"
    if images is not None and any(looks.values()):
        try:
            train, lacked = with_looks(train, images), set()
        except DataError as error:
            reason = str(error)
    slices, missing = [], []
    for kind, name, where in asked:
        if lacked.intersection(looks[where]):
            missing.append(f"weight {name}: {' and '.join(looks[where])}: {reason}")
            continue
        try:
            rows = row_ids(select(train, Query(where=where, order="index", descending=False)))
        except DataError as error:
            if kind != SLICE:
                raise
            missing.append(f"weight {name}: {error}")
        else:
            slices.append(Slice(kind, name, where, rows))
    return slices, missing
