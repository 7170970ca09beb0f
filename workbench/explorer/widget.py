"""The explorer: one widget whose views are ES modules; the kernel answers what only it can."""

from __future__ import annotations

import html
from typing import Any

import anywidget
import traitlets
from IPython.core.getipython import get_ipython
from IPython.display import HTML, display

from workbench.errors import WorkbenchError
from workbench.explorer.answers import Answers
from workbench.explorer.modules import join_modules, styles
from workbench.explorer.page import kept_with_notebook
from workbench.explorer.questions import STOP, question
from workbench.explorer.state import ExplorerState
from workbench.explorer.work import Job, Worker, answer
from workbench.runs.run import Run


class Explorer(anywidget.AnyWidget):
    """Linked views of a run's errors: what is selected in one is selected in all.

    Parameters
    ----------
    run : Run
        What `workbench.open_run`, `workbench.open_predictions` or `workbench.train_digits` returned.
    compared : Run, optional
        A second model on the same rows: which errors it fixes and which it introduces.
    selection : dict, optional
        The initial selection; see `selection.check_selection`.

    Attributes
    ----------
    state : ExplorerState
        ``explorer.state.rows`` are the selected row ids, ``.frame`` their table, ``.decisions`` the tags.

    Raises
    ------
    DataError
        If the runs do not fit each other, or the decisions beside the run are damaged.
    """

    _esm = join_modules("widget.js")
    _css = styles()
    selection = traitlets.Dict().tag(sync=True)
    first = traitlets.Dict().tag(sync=True)

    def __init__(self, run: Run, *, compared: Run | None = None, selection: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.state = ExplorerState(run, compared=compared, selection=selection or {})
        self._answers = Answers(self.state)
        self._worker = Worker()
        self.first = self._answers.first()
        self.add_class("wb-explorer")
        traitlets.link((self.state, "selection"), (self, "selection"))
        self.on_msg(self._received)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and beside it the copy that a reopened notebook shows in its place."""
        if get_ipython() is not None:
            display(HTML(_kept(self.state)))  # type: ignore[no-untyped-call]
        return super()._repr_mimebundle_(**options)

    def _received(self, _: object, content: dict[str, Any], __: object) -> None:
        """Answer a question of the views, at once or, if it takes long, in the worker thread."""
        number = content.get("id") if isinstance(content, dict) else None
        view = str(number).rpartition(":")[0]  # jobs of one view do not stop those of another

        def report(reply: dict[str, Any], buffers: list[bytes]) -> None:
            self.send({"id": number, **reply}, buffers)

        def reply() -> tuple[dict[str, Any], list[bytes]] | None:
            ask, what = question(content)
            if ask == STOP:
                self._worker.stop(f"{what.get('job')} {view}")
                return {}, []
            if self._answers.takes_long(ask, what):
                _import_scipy()
                self._worker.start(Job(f"{ask} {view}", lambda job: self._answers.slowly(ask, what, job), report))
                return None  # the worker reports it
            return self._answers.at_once(ask, what, report)

        found = answer(reply)
        if found is not None:
            report(*found)


def _import_scipy() -> None:
    """Import what most slow answers use before their thread does.

    In a notebook's kernel, messages of the page were seen to be lost after scipy.stats had been imported by another
    thread than the one that receives them (ipykernel 7).
    """
    import scipy.stats  # noqa: F401


def _kept(state: ExplorerState) -> str:
    """The copy that the notebook keeps, or why it keeps none: the explorer itself is shown either way."""
    try:
        return kept_with_notebook(state)
    except WorkbenchError as error:
        return f"<p>This notebook keeps no copy of the explorer: {html.escape(str(error))}</p>"
