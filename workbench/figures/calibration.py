"""Calibration as figures."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from workbench.analysis.calibration import Reliability, RiskCoverage
from workbench.figures.base import ACCENT, INK, MUTED, SECOND, SHOWN_ROWS, STYLE, own_axes, plain_grid
from workbench.figures.names import name_rows


def reliability(
    diagram: Reliability, *, compared: Reliability | None = None, names: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """Accuracy against mean confidence of each bin with its interval; the bars below show how many rows it has.

    ``compared`` draws a second model beside it; ``names`` names both.
    """
    shown = [diagram] if compared is None else [diagram, compared]
    labels = list(names) or ["model"] if compared is None else list(names) or ["before", "after"]
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 5.4)
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
        for result, label, colour, marker in zip(shown, labels, (ACCENT, SECOND), "os", strict=False):
            there = result.counts > 0
            # where all rows of a bin are correct (or misclassified) no resample differs, and the interval has no width
            ax.vlines(result.confidence[there], result.low[there], result.high[there], color=colour, alpha=0.5, lw=2)
            text = f"{label}: {result.direction},\nECE {result.ece:.1%}"
            points = (result.confidence[there], result.accuracy[there])
            ax.plot(*points, color=colour, marker=marker, markersize=6, linewidth=1, label=text)
        edges, counts = diagram.edges, diagram.counts
        # the rows of each bin as a strip below 0, so that a single axes is enough and may lie in any figure
        heights = 0.16 * counts / counts.max()
        ax.bar(
            edges[:-1], heights, np.diff(edges), bottom=-0.2, align="edge", color=ACCENT, alpha=0.4, edgecolor="white"
        )
        ax.text(0.01, -0.2, f"rows in each bin, at most {counts.max():,}", va="bottom", fontsize=8)
        ax.set(xlim=(0, 1), ylim=(-0.2, 1.01), ylabel="Accuracy")
        ax.set_xlabel(f"Confidence ({len(counts)} bins of {diagram.binning})")
        ax.set_yticks(np.linspace(0, 1, 6))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
        plain_grid(ax, "both")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return ax


def class_calibration(classes: Sequence[str], diagrams: Sequence[Reliability], *, ax: Axes | None = None) -> Axes:
    """The debiased calibration error of each class with its interval, highest at the top."""
    errors = [diagram.error for diagram in diagrams]
    order = np.argsort([one.value for one in errors], kind="stable")[-SHOWN_ROWS:]
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 0.4 * len(order) + 1.2)
        for place, k in enumerate(order):
            ax.hlines(place, errors[k].low, errors[k].high, color=ACCENT, linewidth=2.5, alpha=0.45)
            ax.plot(errors[k].value, place, "o", color=ACCENT, markersize=7)
        name_rows(ax, range(len(order)), [classes[k] for k in order])
        ax.set_xlim(left=0)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        plain_grid(ax)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("Calibration error of the class's probability over all rows\n(without noise, 95 % interval)")
    return ax


def risk_coverage(curve: RiskCoverage, *, ax: Axes | None = None) -> Axes:
    """Error rate among the most confident rows against their share of all rows."""
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 4.2)
        ax.plot(curve.coverage, curve.risk, color=ACCENT, linewidth=2)
        ax.fill_between(curve.coverage, curve.risk, color=ACCENT, alpha=0.12)
        for wanted in (0.8, 0.9):
            place = int(np.searchsorted(curve.coverage, wanted))
            risk = curve.risk[place]
            ax.plot(wanted, risk, "o", color=INK, markersize=5)
            ax.annotate(
                f"{wanted:.0%} kept: {risk:.2%} misclassified",
                (wanted, risk),
                (-8, 8),
                textcoords="offset points",
                ha="right",
                fontsize=9,
            )
        ax.set(
            xlim=(0, 1), xlabel="Coverage: share of rows kept, the most confident first", ylabel="Error rate among them"
        )
        ax.set_ylim(0, max(float(curve.risk.max()) * 1.08, 1e-6))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
        plain_grid(ax, "both")
        ax.set_title(f"AURC {curve.aurc:.2%} (best possible {curve.best_aurc:.2%})", loc="left", fontsize=11)
    return ax
