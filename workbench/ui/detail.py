"""One image in detail: enlarged, with its probabilities and maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from workbench import render
from workbench.records import Attribution
from workbench.state import ExplorerState

_STATIC = Path(__file__).parent / "static"
SIDE = 192


class DetailView(anywidget.AnyWidget):
    """The selected image with the probabilities of all classes and the maps of the chosen method.

    ``sheet`` is a PNG of the image and its maps side by side, each ``side`` pixels wide; ``panels``
    has title and note for each; ``scale`` describes the one colour scale that the maps share.
    """

    _esm = _STATIC / "detail.js"
    _css = _STATIC / "workbench.css"
    row = traitlets.Int(-1).tag(sync=True)
    heading = traitlets.Unicode().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    sheet = traitlets.Bytes().tag(sync=True)
    side = traitlets.Int(SIDE).tag(sync=True)
    panels: traitlets.List[Any] = traitlets.List().tag(sync=True)
    bars: traitlets.List[Any] = traitlets.List().tag(sync=True)
    scale = traitlets.Dict().tag(sync=True)

    def __init__(self, state: ExplorerState) -> None:
        super().__init__()
        self._state = state
        self.add_class("wb-detail-view")
        state.observe(lambda _: self._refresh(), ["selected", "method", "layer"])
        self._refresh()

    def _refresh(self) -> None:
        state, predictions = self._state, self._state.run.predictions
        if state.selected < 0:
            with self.hold_sync():
                self.row, self.sheet, self.panels, self.bars, self.scale, self.heading = -1, b"", [], [], {}, ""
                self.message = "Click an image to see what the model looked at."
            return
        place = predictions.position(state.selected)
        true, predicted = (predictions.classes[c[place]] for c in (predictions.label, predictions.predicted))
        verdict = "rightly recognised" if true == predicted else f"taken for {predicted}"
        explanation = state.explain()
        with self.hold_sync():
            self.row, self.message = state.selected, explanation.message
            self.heading = f"#{state.selected}: {true}, {verdict}"
            self.bars = [
                {"name": name, "value": float(value), "true": name == true, "predicted": name == predicted}
                for name, value in zip(predictions.classes, predictions.probability[place], strict=True)
            ]
            self._draw(explanation.maps)

    def _draw(self, maps: dict[str, Attribution]) -> None:
        """Fill sheet, panels and scale with the image and its maps on one scale."""
        images = self._state.run.images
        if images is None:
            self.sheet, self.panels, self.scale = b"", [], {}
            return
        image = images.image(self._state.selected)
        large = render.enlarge(image, max(1, SIDE // image.shape[0]))
        self.side = large.shape[0]
        signed = any(attribution.layer == "" and attribution.signed for attribution in maps.values())
        top = max((render.scale_of(a.values, signed=signed) for a in maps.values()), default=0.0)
        pictures, panels = [large], [{"title": "image", "note": f"{image.shape[1]}×{image.shape[0]} pixels"}]
        for title, attribution in maps.items():
            pictures.append(render.overlay(large, attribution.values[0], top, signed=signed))
            panels.append({"title": title, "note": _note(attribution, signed)})
        ramp = np.rint(render.colour_ramp(signed)[::15] * 255).astype(int)
        self.sheet, self.panels = render.png(render.sprite(pictures, len(pictures))), panels
        self.scale = (
            {"top": top, "signed": signed, "colours": [f"rgb({r},{g},{b})" for r, g, b in ramp]} if maps else {}
        )


def _note(attribution: Attribution, signed: bool) -> str:
    """What a reader must know of a map before believing it."""
    if said := render.remark(attribution.values, signed=signed):
        return said
    if attribution.residual is not None:
        return f"off its sum by {attribution.residual[0]:.1%}"
    height, width = attribution.values.shape[1:]
    if not attribution.layer:
        return f"{height}×{width} pixels"
    return f"{attribution.layer}, {height}×{width} grid"
