"""Counts and rates as bars and dots: asymmetries, slices, differences of two models, causes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from workbench.analysis.compare import Comparison
from workbench.core.records import Rate
from workbench.figures.base import ACCENT, INK, MUTED, SECOND, SHOWN_ROWS, STYLE, interval_dots, own_axes, plain_grid
from workbench.figures.names import name_rows


def _nothing(ax: Axes, words: str) -> Axes:
    """A panel with a sentence in place of data, where there is nothing to draw."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, textwrap.fill(words, 56), ha="center", va="center", transform=ax.transAxes)
    return ax


def asymmetries(frame: pl.DataFrame, classes: Sequence[str], *, count: int = 10, ax: Axes | None = None) -> Axes:
    """The pairs of opposite cells that differ (adjusted p under 0.05), both counts; a sentence where none does."""
    held = frame.filter(pl.col("adjusted_p_value") < 0.05)
    shown = held.head(count).reverse()
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 0.5 * max(len(shown), 2) + 1.6)
        if len(frame) == 0:
            return _nothing(ax, "No two classes are confused with each other.")
        if len(held) == 0:
            return _nothing(ax, f"0 of {len(frame)} pairs of classes are confused more often one way than the other.")
        places = np.arange(len(shown))
        there, back = shown["first_rate"].to_numpy(), shown["second_rate"].to_numpy()
        ax.barh(places + 0.19, there, 0.36, color=ACCENT, label="first predicted as second")
        ax.barh(places - 0.19, back, 0.36, color=MUTED, label="second predicted as first")
        for place, row in enumerate(shown.iter_rows(named=True)):
            note = f"  {row['first_as_second']} vs. {row['second_as_first']}, p = {row['adjusted_p_value']:.2g}"
            ax.text(there[place], place, note, va="center", fontsize=9)
        pairs = shown.select("first", "second").iter_rows()
        name_rows(ax, places, [f"{classes[a]} → {classes[b]}" for a, b in pairs])
        ax.set_xlim(0, float(there.max()) * 1.9)  # room for the notes; the first of a pair has the larger share
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        plain_grid(ax)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel(
            f"Share of the true class\n({len(held)} of {len(frame)} pairs differ, p corrected for all of them)"
        )
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return ax


def outcomes(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """What changed between two models: rows fixed, broken and misclassified by both."""
    bars = {
        "fixed": (comparison.fixed, SECOND),
        "broken": (comparison.broken, ACCENT),
        "both misclassified": (comparison.both_wrong, MUTED),
    }
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 2.6)
        for place, (_, (count, colour)) in enumerate(reversed(bars.items())):
            ax.barh(place, count, 0.62, color=colour)
            ax.text(count, place, f" {count:,}", va="center", fontsize=10)
        ax.set_yticks(range(len(bars)), list(bars)[::-1])
        ax.set_xlim(0, max(1, *(count for count, _ in bars.values())) * 1.15)
        plain_grid(ax)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("Images")
        ax.set_title(
            f"Accuracy {comparison.difference:+.2%} ({comparison.low:+.2%} to {comparison.high:+.2%}),\n"
            f"exact McNemar p = {comparison.test.p_value:.2g}",
            loc="left",
            fontsize=11,
        )
    return ax


def class_differences(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """Rows fixed and broken in each class; a star: adjusted p under 0.05."""
    shown = (
        comparison.classes.with_columns(net=pl.col("fixed") - pl.col("broken")).sort("net", "class").head(SHOWN_ROWS)
    )
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 0.42 * len(shown) + 1.6)
        places = np.arange(len(shown))
        ax.barh(places, shown["fixed"], 0.62, color=SECOND, label="fixed")
        ax.barh(places, -shown["broken"], 0.62, color=ACCENT, label="broken")
        reach = max(1, *shown["fixed"].to_list(), *shown["broken"].to_list())
        for place, row in enumerate(shown.iter_rows(named=True)):
            star = " ★" if row["adjusted_p_value"] < 0.05 else ""
            ax.text(row["fixed"], place, f"  {row['net']:+d}{star}", va="center", fontsize=9)
        ax.axvline(0, color=INK, linewidth=1)
        ax.set_yticks(places, shown["class"].to_list())
        ax.set_xlim(-1.1 * reach, 1.25 * reach)
        ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
        plain_grid(ax)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("Images (the number: fixed minus broken)")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return ax


def causes(table: pl.DataFrame, *, ax: Axes | None = None) -> Axes:
    """How many of the errors have each cause, with the interval of the share and what to do about it."""
    shown = table.reverse()
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 0.8 * max(len(shown), 2) + 1.2)
        if len(shown) == 0:
            return _nothing(ax, "No row is misclassified.")
        rate = Rate(*(shown[name].to_numpy() for name in ("share", "low", "high")))
        interval_dots(ax, shown["verdict"].to_list(), rate, [f"{n:,}" for n in shown["errors"]])
        for place, action in enumerate(shown["action"]):
            words = textwrap.fill(textwrap.shorten(action, 120, placeholder=" …"), 58)
            ax.text(0.008, place - 0.2, words, color=INK, fontsize=8.5, alpha=0.75, va="top", linespacing=1.1)
        ax.set_ylim(-0.75, len(shown) - 0.4)
        ax.set_xlim(0, max(0.6, float(rate.high.max()) * 1.1))
        ax.set_xlabel("Share of the errors, 95 % Wilson interval")
    return ax
