"""Changes that leave nearly all correct answers alone: chosen on some correct rows, counted on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.statistics import wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import ImageArray, IntArray
from workbench.errors import DataError
from workbench.robustness.changes import Change
from workbench.robustness.kinds import KINDS, ChangeKind
from workbench.robustness.search import CLOSE, LEAST, Answers, Search, answers_after

KEPT = 0.99  # of the correct answers, by a harmless change
CORRECT_ROWS, LEAST_CORRECT = 400, 100  # of each half


@dataclass(frozen=True)
class Harmless:
    """A change of a kind that leaves about 99 % of the correct answers alone, in all directions.

    ``strength`` is None where even the weakest does not. ``kept`` is the share of ``rows`` correct rows, others than
    those it was chosen on, whose answer stays in every direction, with its 95 % Wilson interval; nan without strength.
    """

    kind: str
    strength: float | None
    kept: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    rows: int = 0


def harmless_strength(found: Sequence[Search], kind: ChangeKind, side: int) -> float | None:
    """The strength of a kind that 99 % of the answers searched do not mind; None if the weakest flips more.

    An answer minds a strength from the smallest one on that flips it. The strength is nine tenths of the one that flips
    one answer too many, and for a kind of whole strengths the next smaller one.
    """
    mine = [search for search in found if search.kind.name == kind.name]
    flips = np.sort([np.inf if search.strength is None else search.strength for search in mine])
    allowed = int(np.floor((1 - KEPT) * len(flips)))
    limit = float(flips[allowed])  # the first flip that is one too many
    grid = kind.grid(side)
    if limit == np.inf:
        return grid[-1]
    if kind.is_switch:
        return None
    below = limit - 1 if kind.whole else CLOSE * limit
    return below if below >= (1 if kind.whole else grid[0] * LEAST) else None


@dataclass(frozen=True)
class Rows:
    """Images with their row ids, labels and answers."""

    ids: IntArray
    images: list[ImageArray]
    label: IntArray
    before: IntArray

    def where(self, mask: NDArray[np.bool_]) -> Rows:
        """Some of them."""
        places = np.flatnonzero(mask)
        return Rows(self.ids[places], [self.images[k] for k in places], self.label[places], self.before[places])

    @staticmethod
    def joined(one: Rows, other: Rows) -> Rows:
        """Those of one, then those of the other."""
        arrays = (np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("ids", "label", "before"))
        ids, label, before = arrays
        return Rows(ids, [*one.images, *other.images], label, before)


def correct_rows(predictions: Predictions, seed: int) -> tuple[IntArray, IntArray]:
    """Two disjoint random samples of correct row ids, of the same size."""
    correct = predictions.index[predictions.correct]
    check_enough(len(correct) // 2)
    drawn = np.random.default_rng(seed).permutation(correct)[: 2 * CORRECT_ROWS]
    return drawn[::2], drawn[1::2]


def check_enough(rows: int) -> None:
    """Raise `DataError` if half of the correct rows are too few."""
    if rows < LEAST_CORRECT:
        raise DataError(
            f"fragility: expected at least {2 * LEAST_CORRECT} correct rows, half of them to choose changes that leave "
            f"99 % of the answers alone, half to count on, not {2 * rows}"
        )


def changes_of(levels: Sequence[Harmless]) -> tuple[Change, ...]:
    """The harmless changes, in all directions."""
    found = [(KINDS[level.kind].variants, level.strength) for level in levels if level.strength is not None]
    return tuple(variant(strength) for variants, strength in found for variant in variants)


def counted(rows: Rows, kind: ChangeKind, strength: float | None, answers: Answers) -> Harmless:
    """A harmless change with the share of answers that stay, of rows that it was not chosen on."""
    if strength is None:
        return Harmless(kind.name, None)
    flips, _ = flip_counts(rows, [variant(strength) for variant in kind.variants], answers)
    kept, total = int((flips == 0).sum()), len(rows.ids)
    low, high = wilson_interval(kept, total)
    return Harmless(kind.name, strength, kept / total, float(low), float(high), total)


def flip_counts(rows: Rows, changes: Sequence[Change], answers: Answers) -> tuple[IntArray, IntArray]:
    """How many of some changes flip each answer, and how many to the label, int64 ``(n,)`` each."""
    after = np.empty((len(changes), len(rows.ids)), np.int64)
    for k, change in enumerate(changes):
        after[k] = answers_after(rows.images, rows.ids, change, answers)
    flipped = after != rows.before
    return flipped.sum(0), (flipped & (after == rows.label)).sum(0)
