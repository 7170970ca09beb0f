"""The gallery as one widget: a page of thumbnails in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from workbench import render
from workbench.state import ExplorerState

_STATIC = Path(__file__).parent / "static"


class GalleryView(anywidget.AnyWidget):
    """A page of the selected rows; a click or Enter on an image selects it.

    The thumbnails of a page travel as one PNG with the tiles side by side.
    """

    _esm = _STATIC / "gallery.js"
    _css = _STATIC / "workbench.css"
    sheet = traitlets.Bytes().tag(sync=True)
    items: traitlets.List[Any] = traitlets.List().tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)
    page = traitlets.Int().tag(sync=True)
    page_count = traitlets.Int(1).tag(sync=True)
    selected = traitlets.Int(-1).tag(sync=True)

    def __init__(self, state: ExplorerState) -> None:
        super().__init__()
        self._state = state
        self.add_class("wb-gallery-view")
        self.on_msg(self._received)
        traitlets.link((state, "selected"), (self, "selected"))
        state.on_rows(self._refresh)

    def _received(self, _: object, content: dict[str, Any], __: object) -> None:
        if "page" in content:
            self._state.page = min(max(0, int(content["page"])), self._state.page_count - 1)
        if "row" in content and int(content["row"]) in self._state.rows:
            self._state.selected = int(content["row"])

    def _refresh(self) -> None:
        state, frame = self._state, self._state.page_frame
        columns = ("index", "true_class", "predicted_class", "confidence", "correct")
        images = state.run.images
        pictures = [images.image(int(row)) for row in frame["index"]] if images is not None else []
        with self.hold_sync():
            self.sheet = render.png(render.sprite(pictures, len(pictures))) if pictures else b""
            self.items = frame.select(columns).to_dicts()
            self.description = state.description
            self.page, self.page_count = state.page, state.page_count
