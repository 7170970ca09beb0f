"""The confusion matrix as a widget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from workbench.analysis.confusion import cell_intervals, confusion_matrix, normalised
from workbench.state import ExplorerState

_STATIC = Path(__file__).parent / "static"


class MatrixView(anywidget.AnyWidget):
    """Counts or shares by true and predicted class; a click or Enter on a cell selects its images."""

    _esm = _STATIC / "matrix.js"
    _css = _STATIC / "workbench.css"
    classes: traitlets.List[Any] = traitlets.List().tag(sync=True)
    counts: traitlets.List[Any] = traitlets.List().tag(sync=True)
    by_true: traitlets.List[Any] = traitlets.List().tag(sync=True)
    by_predicted: traitlets.List[Any] = traitlets.List().tag(sync=True)
    low: traitlets.List[Any] = traitlets.List().tag(sync=True)
    high: traitlets.List[Any] = traitlets.List().tag(sync=True)
    mode = traitlets.Enum(["counts", "by_true", "by_predicted"], default_value="counts").tag(sync=True)
    cell: traitlets.List[Any] = traitlets.List([-1, -1]).tag(sync=True)

    def __init__(self, state: ExplorerState) -> None:
        matrix = confusion_matrix(state.run.predictions)
        low, high = cell_intervals(matrix, "true")
        super().__init__(
            classes=list(matrix.classes),
            counts=matrix.counts.tolist(),
            by_true=normalised(matrix, "true").tolist(),
            by_predicted=normalised(matrix, "predicted").tolist(),
            low=low.tolist(),
            high=high.tolist(),
        )
        self._state = state
        self.add_class("wb-matrix-view")
        self.on_msg(self._clicked)
        state.observe(self._follow, ["revision"])

    def _clicked(self, _: object, content: dict[str, Any], __: object) -> None:
        self._state.select_cell(int(content["true"]), int(content["predicted"]))

    def _follow(self, _: object) -> None:
        self.cell = [self._state.true, self._state.predicted]
