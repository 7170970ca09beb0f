"""Confusion and class rates as figures."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from workbench.analysis.confusion import Normalisation, most_confused, normalise
from workbench.core.records import ClassReport, ConfusionMatrix, IntArray, Rate
from workbench.figures.base import (
    ACCENT,
    INK,
    SECOND,
    SHOWN_ROWS,
    STYLE,
    WIDTH,
    figure_of,
    interval_dots,
    own_axes,
    plain_grid,
)
from workbench.figures.names import CHARACTER, FREE, HEIGHT, longest_line, name_rows, wrap

SHOWN_CLASSES = 25
CELL, SLANTED = 0.36, 16  # inches: room for four digits at 9 points; characters of a name that may be slanted


def confusion_matrix(
    matrix: ConfusionMatrix,
    *,
    by: Normalisation | None = None,
    title: str = "{errors:,} of {total:,} images misclassified",
    answer: str = "Predicted class",
    ax: Axes | None = None,
) -> Axes:
    """The matrix with numbers in its cells; colour shows the errors only, so that rare ones stay visible.

    ``by`` shows fractions of the true or predicted class instead of counts. The diagonal is left uncoloured.
    For more than 25 classes the most confused pairs are drawn instead. ``title`` and ``answer`` describe the
    columns if they are not a model's predictions.
    """
    if len(matrix.classes) > SHOWN_CLASSES:
        return most_confused_pairs(matrix, ax=ax)
    values = matrix.counts.astype(float) if by is None else normalise(matrix, by)
    wrong = np.ma.masked_array(values, np.eye(len(values), dtype=bool))
    with mpl.rc_context(STYLE):
        names = [wrap(name) for name in matrix.classes]
        ax = own_axes(ax, *_matrix_size(names))
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
            xticklabels=names,
            yticklabels=names,
            cbar_kws={"shrink": 0.7, "label": "Errors" if by is None else f"Share of the {by} class, %"},
            annot_kws={"fontsize": 9},
        )
        if by is not None and ax.collections[0].colorbar is not None:
            ax.collections[0].colorbar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
        for text in ax.texts:
            text.set_alpha(0.35 if text.get_text() in ("0", "0.0") else 1.0)
        for k in range(len(values)):
            ax.text(k + 0.5, k + 0.5, labels[k, k], ha="center", va="center", fontsize=9, fontweight="bold")
        ax.set(xlabel=answer, ylabel="True class")
        ax.tick_params(length=0)
        if longest_line(names) > SLANTED:  # slanted names of this length would run into each other
            ax.set_xticks(ax.get_xticks(), names, rotation=90, ha="center", multialignment="right")
        else:
            ax.set_xticks(ax.get_xticks(), names, rotation=40, ha="right", rotation_mode="anchor")
        ax.set_yticks(ax.get_yticks(), names, rotation=0)
        total, errors = int(matrix.counts.sum()), int(matrix.counts.sum() - np.trace(matrix.counts))
        ax.set_title(title.format(errors=errors, total=total), loc="left", fontsize=11)
    return ax


def _matrix_size(names: Sequence[str]) -> tuple[float, float]:
    """Height and width of a confusion matrix in inches: room for numbers and names in a cell, and for long names."""
    more = CHARACTER * max(0, longest_line(names) - FREE)
    lines = max(name.count("\n") + 1 for name in names)
    side = max(WIDTH, max(CELL, HEIGHT * lines + 0.05) * len(names) + 1.6)
    return side - 0.8 + more, side + more


def whole_matrix(matrix: ConfusionMatrix, *, ax: Axes | None = None) -> Axes:
    """Every cell of a matrix of very many classes, as its share of the true class; the diagonal is left uncoloured.

    Classes are numbered in their order; the colour grows with the square root, so that rare errors stay visible.
    """
    shares = np.nan_to_num(normalise(matrix, "true"))
    np.fill_diagonal(shares, np.nan)
    largest = float(np.nan_to_num(shares).max()) or 1.0
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 4.6)
        shown = ax.imshow(
            shares,
            cmap=sns.light_palette(ACCENT, as_cmap=True),
            norm=PowerNorm(0.5, 0, largest),
            interpolation="nearest" if len(shares) <= 200 else "antialiased",
        )
        bar = figure_of(ax).colorbar(shown, ax=ax, shrink=0.7, label="Share of the true class")
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set(xlabel="Predicted class (number)", ylabel="True class (number)")
        total, errors = int(matrix.counts.sum()), int(matrix.counts.sum() - np.trace(matrix.counts))
        ax.set_title(f"{errors:,} of {total:,} images misclassified, {len(shares):,} classes", loc="left", fontsize=11)
    return ax


def confusion_beside_people(model: ConfusionMatrix, people: ConfusionMatrix) -> Figure:
    """The model's matrix and that of the human majority, side by side."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * WIDTH, WIDTH - 0.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        confusion_matrix(model, ax=left)
        confusion_matrix(
            people,
            title="Human majority differs from the label on {errors:,} of {total:,} images",
            answer="Human majority",
            ax=right,
        )
    return figure


def most_confused_pairs(matrix: ConfusionMatrix, *, count: int = 30, ax: Axes | None = None) -> Axes:
    """The largest cells off the diagonal, largest at the top: a readable form for very many classes."""
    pairs = most_confused(matrix, count)[::-1]
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 0.32 * max(2, len(pairs)) + 1.2)
        ax.barh(range(len(pairs)), [rows for _, _, rows in pairs], 0.62, color=ACCENT)
        for place, (_, _, rows) in enumerate(pairs):
            ax.text(rows, place, f" {rows:,}", va="center", fontsize=9)
        names = [f"{matrix.classes[true]} → {matrix.classes[predicted]}" for true, predicted, _ in pairs]
        name_rows(ax, range(len(pairs)), names)
        plain_grid(ax)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("Images")
        ax.set_title(f"The most confused pairs of {len(matrix.classes):,} classes", loc="left", fontsize=11)
    return ax


def _hardest(order: IntArray) -> IntArray:
    """The end of an order that a figure of readable height can hold: the highest at its top."""
    return order[-SHOWN_ROWS:]


def class_error_rates(report: ClassReport, *, ax: Axes | None = None) -> Axes:
    """Error rate of each class, highest first, with its 95 % Wilson interval and the count of errors."""
    order = _hardest(np.argsort(np.nan_to_num(report.error_rate.value, nan=-1.0), kind="stable"))
    shown = _ordered(report.error_rate, order)
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 0.42 * len(order) + 1.4)
        notes = [f"{report.errors[k]} of {report.support[k]}" for k in order]
        interval_dots(ax, [report.classes[k] for k in order], shown, notes)
        overall = report.errors.sum() / max(1, report.support.sum())
        ax.axvline(overall, color=INK, linewidth=1, linestyle=":")
        ax.text(overall, len(order) - 0.35, f" all classes {overall:.2%}", fontsize=9, va="bottom")
        ax.set_xlim(0, float(np.max(shown.high)) * 1.25)
        ax.set_ylim(-0.6, len(order) + 0.2)
        ax.set_xlabel("Error rate with 95 % Wilson interval")
    return ax


def class_rates(report: ClassReport, *, ax: Axes | None = None) -> Axes:
    """Precision, recall and F1 of each class with their 95 % intervals, lowest F1 at the top."""
    order = _hardest(np.argsort(-np.nan_to_num(report.f1.value, nan=2.0), kind="stable"))
    rates = {"precision": (report.precision, SECOND), "recall": (report.recall, ACCENT), "F1": (report.f1, INK)}
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 0.55 * len(order) + 1.4)
        for number, (name, (rate, colour)) in enumerate(rates.items()):
            places, shown = np.arange(len(order)) + 0.22 * (1 - number), _ordered(rate, order)
            ax.hlines(places, shown.low, shown.high, color=colour, linewidth=2, alpha=0.45)
            ax.plot(shown.value, places, "os^"[number], color=colour, markersize=5, label=name)
        name_rows(ax, np.arange(len(order)), [report.classes[k] for k in order])
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        plain_grid(ax)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("Share with 95 % Wilson interval")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    return ax


def _ordered(rate: Rate, order: IntArray) -> Rate:
    return Rate(rate.value[order], rate.low[order], rate.high[order])
