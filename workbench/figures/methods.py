"""Attribution methods compared with each other, as a figure."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from workbench.core.records import Rate
from workbench.figures.base import ACCENT, GRID, INK, SECOND, STYLE, interval_dots, plain_grid

_GAINS = {
    "effect_blur": "effect, cells blurred\nover maps of\nother images",
    "effect_imputation": "effect, cells imputed\nover maps of\nother images",
    "gain_road": "gain in ROAD\npixel by pixel, over\nother images' maps",
}
_VERDICTS = {"supported": SECOND, "no_evidence_either_way": "#D5DDE6", "against": "#E3B5A4"}


def method_ranking(ranking: pl.DataFrame) -> Figure:
    """A row for each method of `evidence.ranking.ranking` that applies, the best at the top.

    Three panels show what the maps gain in probability over maps of other images, with 95 % intervals. The others show
    stability; the sanity check's correlation, with its interval, once the last layers are random (a method past the
    dashed line fails); the time per image; and the share of maps with each verdict.
    """
    frame = ranking.filter(pl.col("supported").is_not_null()).reverse()
    names = frame["method"].to_list()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(14.5, 0.36 * len(names) + 2.2), layout="constrained")
        axes = figure.subplots(1, 7, sharey=True, width_ratios=(1, 1, 1, 0.9, 1, 0.9, 1.7))
        for ax, (column, title) in zip(axes, _GAINS.items(), strict=False):
            interval_dots(ax, names, _rate(frame, column))
            ax.axvline(0, color=INK, linewidth=0.8)
            ax.xaxis.set_major_formatter(lambda value, _: f"{value:+.2g}" if value else "0")
            ax.set_title(title, fontsize=9, loc="left")
        _dots(axes[3], frame["stability"].to_numpy(), "stability\ncorrelation under\ntiny noise")
        axes[3].set_xlim(-0.05, 1.05)
        interval_dots(axes[4], names, _rate(frame, "sanity_correlation"))
        axes[4].axvline(0.5, color=ACCENT, linewidth=1, linestyle="--")
        axes[4].set_xlim(-0.3, 1.05)
        axes[4].xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
        axes[4].set_title("sanity check\ncorrelation, last\nlayers random", fontsize=9, loc="left")
        _dots(axes[5], frame["ms_per_image"].to_numpy(), "cost\nms per image\non this machine")
        axes[5].set_xscale("log")
        axes[5].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _verdicts(axes[6], frame)
    return figure


def _rate(frame: pl.DataFrame, column: str) -> Rate:
    """A column with the ends of its interval; a figure without one stands alone."""
    value, low, high = (frame[f"{column}{end}"].to_numpy().astype(float) for end in ("", "_low", "_high"))
    return Rate(value, np.where(np.isfinite(low), low, value), np.where(np.isfinite(high), high, value))


def _dots(ax: Axes, values: np.ndarray[tuple[int], np.dtype[np.float64]], title: str) -> None:
    ax.plot(values, np.arange(len(values)), "o", color=SECOND, markersize=7)
    plain_grid(ax)
    ax.spines[["left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_title(title, fontsize=9, loc="left")


def _verdicts(ax: Axes, frame: pl.DataFrame) -> None:
    left = np.zeros(len(frame))
    for name, colour in _VERDICTS.items():
        share = frame[name].to_numpy()
        ax.barh(np.arange(len(frame)), share, left=left, color=colour, height=0.62, label=name.replace("_", " "))
        left = left + share
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_title("verdict on the maps", fontsize=9, loc="left")
    ax.legend(fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.08), labelcolor=INK)
    ax.grid(axis="x", color=GRID)
    ax.set_axisbelow(True)
