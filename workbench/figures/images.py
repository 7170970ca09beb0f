"""Images with their maps as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from workbench.core.predictions import Predictions
from workbench.core.records import Attribution, ImageArray, ImageSet, IntArray, ProbabilityArray
from workbench.figures.base import INK, STYLE, figure_of, own_axes
from workbench.images import render


def draw_picture(ax: Axes, image: ImageArray) -> None:
    """An image uint8 ``(H, W, 3)`` without axes, its pixels as squares."""
    ax.imshow(image, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def image_grid(images: ImageSet, predictions: Predictions, rows: IntArray, *, columns: int = 5) -> Figure:
    """The images of the given rows, each with its true and predicted class, confidence and row id."""
    lines = -(-len(rows) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.1 * columns, 2.65 * lines), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False).flat
        for ax in grid:
            ax.set_axis_off()
        for ax, row in zip(figure.axes, rows, strict=False):
            place = predictions.position(int(row))
            ax.set_axis_on()
            draw_picture(ax, images.image(int(row)))
            true, predicted = (predictions.classes[c[place]] for c in (predictions.label, predictions.predicted))
            confident = f"{predictions.confidence[place]:.1%} confident · " if predictions.has_probabilities else ""
            ax.set_title(f"{true} → {predicted}\n{confident}#{row}", loc="left", fontsize=9)
    return figure


def _kind(attribution: Attribution) -> tuple[str, str]:
    return attribution.title, attribution.layer


def attribution_grid(
    images: ImageSet,
    predictions: Predictions,
    columns: Mapping[str, Attribution],
    *,
    signed: bool | None = False,
    scale: Literal["shared", "own"] = "shared",
) -> Figure:
    """One row per image: the image, then each column's map over it. Columns must explain the same rows.

    ``signed`` selects whether values below 0 are drawn (blue) or count as 0; None follows each method's convention, as
    the explorer does: drawn for signed maps on the input, 0 for class activation maps.
    With the scale ``"shared"``, columns of one method and layer share one scale for all images, shown by their colour
    bars, so that their maps can be compared by eye; with ``"own"``, each map fills the colour ramp by itself, and
    strengths can't be compared.
    """
    rows: Sequence[int] = [int(row) for row in next(iter(columns.values())).rows]
    both = {title: a.two_sided if signed is None else signed for title, a in columns.items()}
    with mpl.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
        figure = Figure(figsize=(1.35 * (len(columns) + 1) + 1.2, 1.35 * len(rows) + 1.3), layout=layout)
        heights = [1.0] * len(rows) + [0.09]  # the last row holds the colour bars
        whole = figure.subplots(len(heights), len(columns) + 1, squeeze=False, height_ratios=heights)
        grid, bars = whole[:-1], whole[-1]
        bars[0].set_axis_off()
        scales = {
            title: max(render.scale_of(b.values, signed=both[title]) for b in columns.values() if _kind(b) == _kind(a))
            for title, a in columns.items()
        }
        for line, row in enumerate(rows):
            place = predictions.position(row)
            image = images.image(row)
            draw_picture(grid[line, 0], image)
            true, predicted = (predictions.classes[c[place]] for c in (predictions.label, predictions.predicted))
            grid[line, 0].set_ylabel(f"{true}\n→ {predicted}\n#{row}", rotation=0, ha="right", va="center", fontsize=8)
            large = render.enlarge(image, max(1, 128 // image.shape[0]))
            for column, (title, attribution) in enumerate(columns.items(), start=1):
                values, ax = attribution.values[line], grid[line, column]
                top = render.scale_of(values, signed=both[title]) if scale == "own" else scales[title]
                draw_picture(ax, render.overlay(large, values, top, signed=both[title]))
                if render.remark(values, signed=both[title]):
                    ax.text(
                        0.5, 0.5, "no positive\nvalue" if np.any(values) else "all 0", **_REMARK, transform=ax.transAxes
                    )
        for ax, title in zip(grid[0], ("image", *columns), strict=True):
            ax.set_title(title, fontsize=9)
        for column, title in enumerate(columns, start=1):
            _bar(figure, bars[column], scales[title], both[title], own=scale == "own")
    return figure


_REMARK: Any = {"ha": "center", "va": "center", "fontsize": 8, "color": "white"}


def _bar(figure: Figure, ax: Axes, top: float, signed: bool, *, own: bool) -> None:
    """The colour bar of one column; for maps on separate scales its ends are signs in place of numbers."""
    top = top or 1.0
    low = -top if signed else 0.0
    colours = mpl.cm.ScalarMappable(Normalize(low, top), ListedColormap(render.colour_ramp(signed)))
    bar = figure.colorbar(colours, cax=ax, orientation="horizontal")
    ends = ("−" if signed else "0", "+") if own else (f"{low:.2g}", f"{top:.2g}")
    bar.set_ticks([low, top], labels=ends)
    bar.ax.tick_params(labelsize=7, length=2)
    lowest, highest = bar.ax.get_xticklabels()
    lowest.set_horizontalalignment("left")  # centred, the numbers of neighbours would touch
    highest.set_horizontalalignment("right")
    bar.outline.set_visible(False)


def group_map(mean: ProbabilityArray, region: NDArray[np.bool_], *, ax: Axes | None = None) -> Axes:
    """The mean map ``(h, w)`` of a group of images, with the outline of a region bool ``(side, side)`` drawn on it."""
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 3.3, 3.6)
        top, side = render.scale_of(mean, signed=True), len(region)
        coloured = render.colour(render.upsample(mean, side, side), top, signed=True)
        draw_picture(ax, coloured)
        ax.contour(region, levels=[0.5], colors=INK, linewidths=1.5)
        colours = mpl.cm.ScalarMappable(
            Normalize(-top or -1, top or 1), ListedColormap(render.colour_ramp(signed=True))
        )
        bar = figure_of(ax).colorbar(colours, ax=ax, shrink=0.85)
        bar.outline.set_visible(False)
        ax.set_title("mean map, region outlined", fontsize=10, loc="left")
    return ax
