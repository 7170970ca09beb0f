"""The smallest changes that flip an answer, and which of them leave nearly all correct answers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from workbench.analysis.statistics import wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import ImageArray, ImageSet, IntArray, Precision
from workbench.errors import DataError
from workbench.models.classifier import Classifier
from workbench.models.match import match_classes
from workbench.robustness.changes import Change, probabilities
from workbench.robustness.kinds import DEFAULT, KINDS, Kind, kinds_named
from workbench.robustness.search import CLOSE, LEAST, Answers, Progress, Search, answers_after, searches

KEPT = 0.99  # of the correct answers, by a harmless change
CORRECT_ROWS, LEAST_ROWS = 400, 100


@dataclass(frozen=True)
class Harmless:
    """The strongest change of a kind that leaves at least 99 % of the correct answers alone, in all directions.

    ``strength`` is None where even the weakest does not. ``kept`` is the share of the ``rows`` correct rows whose
    answer stays, with its 95 % Wilson interval.
    """

    kind: str
    strength: float | None
    kept: float
    low: float
    high: float
    rows: int


def harmless(found: Sequence[Search], kind: Kind, side: int) -> Harmless:
    """The harmless strength of a kind from the searches over correct rows.

    An answer is kept at a strength if it lies below the smallest one that flips it; of the strengths of which 99 % of
    the answers are kept, the largest that was looked at.
    """
    mine = [search for search in found if search.kind.name == kind.name]
    flips = np.sort([np.inf if search.strength is None else search.strength for search in mine])
    allowed = int(np.floor((1 - KEPT) * len(flips)))
    limit = flips[allowed] if allowed < len(flips) else np.inf  # the first flip that is one too many
    grid = kind.grid(side)
    if kind.is_switch:
        strength = grid[0] if limit == np.inf else None
    elif limit == np.inf:
        strength = grid[-1]
    else:
        below = CLOSE * limit if not kind.whole else float(np.ceil(limit) - 1)
        strength = float(below) if below >= (1 if kind.whole else grid[0] * LEAST) else None
    kept = int((flips > (grid[0] if strength is None else strength)).sum())
    low, high = wilson_interval(kept, len(flips))
    return Harmless(kind.name, strength, kept / len(flips), float(low), float(high), len(flips))


@dataclass(frozen=True)
class Fragility:
    """How little changes the answers.

    Parameters
    ----------
    table : DataFrame
        One row for each image: ``index``; for each kind ``KIND_strength``, the smallest that flips the answer (null if
        none does), ``KIND_answer``, the class it is flipped to, and ``KIND_variant``, its direction;
        ``smallest_change``, the least over the kinds of strength divided by the harmless strength, with its
        ``smallest_change_kind`` (null if no kind that has a harmless strength flips the answer); ``harmless_flips`` and
        ``harmless_corrects``, how many of the ``tried`` harmless changes flip the answer, and to the label.
    harmless : tuple of Harmless
    tried : int
        Number of harmless changes: the directions of all kinds that have a harmless strength.
    broken, reference : int
        Of ``reference`` correct rows, those on which harmlessness was decided, how many at least one of the harmless
        changes breaks.
    """

    table: pl.DataFrame
    harmless: tuple[Harmless, ...]
    tried: int
    broken: int
    reference: int

    def change(self, row: int, kind: str) -> Change | None:
        """The smallest change of a kind that flips the answer of a row id; None if none does."""
        values = self.table.row(by_predicate=pl.col("index") == row, named=True)
        if (strength := values[f"{kind}_strength"]) is None:
            return None
        found: Change = KINDS[kind].variants[values[f"{kind}_variant"]](strength)
        return found

    def sentences(self) -> list[str]:
        """What was found, a line each."""
        levels = [level for level in self.harmless if level.strength is not None]
        without = [level.kind for level in self.harmless if level.strength is None]
        words = ", ".join(f"{level.kind} {level.strength:.2g} ({KINDS[level.kind].unit or 'once'})" for level in levels)
        rows = len(self.table)
        lines = [f"harmless, as each leaves {KEPT:.0%} of the correct answers alone: {words or 'no change tried'}"]
        if without:
            lines.append(f"not harmless at any strength tried: {', '.join(without)}")
        if rows and self.tried:
            flips, corrects = ((self.table[f"harmless_{name}"] > 0).sum() for name in ("flips", "corrects"))
            lines.append(
                f"of {self.reference:,} correct images {self.broken:,} are broken by at least one of {self.tried} "
                "harmless changes"
            )
            lines.append(
                f"of {rows:,} images {flips:,} have another answer after at least one of {self.tried} harmless "
                f"changes, {corrects:,} of them the label"
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """What is harmless, and what the harmless changes do, as JSON values."""
        return {
            "harmless": [asdict(level) for level in self.harmless],
            "tried": self.tried,
            "rows": len(self.table),
            "correct_rows": self.reference,
            "correct_rows_broken": self.broken,
            "flipped_by_a_harmless_change": int((self.table["harmless_flips"] > 0).sum()),
            "corrected_by_a_harmless_change": int((self.table["harmless_corrects"] > 0).sum()),
        }


def fragility(
    classifier: Classifier,
    images: ImageSet,
    predictions: Predictions,
    rows: IntArray | None = None,
    *,
    changes: Sequence[str] = DEFAULT,
    precision: Precision = "float32",
    seed: int = 0,
    progress: Progress | None = None,
) -> Fragility:
    """The smallest change of each kind that flips each answer, and what harmless changes correct or break.

    What is harmless is decided on 400 correct rows drawn at random (all if there are fewer): the strongest change whose
    every direction leaves 99 % of their answers alone. Answers are those of this model on these images, so that a row
    whose answer another processor rounded to another class is compared with the one found here.

    Parameters
    ----------
    classifier, images, predictions : Classifier, ImageSet, Predictions
    rows : int64 array (n,), optional
        Row ids; default: all misclassified rows.
    changes : sequence of str
        Kinds of `kinds.KINDS`.
    precision : "float32" or "bfloat16"
        Of the model's products.
    seed : int
        For the choice of correct rows.
    progress : function, optional
        Called with the searches done and their number.

    Returns
    -------
    Fragility

    Raises
    ------
    DataError
        If there is no such kind, a row is absent, or fewer than 100 rows are correct: 99 % of them mean nothing.

    Notes
    -----
    The search assumes that an answer which a grid of strengths, each twice the one before, leaves alone is left alone
    between them, too. Strengths below an eighth of the weakest are not looked at.
    """
    kinds = kinds_named(changes)
    rows = predictions.index[~predictions.correct] if rows is None else np.asarray(rows, np.int64)
    right = predictions.index[predictions.correct]
    if len(right) < LEAST_ROWS:
        raise DataError(
            f"fragility: expected at least {LEAST_ROWS} correct rows, of which harmless changes leave 99 % alone, not "
            f"{len(right)}"
        )
    drawn = np.random.default_rng(seed).choice(right, min(CORRECT_ROWS, len(right)), replace=False)
    seen = classifier.seen(match_classes(images, classifier.classes))
    every = np.unique(np.concatenate([rows, drawn]))
    pixels = [seen.image(int(row)) for row in every]

    def answers(batch: ImageArray) -> IntArray:
        return np.asarray(probabilities(classifier, batch, precision).argmax(1))

    before = answers_after(pixels, Change(), answers)
    found = searches(pixels, before, kinds, answers, progress=progress)
    label = np.array([predictions.label[predictions.position(int(row))] for row in every])
    side = min(pixels[0].shape[:2])
    reference = set(np.flatnonzero(np.isin(every, drawn) & (before == label)).tolist())
    levels = tuple(harmless([one for one in found if one.place in reference], kind, side) for kind in kinds)
    wanted = np.searchsorted(every, rows)
    table = _table(rows, wanted, found, kinds, levels)
    made = [
        variant(level.strength)
        for kind, level in zip(kinds, levels, strict=True)
        if level.strength is not None
        for variant in kind.variants
    ]
    flips, corrects = _harmless_counts([pixels[k] for k in wanted], before[wanted], label[wanted], made, answers)
    whole = table.with_columns(harmless_flips=pl.Series(flips), harmless_corrects=pl.Series(corrects))
    known = np.array(sorted(reference), np.int64)
    broken, _ = _harmless_counts([pixels[k] for k in known], before[known], label[known], made, answers)
    return Fragility(whole, levels, len(made), int((broken > 0).sum()), len(known))


def _table(
    rows: IntArray,
    places: IntArray,
    found: Sequence[Search],
    kinds: Sequence[Kind],
    levels: Sequence[Harmless],
) -> pl.DataFrame:
    """Strengths, answers and directions, and the smallest relative to what is harmless."""
    of = {(search.place, search.kind.name): search for search in found}
    columns: dict[str, pl.Series] = {"index": pl.Series(rows)}
    relative = np.full((len(kinds), len(rows)), np.inf)
    for k, (kind, level) in enumerate(zip(kinds, levels, strict=True)):
        mine = [of[int(place), kind.name] for place in places]
        flipped = [one.strength is not None for one in mine]
        columns[f"{kind.name}_strength"] = pl.Series([one.strength for one in mine], dtype=pl.Float64)
        for name in ("answer", "variant"):
            values = [getattr(one, name) if flips else None for one, flips in zip(mine, flipped, strict=True)]
            columns[f"{kind.name}_{name}"] = pl.Series(values, dtype=pl.Int64)
        if level.strength is not None:
            relative[k] = [np.inf if one.strength is None else one.strength / level.strength for one in mine]
    least, which = relative.min(0), relative.argmin(0)
    finite = np.isfinite(least)
    columns["smallest_change"] = pl.Series(np.where(finite, least, np.nan)).fill_nan(None)
    names = [kinds[k].name if ok else None for k, ok in zip(which, finite, strict=True)]
    columns["smallest_change_kind"] = pl.Series(names, dtype=pl.String)
    return pl.DataFrame(columns)


def _harmless_counts(
    images: Sequence[ImageArray], before: IntArray, label: IntArray, changes: Sequence[Change], answers: Answers
) -> tuple[IntArray, IntArray]:
    """How many of some changes flip each answer, and how many to the label, int64 ``(n,)`` each."""
    after = np.array([answers_after(images, change, answers) for change in changes], np.int64)
    flipped = after.reshape(-1, len(images)) != before
    return flipped.sum(0), (flipped & (after.reshape(-1, len(images)) == label)).sum(0)
