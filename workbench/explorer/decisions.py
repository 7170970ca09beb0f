"""A person's decisions on single rows: tags, a corrected label, a note; kept in a file beside the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench.core.files import lock, refuse_to_overwrite, write_json
from workbench.core.kept import KeptFile
from workbench.core.predictions import Predictions
from workbench.core.records import IntArray
from workbench.errors import DataError, OutputError
from workbench.explorer.fixes import fixes_of
from workbench.explorer.words import TAGS

FILE, PATH = "decisions.json", "path"
LONGEST = 2000


@dataclass(frozen=True)
class Decision:
    """The decision on one row: tags in alphabetical order, the corrected class (None: unchanged), and a note."""

    tags: tuple[str, ...] = ()
    label: int | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {"tags": list(self.tags), "label": self.label, "note": self.note}


NOTHING = Decision()


@dataclass(frozen=True)
class _Change:
    """What was done to one row."""

    before: Decision
    after: Decision

    @property
    def undone(self) -> _Change:
        return _Change(self.after, self.before)

    def onto(self, current: Decision) -> Decision:
        """The same done to what the row is now: what somebody else has changed since stays as it is."""
        was, new = set(self.before.tags), set(self.after.tags)
        tags = (set(current.tags) - (was - new)) | (new - was)
        label = self.after.label if current.label == self.before.label else current.label
        note = self.after.note if current.note == self.before.note else current.note
        return Decision(tuple(sorted(tags)), label, note)


def _is_text(words: str) -> bool:
    """Whether text can be written as Unicode: without an unpaired surrogate."""
    return not any("\ud800" <= letter <= "\udfff" for letter in words)


class Decisions:
    """The decisions on a run's rows; every change is on disk before it is reported as saved.

    Parameters
    ----------
    predictions : Predictions
        Predictions of the rows decided on; the file is bound to their data, split and classes.
    folder : Path or None
        Folder of ``decisions.json``; None keeps the decisions in memory only.

    Attributes
    ----------
    rows : dict of Decision by row id
        Only the rows that have a decision.
    unsaved : str
        Why the last change is not on disk; empty if it is. The next change tries again.

    Raises
    ------
    DataError
        If the file is damaged or belongs to other rows.
    """

    def __init__(self, predictions: Predictions, folder: Path | None = None) -> None:
        self._predictions = predictions
        self.path = None if folder is None else folder / FILE
        self.rows: dict[int, Decision] = {}
        self.unsaved = ""
        self._file = None if self.path is None else KeptFile(self.path, predictions, "decisions")
        self._undo: list[dict[int, _Change]] = []
        self._redo: list[dict[int, _Change]] = []
        self._pending: dict[int, _Change] = {}  # not on disk yet
        self._read()

    def _read(self) -> None:
        """Read the file again if another process has written it since."""
        found = None if self._file is None else self._file.read(self._rows_of)
        self.rows = self.rows if found is None else found

    def _rows_of(self, values: Mapping[str, Any]) -> dict[int, Decision]:
        return {int(row): self._decision(d) for row, d in values["rows"].items()}

    def _decision(self, values: Mapping[str, Any]) -> Decision:
        """A decision of the file; `ValueError` if a part is of another kind or range."""
        tags, label, note = values["tags"], values["label"], values["note"]
        words = tags if isinstance(tags, list) else [None]
        if not all(isinstance(tag, str) and _is_text(tag) and tag.strip() for tag in words):
            raise ValueError("expected a list of words as tags")
        if label is not None and (type(label) is not int or not 0 <= label < len(self._predictions.classes)):
            raise ValueError(f"expected a class from 0 to {len(self._predictions.classes) - 1} as label, not {label!r}")
        if not isinstance(note, str) or not _is_text(note):
            raise ValueError("expected text as note")
        return Decision(tuple(tags), label, note)

    def change(
        self,
        rows: Iterable[int],
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        label: int | None = None,
        clear_label: bool = False,
        note: str | None = None,
    ) -> list[int]:
        """Change the decisions on ``rows`` and save; return the ids of the rows that changed.

        Raises
        ------
        DataError
            If a row or class does not exist, a tag is empty, or a tag or note is over 2,000 characters or not Unicode.
        """
        for words in (*add, note or " "):
            if not _is_text(words):
                raise DataError("tags and notes: expected Unicode text, not an unpaired surrogate: type it again")
            if not words or len(words) > LONGEST:
                raise DataError(f"tags and notes: expected 1 to {LONGEST:,} characters, not {len(words):,}")
        if blank := [tag for tag in add if not tag.strip()]:
            raise DataError(f"tags: expected words, not {blank[0]!r}, which is blank")
        if label is not None and not 0 <= label < len(self._predictions.classes):
            raise DataError(f"label: expected a class from 0 to {len(self._predictions.classes) - 1}, not {label}")

        def changed(row: int) -> Decision:
            before = self.rows.get(row, NOTHING)
            tags = tuple(sorted((set(before.tags) | {word.strip() for word in add}) - set(remove)))
            kept = None if clear_label else before.label if label is None else label
            return dataclasses.replace(before, tags=tags, label=kept, note=before.note if note is None else note)

        ids = [int(row) for row in rows]
        for row in ids:
            self._predictions.position(row)
        return self._apply(lambda: {row: changed(row) for row in ids})

    def refresh(self) -> None:
        """Take over what other processes have written since; `DataError` if the file is damaged."""
        self._read()
        self._put(self._pending)

    def undo(self) -> list[int]:
        """Undo the last change; return the ids of the rows that changed, none if there is nothing to undo.

        What another process has changed on the same rows since is kept.
        """
        return self._travel(self._undo, self._redo)

    def redo(self) -> list[int]:
        """Redo the change that was undone last; return the ids of the rows that changed."""
        return self._travel(self._redo, self._undo)

    def _travel(self, source: list[dict[int, _Change]], target: list[dict[int, _Change]]) -> list[int]:
        if not source:
            return []

        def back() -> dict[int, _Change]:
            values = {row: change.undone for row, change in source.pop().items()}
            target.append(values)
            return values

        return self._commit(back)

    def _apply(self, make: Callable[[], dict[int, Decision]]) -> list[int]:
        def again() -> dict[int, _Change]:
            done = {row: _Change(self.rows.get(row, NOTHING), new) for row, new in make().items()}
            values = {row: change for row, change in done.items() if change.before != change.after}
            if values:
                self._undo.append(values)
                self._redo.clear()
            return values

        return self._commit(again)

    def _commit(self, make: Callable[[], dict[int, _Change]]) -> list[int]:
        """Read what other processes wrote, apply a change to it and save; return the ids of the rows that changed.

        The file is locked meanwhile. A change that can't be saved stays in memory and is written with the next one.
        """
        before, problem = dict(self.rows), ""
        with ExitStack() as held:
            if self.path is not None:
                try:
                    held.enter_context(lock(self.path.with_name(f".{self.path.name}.lock"), wait_s=10))
                except OutputError as error:
                    problem = str(error)
                self.refresh()
            values = make()
            self._put(values)
            if self.path is not None:
                older = {row: self._pending.get(row, change).before for row, change in values.items()}
                self._pending |= {row: _Change(older[row], change.after) for row, change in values.items()}
                problem = problem or self._save()
        self.unsaved = problem
        rows = before.keys() | self.rows.keys()
        return sorted(row for row in rows if before.get(row) != self.rows.get(row))

    def _put(self, changes: Mapping[int, _Change]) -> None:
        for row, change in changes.items():
            decision = change.onto(self.rows.get(row, NOTHING))
            if decision == NOTHING:
                self.rows.pop(row, None)
            else:
                self.rows[row] = decision

    def _save(self) -> str:
        """Write the file if changes are pending; return why it can't be written, or an empty string."""
        if self._file is None or not self._pending:
            return ""
        try:
            rows = {str(row): self.rows[row].to_json() for row in sorted(self.rows)}
            self._file.write({"rows": rows})
        except OutputError as error:
            return str(error)
        self._pending.clear()
        return ""

    def words(self) -> list[str]:
        """Every tag in use, after those that have keys."""
        own = {word for decision in self.rows.values() for word in decision.tags}
        return [*TAGS, *sorted(own - set(TAGS))]

    def tagged(self, words: Sequence[str]) -> IntArray:
        """Ids of the rows with at least one of the tags, int64 ``(n,)``, sorted."""
        found = [row for row, decision in self.rows.items() if set(words) & set(decision.tags)]
        return np.array(sorted(found), np.int64)

    def table(self) -> pl.DataFrame:
        """One row per decision: index, label, predicted, tags (joined by "; "), corrected_label, note, data, split.

        ``data`` (the identity of the data) and ``split`` tell which rows the ids are of; images from files have a path.
        """
        self.refresh()
        classes, of = self._predictions.classes, self._predictions
        places = [of.position(row) for row in sorted(self.rows)]
        decided = [self.rows[row] for row in sorted(self.rows)]
        return pl.DataFrame(
            {
                "index": sorted(self.rows),
                "label": [classes[of.label[place]] for place in places],
                "predicted": [classes[of.predicted[place]] for place in places],
                "tags": ["; ".join(d.tags) for d in decided],
                "corrected_label": [None if d.label is None else classes[d.label] for d in decided],
                "note": [d.note for d in decided],
                "data": [of.provenance.data] * len(decided),
                "split": [of.provenance.split] * len(decided),
                **self._paths(places),
            },
            schema_overrides={"index": pl.Int64, **dict.fromkeys(("corrected_label", "data", "split"), pl.String)},
        )

    def _paths(self, places: list[int]) -> dict[str, list[str]]:
        """The paths of rows at some places, where the predictions know them."""
        if PATH not in self._predictions.table.collect_schema():
            return {}
        return {PATH: self._predictions.columns(PATH)[PATH].gather(places).to_list()}

    @property
    def for_training(self) -> bool:
        """Whether these are rows of a train split, the only ones that training reads."""
        of = self._predictions.provenance
        return of.split == "train" and of.data is not None and of.reading is None

    def fixes(self) -> dict[str, Any]:
        """What `python -m training.run --fixes` reads; see `fixes.fixes_of`, which raises what this does."""
        self.refresh()
        return fixes_of(self.rows, self._predictions)

    def write_fixes(self, path: Path | str, *, force: bool = False) -> int:
        """Write `fixes` as JSON; return the number of rows.

        Raises
        ------
        DataError, OutputError
            As `fixes`; or if ``path`` exists and ``force`` is off, or can't be written.
        """
        path = Path(path)
        refuse_to_overwrite([path], force)
        values = self.fixes()
        write_json(path, values)
        return len(values["rows"])
