"""ROC and precision-recall curves."""

from __future__ import annotations

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from workbench.analysis.baselines import Ranking
from workbench.figures.base import MUTED, STYLE, own_axes, plain_grid
from workbench.figures.names import wrap

SHOWN = 10
COLOURS = ("#B5403A", "#2F6DA8", "#4C8C4A", "#C98A1B", "#7A5AA6", "#1F9E9A", "#D36FA0", "#6B5B4B", "#8A9A2B", "#444444")


def roc(frame: pl.DataFrame, ranked: Ranking, *, ax: Axes | None = None) -> Axes:
    """The ROC curves of `analysis.baselines.curves`, a line a class; of many the ten of lowest area."""
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 4.6)
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
        for colour, name, value in _shown(ranked, ranked.auc.value.tolist()):
            lines = frame.filter(pl.col("class") == name)
            points = ([0.0, *lines["false_positive_rate"]], [0.0, *lines["recall"]])
            ax.plot(*points, color=colour, linewidth=1.6, label=f"{wrap(name)} {value:.3f}")
        return _finish(ax, "False positive rate", "Recall", "Area under the curve")


def precision_recall(frame: pl.DataFrame, ranked: Ranking, *, ax: Axes | None = None) -> Axes:
    """The precision-recall curves, a line a class; of many the ten of lowest average precision."""
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 4.6)
        for colour, name, value in _shown(ranked, ranked.precision.value.tolist()):
            lines = frame.filter(pl.col("class") == name)
            ax.plot(lines["recall"], lines["precision"], color=colour, linewidth=1.6, label=f"{wrap(name)} {value:.3f}")
        return _finish(ax, "Recall", "Precision", "Average precision")


def _shown(ranked: Ranking, values: list[float]) -> list[tuple[str, str, float]]:
    """Colour, name and value of each class that is drawn, lowest first; of two classes the second alone."""
    pairs = [(name, value) for name, value in zip(ranked.classes, values, strict=True) if value == value]
    if len(ranked.classes) == 2:
        pairs = pairs[-1:]
    lowest = sorted(pairs, key=lambda pair: pair[1])[:SHOWN]
    return [(colour, name, value) for colour, (name, value) in zip(COLOURS, lowest, strict=False)]


def _finish(ax: Axes, across: str, up: str, title: str) -> Axes:
    ax.set(xlim=(0, 1.005), ylim=(0, 1.01), xlabel=across, ylabel=up)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    plain_grid(ax, "both")
    ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, title=title, fontsize=9, alignment="left")
    return ax
