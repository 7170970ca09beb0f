"""Single rows as figures: training dynamics, human labels, neighbours, doubtful labels."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from workbench.core.records import ClassReport, IntArray, ProbabilityArray
from workbench.figures.base import ACCENT, GRID, INK, MUTED, SECOND, SHOWN_ROWS, STYLE, own_axes, plain_grid
from workbench.figures.names import name_rows
from workbench.images.render import PALETTE

SHOWN_POINTS = 20_000


def suspects(frame: pl.DataFrame, classes: Sequence[str], *, count: int = 12, ax: Axes | None = None) -> Axes:
    """How many label suspects there are, by label and the class that the model suggests; the largest groups."""
    groups = (
        frame.group_by("label", "suggested").len().sort(["len", "label", "suggested"], descending=[True, False, False])
    )
    shown = groups.head(count).reverse()
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 0.4 * max(len(shown), 2) + 1.3)
        ax.barh(range(len(shown)), shown["len"], 0.62, color=ACCENT)
        for place, number in enumerate(shown["len"]):
            ax.text(number, place, f" {number}", va="center", fontsize=9)
        pairs = shown.select("label", "suggested").iter_rows()
        name_rows(ax, range(len(shown)), [f"{classes[a]}, perhaps {classes[b]}" for a, b in pairs])
        plain_grid(ax)
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("Images whose label the model disputes (it may be mistaken)")
        ax.set_title(f"{len(frame):,} labels to check", loc="left", fontsize=11)
    return ax


def cartography(frame: pl.DataFrame, *, ax: Axes | None = None) -> Axes:
    """The data map: mean probability of the label against its spread over the epochs; colour: correctness."""
    shown = frame.sample(min(SHOWN_POINTS, len(frame)), seed=0)
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 4.0)
        points = ax.scatter(
            shown["variability"],
            shown["confidence"],
            c=shown["correctness"],
            s=4,
            cmap="cividis",
            vmin=0,
            vmax=1,
            lw=0,
            rasterized=True,
        )
        bar = ax.figure.colorbar(points, ax=ax, format=PercentFormatter(1.0), shrink=0.8)
        bar.set_label("Share of epochs with a correct prediction")
        bar.outline.set_visible(False)
        ax.set(xlabel="Variability of the label's probability", ylabel="Mean probability of the label", ylim=(0, 1))
        plain_grid(ax, "both")
        few = "" if len(shown) == len(frame) else f", {len(shown):,} of them drawn"
        ax.set_title(f"{len(frame):,} train images{few}", loc="left", fontsize=11)
    return ax


def human_against_model(model: ClassReport, people: ClassReport, *, ax: Axes | None = None) -> Axes:
    """Error rate of model and human majority for each class, with intervals; the model's highest at the top."""
    order = np.argsort(np.nan_to_num(model.error_rate.value, nan=-1.0), kind="stable")[-SHOWN_ROWS:]
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 0.5 * len(order) + 1.5)
        for shift, report, colour, marker, name in (
            (0.15, model, ACCENT, "o", "model"),
            (-0.15, people, SECOND, "s", "human majority"),
        ):
            places, rate = np.arange(len(order)) + shift, report.error_rate
            ax.hlines(places, rate.low[order], rate.high[order], color=colour, linewidth=2.5, alpha=0.45)
            ax.plot(rate.value[order], places, marker, color=colour, markersize=6, label=name)
        name_rows(ax, range(len(order)), [model.classes[k] for k in order])
        ax.set_xlim(left=0)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        plain_grid(ax)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("Share of rows that disagree with the label, 95 % Wilson interval")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return ax


def neighbours(similarity: ProbabilityArray, correct: NDArray[np.bool_], *, ax: Axes | None = None) -> Axes:
    """Similarity to the nearest train image, for correct and for misclassified rows, each as a share."""
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 3.8)
        edges = np.linspace(float(similarity.min()), 1, 31).tolist()
        for mask, colour, name in ((correct, MUTED, "correct"), (~correct, ACCENT, "misclassified")):
            if mask.any():
                weights = np.full(int(mask.sum()), 1 / mask.sum())
                ax.hist(
                    similarity[mask],
                    edges,
                    weights=weights,
                    histtype="step",
                    linewidth=2,
                    color=colour,
                    label=f"{name} ({mask.sum():,})",
                )
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set(xlabel="Cosine similarity to the nearest train image", ylabel="Share of the rows")
        plain_grid(ax, "both")
        ax.legend(loc="upper left", frameon=False, labelcolor=INK)
    return ax


def embedding_map(
    points: ProbabilityArray,
    label: IntArray,
    classes: Sequence[str],
    chosen: NDArray[np.bool_],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Embeddings on a plane, points ``(N, 2)`` in the colour of their class; those ``chosen`` are ringed.

    For more than twenty classes all points are grey. Axes have no unit and no labels.
    """
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 4.3)
        few = len(classes) <= len(PALETTE)
        colours = np.array([PALETTE[k % len(PALETTE)] for k in range(len(classes))])[label] if few else MUTED
        size = float(np.clip(20_000 / len(points), 1, 12))
        ax.scatter(points[:, 0], points[:, 1], s=size, c=colours, alpha=0.35, lw=0, rasterized=True)
        ax.scatter(
            points[chosen, 0], points[chosen, 1], s=5 * size, c="none", edgecolors=INK, linewidths=0.6, rasterized=True
        )
        if few:
            for name, colour in zip(classes, PALETTE, strict=False):
                ax.scatter([], [], s=30, c=colour, label=name)
            ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        ax.set_title(
            f"{len(points):,} images, {int(chosen.sum()):,} of them selected (ringed)", loc="left", fontsize=11
        )
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_color(GRID)
    return ax
