"""Cohorts: rows that somebody chose and named, kept beside the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench.analysis.cohorts import cohort_rates
from workbench.core.files import lock
from workbench.core.kept import KeptFile
from workbench.core.predictions import Predictions
from workbench.core.records import IntArray
from workbench.errors import DataError
from workbench.runs.run import Run

FILE, LONGEST = "cohorts.json", 80


@dataclass(frozen=True)
class Cohort:
    """Row ids, int64 ``(n,)``, ascending, and in words how they were chosen."""

    rows: IntArray
    words: str = ""


class Cohorts(Mapping[str, Cohort]):
    """The cohorts of a run by name, in the order in which they were saved.

    Every access reads what other processes have saved since; a change is on disk when it returns.

    Parameters
    ----------
    predictions : Predictions
        The file is bound to their data, split and classes.
    folder : Path or None
        Folder of ``cohorts.json``; None keeps the cohorts in memory only.

    Raises
    ------
    DataError
        If the file is damaged or belongs to other rows.
    """

    def __init__(self, predictions: Predictions, folder: Path | None = None) -> None:
        self._predictions = predictions
        self._file = None if folder is None else KeptFile(folder / FILE, predictions, "cohorts")
        self._cohorts: dict[str, Cohort] = {}
        self._read()

    def __getitem__(self, name: str) -> Cohort:
        self._read()
        if name not in self._cohorts:
            known = ", ".join(self._cohorts) or "none is saved"
            raise KeyError(f"no cohort {name!r}: {known}")
        return self._cohorts[name]

    def __iter__(self) -> Iterator[str]:
        self._read()
        return iter(tuple(self._cohorts))

    def __len__(self) -> int:
        self._read()
        return len(self._cohorts)

    def save(self, name: str, rows: Iterable[int], words: str = "", *, replace: bool = False) -> Cohort:
        """Save rows under a name.

        Parameters
        ----------
        name : str
            1 to 80 characters.
        rows : iterable of int
            Row ids.
        words : str
            How they were chosen.
        replace : bool
            Whether a cohort of this name is replaced.

        Raises
        ------
        DataError
            If the name is taken, blank or too long, or there are no rows, or ids that the predictions lack.
        OutputError
            If the file can't be written; nothing has changed then.
        """
        name = name.strip()
        if not 1 <= len(name) <= LONGEST or not name.isprintable():
            raise DataError(f"cohort: expected a name of 1 to {LONGEST} printable characters, not {name!r}")
        ids = np.unique(np.fromiter((int(row) for row in rows), np.int64))
        if not len(ids):
            raise DataError(f"cohort {name!r}: expected at least one row")
        if len(unknown := ids[~np.isin(ids, self._predictions.index)]):
            raise DataError(f"cohort {name!r}: there is no row {unknown[0]} in these predictions")

        def change(cohorts: dict[str, Cohort]) -> None:
            if name in cohorts and not replace:
                raise DataError(f"cohort {name!r} exists already: choose another name, or remove it first")
            cohorts[name] = Cohort(ids, words)

        self._change(change)
        return self._cohorts[name]

    def remove(self, name: str) -> None:
        """Remove a cohort; its rows stay as they are.

        Raises
        ------
        DataError
            If there is no such cohort.
        OutputError
            If the file can't be written; nothing has changed then.
        """

        def change(cohorts: dict[str, Cohort]) -> None:
            if cohorts.pop(name, None) is None:
                raise DataError(f"cohort: expected one of {', '.join(cohorts) or 'none'}, not {name!r}")

        self._change(change)

    @property
    def groups(self) -> dict[str, IntArray]:
        """The row ids of each."""
        return {name: cohort.rows for name, cohort in self.items()}

    def table(self) -> pl.DataFrame:
        """A row for each, with its error rate and the difference to all other rows; see `cohort_rates`."""
        return cohort_rates(self._predictions, self.groups)

    def _change(self, change: Callable[[dict[str, Cohort]], None]) -> None:
        """Apply a change to what is on disk now, and write it; the file is locked meanwhile."""
        with ExitStack() as held:
            if self._file is not None:
                path = self._file.path
                held.enter_context(lock(path.with_name(f".{path.name}.lock"), wait_s=10))
            self._read()
            cohorts = dict(self._cohorts)
            change(cohorts)
            if self._file is not None:
                saved = {name: {"rows": one.rows.tolist(), "words": one.words} for name, one in cohorts.items()}
                self._file.write({"cohorts": saved})
            self._cohorts = cohorts

    def _read(self) -> None:
        found = None if self._file is None else self._file.read(_cohorts_of)
        self._cohorts = self._cohorts if found is None else found


def _cohorts_of(values: Mapping[str, Any]) -> dict[str, Cohort]:
    return {str(name): _cohort(one) for name, one in values["cohorts"].items()}


def _cohort(values: Mapping[str, Any]) -> Cohort:
    rows, words = values["rows"], values["words"]
    if not isinstance(words, str) or not isinstance(rows, list) or not all(type(row) is int for row in rows):
        raise ValueError("expected a list of row ids, and words")
    return Cohort(np.array(rows, np.int64), words)


def cohorts(run: Run) -> Cohorts:
    """The cohorts saved beside a run: named rows, from the explorer or from code.

    Parameters
    ----------
    run : Run
        Without a folder its cohorts last as long as what this returns.

    Returns
    -------
    Cohorts
        A mapping of names; `Cohorts.save`, `Cohorts.remove` and `Cohorts.table` change and list them.

    Raises
    ------
    DataError
        If the file beside the run is damaged or belongs to other data.
    """
    return Cohorts(run.predictions, run.folder)
