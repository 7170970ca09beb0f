"""Records to matplotlib figures: one function each, drawing on the axes it is given or on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter

from workbench import render
from workbench.analysis.confusion import Normalisation, normalised
from workbench.files import write_atomically
from workbench.records import Attribution, ClassReport, ConfusionMatrix, ImageArray, ImageSet, IntArray, Predictions

INK, GRID, ACCENT = "#222222", "#DDDDDD", "#B5403A"
STYLE: Any = {
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "workbench",
    "svg.fonttype": "none",
}


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return Figure(figsize=size, layout="constrained").subplots() if ax is None else ax


def confusion_matrix(matrix: ConfusionMatrix, *, by: Normalisation | None = None, ax: Axes | None = None) -> Axes:
    """The matrix with numbers in its cells; colour shows the errors only, so that rare ones stay visible.

    ``by`` shows fractions of the true or predicted class instead of counts. The diagonal is left uncoloured.
    """
    values = matrix.counts.astype(float) if by is None else normalised(matrix, by)
    wrong = np.ma.masked_array(values, np.eye(len(values), dtype=bool))
    with mpl.rc_context(STYLE):
        ax = _axes(ax, (8.2, 7.2))
        largest = max(float(wrong.max() or 0), 1e-9)
        labels = np.array([[f"{v:.0f}" if by is None else f"{100 * v:.1f}" for v in row] for row in values])
        sns.heatmap(
            np.where(np.eye(len(values), dtype=bool), np.nan, values),
            ax=ax,
            cmap=sns.light_palette(ACCENT, as_cmap=True),
            vmin=0,
            vmax=largest,
            annot=labels,
            fmt="",
            linewidths=1,
            linecolor="white",
            square=True,
            xticklabels=matrix.classes,
            yticklabels=matrix.classes,
            cbar_kws={"shrink": 0.7, "label": "Errors" if by is None else f"Share of the {by} class, %"},
            annot_kws={"fontsize": 9},
        )
        if by is not None and ax.collections[0].colorbar is not None:
            ax.collections[0].colorbar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
        for text in ax.texts:
            text.set_alpha(0.35 if text.get_text() in ("0", "0.0") else 1.0)
        for k in range(len(values)):
            ax.text(k + 0.5, k + 0.5, labels[k, k], ha="center", va="center", fontsize=9, fontweight="bold")
        ax.set(xlabel="Predicted class", ylabel="True class")
        ax.tick_params(length=0)
        ax.set_xticks(ax.get_xticks(), matrix.classes, rotation=40, ha="right", rotation_mode="anchor")
        ax.set_yticks(ax.get_yticks(), matrix.classes, rotation=0)
        total, errors = int(matrix.counts.sum()), int(matrix.counts.sum() - np.trace(matrix.counts))
        ax.set_title(f"{errors:,} of {total:,} images misclassified", loc="left", fontsize=12)
    return ax


def class_error_rates(report: ClassReport, *, ax: Axes | None = None) -> Axes:
    """Error rate of each class, highest first, with its 95 % Wilson interval and the count of errors."""
    order = np.argsort(np.nan_to_num(report.error_rate, nan=-1.0), kind="stable")
    rate, low, high = (values[order] for values in (report.error_rate, report.low, report.high))
    with mpl.rc_context(STYLE):
        ax = _axes(ax, (8, 0.42 * len(order) + 1.4))
        places = np.arange(len(order))
        ax.hlines(places, low, high, color=ACCENT, linewidth=2.5, alpha=0.45)
        ax.plot(rate, places, "o", color=ACCENT, markersize=7)
        for place, k in enumerate(order):
            ax.text(
                high[place], place, f"  {report.errors[k]} of {report.support[k]}", va="center", fontsize=9, color=INK
            )
        overall = report.errors.sum() / max(1, report.support.sum())
        ax.axvline(overall, color=INK, linewidth=1, linestyle=":")
        ax.text(overall, len(order) - 0.35, f" all classes {overall:.2%}", fontsize=9, va="bottom")
        ax.set_yticks(places, [report.classes[k] for k in order])
        ax.set_xlim(0, float(np.max(high)) * 1.25)
        ax.set_ylim(-0.6, len(order) + 0.2)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        ax.grid(axis="x", color=GRID)
        ax.set_axisbelow(True)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("Error rate with 95 % Wilson interval")
    return ax


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


def figure_of(ax: Axes) -> Figure:
    """The figure that the axes lie on."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes lie on no figure")
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write the figure as ``stem.png`` (160 dpi) and ``stem.svg``, atomically and without a date; the paths.

    Raises
    ------
    OutputError
        If the disk is full or the folder can't be written.
    """
    paths = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    with mpl.rc_context(STYLE):
        write_atomically(paths[0], lambda path: figure.savefig(path, dpi=160, format="png"))
        write_atomically(paths[1], lambda path: figure.savefig(path, format="svg", metadata={"Date": None}))
    return paths
