"""Several runs in one place: choose one, and another to compare it with; the explorer appears below."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from workbench.errors import DataError, WorkbenchError
from workbench.explorer.widget import Explorer
from workbench.runs.run import Run

NOTHING = "nothing"


class Dashboard(ipywidgets.VBox):  # type: ignore[misc]
    """An explorer with a choice of runs above it: for a team's notebook, or as an app with Voila.

    Parameters
    ----------
    runs : mapping of str to function
        For each name the function that opens its run, such as ``workbench.open_example``, called on first choice.

    Attributes
    ----------
    explorer : Explorer or None
        The explorer shown; None while a run can't be opened: an error message is shown in its place.

    Raises
    ------
    DataError
        If ``runs`` is empty.
    """

    def __init__(self, runs: Mapping[str, Callable[[], Run]]) -> None:
        if not runs:
            raise DataError("runs: expected at least one name with a function that opens its run, not none")
        self._open = dict(runs)
        self._runs: dict[str, Run] = {}
        self.explorer: Explorer | None = None
        names = list(self._open)
        style = {"description_width": "initial"}
        self._run = ipywidgets.Dropdown(options=names, description="Run", style=style)
        self._other = ipywidgets.Dropdown(options=[NOTHING, *names], description="Compare with", style=style)
        self._status = ipywidgets.HTML()
        self._place = ipywidgets.VBox()
        choices = ipywidgets.HBox([self._run, self._other, self._status])
        choices.layout.display = "" if len(names) > 1 else "none"
        super().__init__([choices, self._place])
        for choice in (self._run, self._other):
            choice.observe(self._chosen, "value")
        self._chosen(None)

    def _opened(self, name: str) -> Run:
        if name not in self._runs:
            self._runs[name] = self._open[name]()
        return self._runs[name]

    def _chosen(self, _: object) -> None:
        """Show the chosen run; if it can't be opened or compared, the error is shown in place of the last explorer."""
        if self.explorer is not None:
            self.explorer.close()
            self.explorer = None
        self._status.value = "Opening …"
        try:
            other = None if self._other.value == NOTHING else self._opened(self._other.value)
            self.explorer = Explorer(self._opened(self._run.value), compared=other)
        except WorkbenchError as error:
            said: Any = ipywidgets.HTML(f"<p role='alert'>{html.escape(str(error))}</p>")
        else:
            said = self.explorer
        self._status.value = ""
        self._place.children = [said]
