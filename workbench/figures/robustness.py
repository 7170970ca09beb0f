"""How answers change with the image: accuracy under corruptions, and the smallest changes that flip an answer."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from workbench.core.records import ImageArray
from workbench.figures.base import ACCENT, INK, MUTED, STYLE, plain_grid
from workbench.figures.images import draw_picture

COLUMNS, CHANGE_WIDTH = 5, 20


def corruption_curves(frame: pl.DataFrame, *, kind: str = "all", group: str = "all") -> Figure:
    """Accuracy at the strengths of each corruption, with its 95 % interval; strength 0 is the images as they are.

    Parameters
    ----------
    frame : DataFrame
        As of `robustness.curves.accuracy_curves`.
    kind, group : str
        Whose curves are drawn: all rows', or those of a ``class`` or ``group`` with all rows' behind them.
    """
    names = [name for name in frame["corruption"].unique(maintain_order=True) if name != "none"]
    columns = min(COLUMNS, len(names))
    lines = -(-len(names) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.75 * columns + 0.5, 1.6 * lines + 0.5), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        behind = frame.filter(pl.col("kind") == "all")
        shown = frame.filter(pl.col("kind") == kind, pl.col("group") == group)
        lowest = max(0.0, float(np.floor(10 * pl.concat([behind, shown])["low"].to_numpy().min()) / 10))
        for k, ax in enumerate(grid.flat):
            if k >= len(names):
                ax.set_axis_off()
                continue
            if kind != "all":
                of_all = _curve(behind, names[k])
                ax.plot(of_all["strength"], of_all["accuracy"], color=MUTED, linewidth=1)
            own = _curve(shown, names[k])
            ax.fill_between(own["strength"], own["low"], own["high"], color=ACCENT, alpha=0.2, linewidth=0)
            ax.plot(own["strength"], own["accuracy"], "o-", color=ACCENT, markersize=3, linewidth=1.4, clip_on=False)
            ax.set_title(names[k], fontsize=9)
            ax.set(xticks=range(6), xlim=(-0.3, 5.3), ylim=(lowest, 1.005))
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
            plain_grid(ax, "both")
            ax.tick_params(labelsize=8)
        who = "all images" if kind == "all" else f"{group} (grey: all images)"
        figure.supxlabel("strength of the corruption (0: none)", fontsize=9)
        figure.supylabel(f"accuracy, {who}", fontsize=9)
    return figure


def _curve(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """The line of clean images, then those of a corruption."""
    return rows.filter(pl.col("corruption").is_in(["none", name])).sort("strength")


@dataclass(frozen=True)
class Flip:
    """An image before and after the smallest change that flips its answer, with the words to each."""

    before: ImageArray
    after: ImageArray
    row: int
    label: str
    answer: str
    flipped: str
    change: str


def flips(shown: Sequence[Flip]) -> Figure:
    """A column for each image: the image with its answer, and the changed image with its own."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.45 * len(shown) + 0.4, 3.9), layout="constrained")
        grid = figure.subplots(2, len(shown), squeeze=False)
        for one, (above, below) in zip(shown, grid.T, strict=True):
            draw_picture(above, one.before)
            draw_picture(below, one.after)
            above.set_title(f"{one.label} #{one.row}", fontsize=8, color=INK)
            above.set_xlabel(f"predicted as\n{one.answer}", fontsize=8)
            below.set_title(textwrap.fill(one.change, CHANGE_WIDTH), fontsize=8, color=INK)
            corrected = one.flipped == one.label
            words = "corrected to" if corrected else "predicted as"
            below.set_xlabel(f"{words}\n{one.flipped}", fontsize=8, color=INK if corrected else ACCENT)
        figure.suptitle("the smallest change that flips each answer", fontsize=10)
    return figure
