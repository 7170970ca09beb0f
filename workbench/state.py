"""The explorer's state: what is selected and what follows from it; no widget, no drawing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import traitlets

from workbench.analysis.index import row_ids, select
from workbench.attribution.attribute import attribute
from workbench.attribution.registry import METHODS, method_of
from workbench.attribution.targets import Targets
from workbench.errors import WorkbenchError
from workbench.records import ORDERS, Attribution, IntArray, Query
from workbench.run import Run

PAGE = 40


@dataclass(frozen=True)
class Explanation:
    """The maps for one image: ``maps`` by title, in the order to show; ``message`` if there are none."""

    maps: dict[str, Attribution]
    message: str = ""


class ExplorerState(traitlets.HasTraits):
    """The selection and the query; setting a trait is all a view ever does.

    ``true`` and ``predicted`` are class numbers, -1 for any; ``selected`` is a row id, -1 for none.
    ``revision`` changes when the rows do.
    """

    true = traitlets.Int(-1)
    predicted = traitlets.Int(-1)
    wrong_only = traitlets.Bool(True)
    order = traitlets.Enum(ORDERS, default_value="loss")
    descending = traitlets.Bool(True)
    page = traitlets.Int(0)
    selected = traitlets.Int(-1)
    method = traitlets.Enum(tuple(METHODS), default_value="Grad-CAM")
    layer = traitlets.Unicode()
    revision = traitlets.Int(0)

    def __init__(self, run: Run, **traits: Any) -> None:
        super().__init__(**traits)
        self.run = run
        if run.classifier is not None and not self.layer:
            self.layer = list(run.classifier.cam_layers)[-1]
        self.frame: pl.DataFrame = pl.DataFrame()
        self._select()
        self.observe(self._select, ["true", "predicted", "wrong_only", "order", "descending"])

    def select_cell(self, true: int, predicted: int) -> None:
        """Show the images of one cell; -1 stands for any class, and the same cell again for all errors."""
        if (true, predicted) == (self.true, self.predicted):
            true = predicted = -1
        with self.hold_trait_notifications():
            self.true, self.predicted = true, predicted
            self.wrong_only = true != predicted or true == -1

    def _select(self, _: object = None) -> None:
        true, predicted = (None if value < 0 else value for value in (self.true, self.predicted))
        query = Query(true, predicted, self.wrong_only, order=self.order, descending=self.descending)
        self.frame = select(self.run.predictions, query)
        self.page = 0
        if self.selected >= 0 and self.selected not in self.rows:
            self.selected = -1
        self.revision += 1

    @property
    def rows(self) -> IntArray:
        """Row ids of the query, int64 ``(n,)``, in its order."""
        return row_ids(self.frame)

    @property
    def page_count(self) -> int:
        """Number of pages, at least 1."""
        return max(1, -(-len(self.frame) // PAGE))

    @property
    def page_frame(self) -> pl.DataFrame:
        """The rows of the current page."""
        return self.frame.slice(self.page * PAGE, PAGE)

    @property
    def description(self) -> str:
        """The query in words."""
        classes, count = self.run.predictions.classes, len(self.frame)
        noun = "error" if self.wrong_only else "image"
        total = self.run.predictions.error_count if self.wrong_only else len(self.run.predictions)
        of = f"{count:,} of {total:,} {noun}s"
        if self.true >= 0 and self.predicted >= 0:
            if self.true == self.predicted:
                return f"{count:,} images of {classes[self.true]}, rightly recognised"
            return f"{of}: {classes[self.true]} taken for {classes[self.predicted]}"
        if self.true >= 0:
            return f"{of}: true class {classes[self.true]}"
        if self.predicted >= 0:
            return f"{of}: taken for {classes[self.predicted]}"
        return f"All {count:,} {noun}s"

    def explain(self) -> Explanation:
        """Maps of the selected image for its predicted and its true class, by the chosen method and layer."""
        run, row = self.run, self.selected
        if run.images is None or run.classifier is None:
            missing = "images are" if run.images is None else "model is"
            return Explanation({}, f"No maps: the {missing} not on this machine.")
        place = run.predictions.position(row)
        predicted, label = int(run.predictions.predicted[place]), int(run.predictions.label[place])
        targets = np.array([predicted] if predicted == label else [predicted, label])
        rows = np.full(len(targets), row)
        images = run.images.pixels[rows]
        try:
            layers = [self.layer] if method_of(self.method).input is None else []
            (whole,) = attribute(run.classifier, images, rows, Targets(targets), self.method, layers=layers).values()
        except WorkbenchError as error:
            return Explanation({}, str(error))
        roles = ("predicted", "true") if len(targets) == 2 else ("predicted and true",)
        classes = run.predictions.classes
        return Explanation(
            {
                f"{classes[t]} ({r})": whole.part(slice(k, k + 1))
                for k, (t, r) in enumerate(zip(targets, roles, strict=True))
            }
        )

    def on_rows(self, call: Callable[[], None]) -> None:
        """Call now, and whenever the rows or the page change."""
        self.observe(lambda _: call(), ["revision", "page"])
        call()
