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
from workbench.models.classifier import Classifier
from workbench.models.match import match_classes
from workbench.robustness.changes import Change, probabilities
from workbench.robustness.harmless import (
    KEPT,
    Harmless,
    Rows,
    changes_of,
    check_enough,
    correct_rows,
    counted,
    flip_counts,
    harmless_strength,
)
from workbench.robustness.kinds import DEFAULT, KINDS, ChangeKind, amount_of, kinds_named
from workbench.robustness.search import Progress, Search, answers_after, searches


@dataclass(frozen=True)
class Fragility:
    """How little changes the answers.

    Parameters
    ----------
    table : DataFrame
        One row for each image: ``index``; ``answer``, the class predicted here; for each kind ``KIND_strength``, the
        smallest that flips the answer (null if none does), ``KIND_answer``, the class it is flipped to, and
        ``KIND_variant``, its direction;
        ``smallest_change``, the least over the kinds of strength divided by the harmless strength, with its
        ``smallest_change_kind`` (null if no kind that has a harmless strength flips the answer); ``harmless_flips`` and
        ``harmless_corrects``, how many of the ``tried`` harmless changes flip the answer, and to the label.
    harmless : tuple of Harmless
    tried : int
        Number of harmless changes: the directions of all kinds that have a harmless strength.
    broken, reference : int
        Of ``reference`` correct rows, others than those that the changes were chosen on, how many at least one of the
        harmless changes breaks.
    omitted : int
        Rows asked for as misclassified that are correct when predicted here, and so are left out.
    """

    table: pl.DataFrame
    harmless: tuple[Harmless, ...]
    tried: int
    broken: int
    reference: int
    omitted: int = 0

    def change(self, row: int, kind: str) -> Change | None:
        """The smallest change of a kind that flips the answer of a row id; None if none does."""
        values = self.table.row(by_predicate=pl.col("index") == row, named=True)
        if (strength := values[f"{kind}_strength"]) is None:
            return None
        found: Change = KINDS[kind].variants[values[f"{kind}_variant"]](strength)
        return found.seeded(row)

    @property
    def harmless_changes(self) -> tuple[Change, ...]:
        """Every harmless change, in all directions."""
        return changes_of(self.harmless)

    def sentences(self) -> list[str]:
        """What was found, a line each."""
        levels = [level for level in self.harmless if level.strength is not None]
        without = [level.kind for level in self.harmless if level.strength is None]
        words = "; ".join(
            f"{_level_words(level)} ({level.kept:.1%} kept, {level.low:.1%} to {level.high:.1%})" for level in levels
        )
        lines = [f"harmless, as about {KEPT:.0%} of the correct answers stay: {words or 'no change tried'}"]
        if without:
            lines.append(f"not harmless at any strength tried: {', '.join(without)}")
        if len(self.table) and self.tried:
            flips, corrects = (int((self.table[f"harmless_{name}"] > 0).sum()) for name in ("flips", "corrects"))
            lines.append(
                f"at least one of {self.tried} harmless changes breaks {_share(self.broken, self.reference)} correct "
                f"images, flips {_share(flips, len(self.table))} misclassified ones, and corrects "
                f"{_share(corrects, len(self.table))}"
            )
        if self.omitted:
            rows = "1 row is" if self.omitted == 1 else f"{self.omitted:,} rows are"
            lines.append(f"{rows} correct when predicted here and left out")
        return lines

    def to_json(self) -> dict[str, Any]:
        """What is harmless, and what the harmless changes do, as JSON values."""
        return {
            "harmless": [
                {name: None if value != value else value for name, value in asdict(level).items()}  # nan
                for level in self.harmless
            ],
            "tried": self.tried,
            "rows": len(self.table),
            "omitted": self.omitted,
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

    What is harmless is chosen on up to 400 correct rows drawn at random, as a change whose every direction leaves 99 %
    of their answers alone, and counted on as many others. Answers are those of this model on these images: rows that
    are misclassified in the predictions but not here, as another processor rounded otherwise, are left out.

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
        If there is no such kind, a row is absent, or fewer than 200 rows are correct: 99 % of half of them mean little.

    Notes
    -----
    The search assumes that an answer which a grid of strengths, each twice the one before, leaves alone is left alone
    between them, too. Strengths below an eighth of the weakest are not looked at.
    """
    kinds = kinds_named(changes)
    errors = rows is None
    rows = predictions.index[~predictions.correct] if rows is None else np.asarray(rows, np.int64)
    chosen_on, counted_on = correct_rows(predictions, seed)
    seen = classifier.seen(match_classes(images, classifier.classes))

    def answers(batch: ImageArray) -> IntArray:
        return np.asarray(probabilities(classifier, batch, precision).argmax(1))

    def known(ids: IntArray) -> Rows:
        pixels = [seen.image(int(row)) for row in ids]
        label = np.array([predictions.label[predictions.position(int(row))] for row in ids], np.int64)
        return Rows(ids, pixels, label, answers_after(pixels, ids, Change(), answers))

    first, second, own = known(chosen_on), known(counted_on), known(rows)
    first, second = first.where(first.before == first.label), second.where(second.before == second.label)
    for half in (first, second):
        check_enough(len(half.ids))
    omitted = int((own.before == own.label).sum()) if errors else 0
    own = own.where(own.before != own.label) if errors else own
    both = Rows.joined(own, first)
    found = searches(both.images, both.before, kinds, answers, ids=both.ids, progress=progress)
    side = min(first.images[0].shape[:2])
    reference = [one for one in found if one.place >= len(own.ids)]
    levels = tuple(counted(second, kind, harmless_strength(reference, kind, side), answers) for kind in kinds)
    made = changes_of(levels)
    broken, _ = flip_counts(second, made, answers)
    flips, corrects = flip_counts(own, made, answers)
    table = _table(own, [one for one in found if one.place < len(own.ids)], kinds, levels)
    whole = table.with_columns(harmless_flips=pl.Series(flips), harmless_corrects=pl.Series(corrects))
    return Fragility(whole, levels, len(made), int((broken > 0).sum()), len(second.ids), omitted)


def _level_words(level: Harmless) -> str:
    if KINDS[level.kind].is_switch:
        return level.kind
    return f"{level.kind} up to {amount_of(level.strength or 0.0)} {KINDS[level.kind].unit.partition(' (')[0]}"


def _share(count: int, rows: int) -> str:
    """A count of rows, with its share and 95 % Wilson interval."""
    low, high = wilson_interval(count, rows)
    return f"{count:,} of {rows:,} ({count / rows:.1%}, {low:.1%} to {high:.1%})"


def _table(own: Rows, found: Sequence[Search], kinds: Sequence[ChangeKind], levels: Sequence[Harmless]) -> pl.DataFrame:
    """Strengths, answers and directions, and the smallest relative to what is harmless."""
    of = {(search.place, search.kind.name): search for search in found}
    columns = {"index": pl.Series(own.ids), "answer": pl.Series(own.before)}
    relative = np.full((len(kinds), len(own.ids)), np.inf)
    for k, (kind, level) in enumerate(zip(kinds, levels, strict=True)):
        mine = [of[place, kind.name] for place in range(len(own.ids))]
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
