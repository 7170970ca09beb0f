"""The smallest changes that flip an answer, and which of them leave nearly all correct answers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from workbench.robustness.changes import Change, apply, probabilities
from workbench.robustness.kinds import DEFAULT, KINDS, Kind, kinds_named

KEPT = 0.99  # of the correct answers, by a harmless change
LEAST = 1 / 8  # of the weakest strength of a grid: none below is looked at
CLOSE = 0.9  # of the smallest change that flips an answer: one that does not
CORRECT_ROWS, LEAST_ROWS = 400, 100
BATCH_BYTES = 2**26  # of changed images held at once
Progress = Callable[[int, int], None]
Answers = Callable[[ImageArray], IntArray]


@dataclass
class Search:
    """The search for the smallest strength of one kind that flips the answer of one image.

    The strengths of the kind's grid are tried in turn, in all directions, until one flips the answer; then the interval
    below it is halved (on a logarithmic scale) in the directions that flipped it, until ``CLOSE`` times the strength
    does not flip the answer in any of them. ``strength`` is None if no strength of the grid flips it, and ``answer`` is
    the class that it is flipped to.
    """

    place: int
    kind: Kind
    grid: tuple[float, ...]
    before: int
    strength: float | None = None
    variant: int = 0
    answer: int = -1
    done: bool = False

    def __post_init__(self) -> None:
        self._open = tuple(range(len(self.kind.variants)))
        self._alone = [0.0]  # strengths that leave the answer alone
        self._level = 0

    def query(self) -> tuple[float, tuple[int, ...]]:
        """The strength to try next, and in which directions."""
        return (self.grid[self._level] if self.strength is None else self._below(self.strength)), self._open

    def _below(self, high: float) -> float:
        """The next strength to try below one that flips the answer."""
        low = max(strength for strength in self._alone if strength < high)
        if self.kind.whole:
            return float((low + high) // 2)
        middle = (low * high) ** 0.5 if low else high / 2
        return CLOSE * high if low >= CLOSE * high else min(middle, CLOSE * high)

    def record(self, strength: float, answers: Mapping[int, int]) -> None:
        """Continue from the class that each direction tried gives at a strength."""
        flipped = [variant for variant, answer in answers.items() if answer != self.before]
        if flipped:
            self.strength, self.variant, self.answer = strength, flipped[0], answers[flipped[0]]
            self._open = tuple(flipped)
        else:
            self._alone.append(strength)
        if self.strength is None:
            self._level += 1
            self.done = self._level == len(self.grid)
        else:
            following = self._below(self.strength)
            least = 1 if self.kind.whole else self.grid[0] * LEAST
            self.done = self.kind.is_switch or following in self._alone or following < least


def searches(
    images: Sequence[ImageArray],
    before: IntArray,
    kinds: Sequence[Kind],
    answers: Answers,
    *,
    progress: Progress | None = None,
) -> list[Search]:
    """Finished searches of each kind for each image, uint8 ``(H, W, 3)``, whose answer is ``before`` ``(n,)``.

    ``answers`` gives the predicted classes of images ``(m, H, W, 3)``; it is asked for many images and kinds at once.
    """
    found = [
        Search(place, kind, kind.grid(min(image.shape[:2])), int(before[place]))
        for place, image in enumerate(images)
        for kind in kinds
    ]
    going, total, size = list(found), len(found), _at_once(images, max(len(kind.variants) for kind in kinds))
    while going:
        for first in range(0, len(going), size):
            part = going[first : first + size]
            asked = [(search, *search.query()) for search in part]
            changed = [
                apply(images[search.place], search.kind.variants[variant](strength))
                for search, strength, variants in asked
                for variant in variants
            ]
            given = iter(answers(np.stack(changed)).tolist())
            for search, strength, variants in asked:
                search.record(strength, {variant: next(given) for variant in variants})
        going = [search for search in going if not search.done]
        if progress is not None:
            progress(total - len(going), total)
    return found


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
    """

    table: pl.DataFrame
    harmless: tuple[Harmless, ...]
    tried: int

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

    before = _answers_after(pixels, Change(), answers)
    found = searches(pixels, before, kinds, answers, progress=progress)
    label = np.array([predictions.label[predictions.position(int(row))] for row in every])
    side = min(pixels[0].shape[:2])
    reference = set(np.flatnonzero(np.isin(every, drawn) & (before == label)).tolist())
    levels = tuple(harmless([one for one in found if one.place in reference], kind, side) for kind in kinds)
    wanted = np.searchsorted(every, rows)
    table = _table(rows, wanted, found, kinds, levels, label)
    counted, tried = _harmless_counts(
        [pixels[k] for k in wanted], before[wanted], label[wanted], kinds, levels, answers
    )
    return Fragility(table.with_columns(**counted), levels, tried)


def _table(
    rows: IntArray,
    places: IntArray,
    found: Sequence[Search],
    kinds: Sequence[Kind],
    levels: Sequence[Harmless],
    label: IntArray,
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
    images: Sequence[ImageArray],
    before: IntArray,
    label: IntArray,
    kinds: Sequence[Kind],
    levels: Sequence[Harmless],
    answers: Answers,
) -> tuple[dict[str, pl.Series], int]:
    """How many harmless changes flip each answer, and how many to the label; then how many there are."""
    made = [
        variant(level.strength)
        for kind, level in zip(kinds, levels, strict=True)
        if level.strength is not None
        for variant in kind.variants
    ]
    after = np.array([_answers_after(images, change, answers) for change in made]).reshape(len(made), len(images))
    flips = (after != before).sum(0)
    corrects = ((after != before) & (after == label)).sum(0)
    return {"harmless_flips": pl.Series(flips), "harmless_corrects": pl.Series(corrects)}, len(made)


def _answers_after(images: Sequence[ImageArray], change: Change, answers: Answers) -> IntArray:
    """The predicted class of each image after a change, int64 ``(n,)``."""
    size = _at_once(images)
    parts = [images[first : first + size] for first in range(0, len(images), size)]
    found = [answers(np.stack([apply(image, change) for image in part])) for part in parts]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _at_once(images: Sequence[ImageArray], each: int = 1) -> int:
    """Of how many images ``each`` changed copies are held at once."""
    return max(1, BATCH_BYTES // (each * max((image.nbytes for image in images), default=1)))
