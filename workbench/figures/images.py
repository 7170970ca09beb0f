"""Images with their maps as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from workbench import render
from workbench.figures.base import STYLE
from workbench.predictions import Predictions
from workbench.records import Attribution, ImageArray, ImageSet, IntArray


def _picture(ax: Axes, image: ImageArray) -> None:
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
            _picture(ax, images.image(int(row)))
            true, predicted = (predictions.classes[c[place]] for c in (predictions.label, predictions.predicted))
            ax.set_title(
                f"{true} → {predicted}\n{predictions.confidence[place]:.1%} sure · #{row}", loc="left", fontsize=9
            )
    return figure


def _kind(attribution: Attribution) -> tuple[str, str]:
    return attribution.method, attribution.layer


def attribution_grid(
    images: ImageSet, predictions: Predictions, columns: Mapping[str, Attribution], *, signed: bool = False
) -> Figure:
    """One line an image: the image, then each column's map over it.

    Columns of one method and layer share one scale for all images, shown by their colour bars, so
    that their maps can be compared by eye. Columns must explain the same rows.
    """
    rows: Sequence[int] = [int(row) for row in next(iter(columns.values())).rows]
    with mpl.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
        figure = Figure(figsize=(1.35 * (len(columns) + 1) + 1.2, 1.35 * len(rows) + 1.3), layout=layout)
        heights = [1.0] * len(rows) + [0.09]  # the last line holds the colour bars
        whole = figure.subplots(len(heights), len(columns) + 1, squeeze=False, height_ratios=heights)
        grid, bars = whole[:-1], whole[-1]
        bars[0].set_axis_off()
        scales = {
            title: max(render.scale_of(b.values, signed=signed) for b in columns.values() if _kind(b) == _kind(a))
            for title, a in columns.items()
        }
        for line, row in enumerate(rows):
            place = predictions.position(row)
            image = images.image(row)
            _picture(grid[line, 0], image)
            true, predicted = (predictions.classes[c[place]] for c in (predictions.label, predictions.predicted))
            grid[line, 0].set_ylabel(f"{true}\n→ {predicted}\n#{row}", rotation=0, ha="right", va="center", fontsize=8)
            for column, (title, attribution) in enumerate(columns.items(), start=1):
                large = render.enlarge(image, max(1, 128 // image.shape[0]))
                picture = render.overlay(large, attribution.values[line], scales[title], signed=signed)
                _picture(grid[line, column], picture)
        for ax, title in zip(grid[0], ("image", *columns), strict=True):
            ax.set_title(title, fontsize=9)
        ramp = ListedColormap(render.colour_ramp(signed))
        for column, title in enumerate(columns, start=1):
            top = scales[title] or 1.0
            colours = mpl.cm.ScalarMappable(Normalize(-top if signed else 0, top), ramp)
            bar = figure.colorbar(colours, cax=bars[column], orientation="horizontal")
            bar.set_ticks([0, top], labels=["0", f"{top:.2g}"])
            bar.ax.tick_params(labelsize=7, length=2)
            lowest, highest = bar.ax.get_xticklabels()
            lowest.set_horizontalalignment("left")  # centred, the numbers of neighbours would touch
            highest.set_horizontalalignment("right")
            bar.outline.set_visible(False)
    return figure
