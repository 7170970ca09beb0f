"""A JSON file that people's work on a run is kept in, bound to the run's data, split and classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from workbench.core.files import write_json
from workbench.core.predictions import Predictions
from workbench.errors import DataError

FORMAT = 1
T = TypeVar("T")


class KeptFile:
    """Reads what other processes have written since, and writes whole files.

    Parameters
    ----------
    path : Path
    predictions : Predictions
        Of the rows that the file is about.
    what : str
        What the file holds, for its messages.
    """

    def __init__(self, path: Path, predictions: Predictions, what: str) -> None:
        self.path, self._what = path, what
        of = predictions.provenance
        self._bound = {"format": FORMAT, "data": of.data, "split": of.split, "classes": list(predictions.classes)}
        self._known = b""

    def read(self, parse: Callable[[dict[str, Any]], T]) -> T | None:
        """What ``parse`` makes of the file's values; None where there is no file, or it has not changed.

        Raises
        ------
        DataError
            If the file is damaged or belongs to other rows.
        """
        if not self.path.is_file():
            return None
        text = self.path.read_bytes()
        if text == self._known:
            return None
        try:
            values = json.loads(text)
            found = parse(values)
            bound = {name: values[name] for name in self._bound}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise DataError(f"{self.path} is damaged ({error}): move it away to start without {self._what}") from error
        if bound != self._bound:
            raise DataError(f"{self.path} has {self._what} on other data: name another folder, or move the file away")
        self._known = text
        return found

    def write(self, values: dict[str, Any]) -> None:
        """Replace the file; `OutputError` if it can't be written."""
        write_json(self.path, {**self._bound, **values})
        self._known = self.path.read_bytes()
