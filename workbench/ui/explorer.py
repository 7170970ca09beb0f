"""The explorer: matrix, gallery and detail around one state."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as widgets

from workbench.attribution.registry import METHODS
from workbench.records import ORDERS
from workbench.run import Run
from workbench.state import ExplorerState
from workbench.ui.detail import DetailView
from workbench.ui.gallery import GalleryView
from workbench.ui.matrix import MatrixView

_STYLE = """<style>
.wb-banner{border-left:4px solid var(--jp-warn-color1,#b26a00);padding:8px 12px;line-height:1.5;
  background:var(--jp-layout-color2,#f4f4f4);color:var(--jp-ui-font-color1,#222)}
.wb-banner code{background:var(--jp-layout-color3,#e4e4e4);padding:1px 4px}
.wb-title{font-size:16px;color:var(--jp-ui-font-color1,#222)}
</style>"""


class Explorer(widgets.VBox):  # type: ignore[misc]
    """Linked views of a run's errors: click a cell to see its images, click an image to see its maps.

    Parameters
    ----------
    run : Run
        What `workbench.open_run` or `workbench.train_digits` returned.
    """

    def __init__(self, run: Run, **traits: Any) -> None:
        self.state = ExplorerState(run)
        self.matrix = MatrixView(self.state)
        self.gallery = GalleryView(self.state)
        self.detail = DetailView(self.state)
        order = widgets.Dropdown(options=ORDERS, description="Sort by")
        descending = widgets.Checkbox(description="highest first", indent=False, layout=widgets.Layout(width="auto"))
        wrong_only = widgets.Checkbox(description="errors only", indent=False, layout=widgets.Layout(width="auto"))
        method = widgets.Dropdown(options=tuple(METHODS), description="Method")
        grids = {} if run.classifier is None else run.classifier.cam_layers
        layers = [(f"{name} ({rows}×{columns})", name) for name, (rows, columns) in grids.items()] or [("", "")]
        layer = widgets.Dropdown(options=layers, description="Layer", layout=widgets.Layout(width="240px"))
        for control, name in (
            (order, "order"),
            (descending, "descending"),
            (wrong_only, "wrong_only"),
            (method, "method"),
            (layer, "layer"),
        ):
            widgets.link((self.state, name), (control, "value"))
        predictions = run.predictions
        title = (
            f"{_STYLE}<div class='wb-title'><b>{html.escape(run.name)}</b>: {predictions.accuracy:.2%} right, "
            f"{predictions.error_count:,} of {len(predictions):,} images wrong</div>"
        )
        banners = [widgets.HTML(f"<div class='wb-banner'>{_marked(note)}</div>") for note in run.notes]
        controls = widgets.HBox([order, descending, wrong_only], layout=widgets.Layout(flex_flow="row wrap"))
        right = widgets.VBox([controls, self.gallery], layout=widgets.Layout(flex="1 1 420px", min_width="0"))
        top = widgets.HBox([self.matrix, right], layout=widgets.Layout(flex_flow="row wrap", align_items="flex-start"))
        lower = widgets.HBox([method, layer], layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([widgets.HTML(title), *banners, top, lower, self.detail], **traits)
        self.add_class("wb-explorer")


def _marked(note: str) -> str:
    """The note as HTML, with what stands between backticks as code."""
    parts = html.escape(note).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
