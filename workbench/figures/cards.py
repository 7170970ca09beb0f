"""Findings as cards: a sentence, its effect with interval, how it was checked, and a few pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import polars as pl
from matplotlib.figure import Figure

from workbench.core.records import ImageArray
from workbench.figures.base import ACCENT, GRID, INK, MUTED, STYLE

WIDTH, LINE, PICTURE = 10.0, 0.19, 0.62  # inches
PICTURES = 6


def findings(table: pl.DataFrame, pictures: Sequence[Sequence[ImageArray]] | None = None) -> Figure:
    """The findings of a table (`findings.record.Findings.table`), a card each, with up to six pictures a card."""
    width = 74 if pictures else 118
    cards = [_card(row, width) for row in table.iter_rows(named=True)]
    heights = [max(LINE * (len(lines) + 1), PICTURE + 0.2 if pictures else 0) + 0.14 for lines, _ in cards] or [0.8]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, sum(heights) + 0.1))
        top = sum(heights) + 0.05
        whole = sum(heights) + 0.1
        if not cards:
            figure.text(0.5, 0.5, "No finding holds on these rows.", ha="center", va="center", fontsize=11)
        for number, ((lines, strong), height) in enumerate(zip(cards, heights, strict=True) if cards else ()):
            at = top - 0.14
            figure.text(0.02, at / whole, str(number + 1), va="top", fontsize=12, color=ACCENT, weight="bold")
            for place, line in enumerate(lines):
                figure.text(
                    0.055,
                    (at - LINE * place) / whole,
                    line,
                    va="top",
                    fontsize=9.5 if place < strong else 8.5,
                    color=INK if place < strong else MUTED,
                )
            for place, image in enumerate((pictures or [[]] * len(cards))[number][:PICTURES]):
                left = WIDTH - 0.15 - (PICTURE + 0.05) * (PICTURES - place)
                box = (left / WIDTH, (at - PICTURE) / whole, PICTURE / WIDTH, PICTURE / whole)
                ax = figure.add_axes(box)
                ax.imshow(image, interpolation="nearest")
                ax.set_axis_off()
            top -= height
            if number < len(cards) - 1:
                figure.add_artist(mpl.lines.Line2D([0.02, 0.98], [top / whole] * 2, color=GRID, linewidth=0.8))
    return figure


def _card(row: dict[str, object], width: int) -> tuple[list[str], int]:
    """The lines of a card, and how many of them are its sentence."""
    sentence = textwrap.wrap(str(row["sentence"]), width)
    signed = any(word in str(row["measure"]) for word in ("difference", "less", "beyond"))
    effect, low, high = (_number(row[name], signed) for name in ("effect", "low", "high"))
    small = f"{row['measure']}: {effect} ({low} to {high}). "
    small += f"{str(row['checked'])[:1].upper()}{str(row['checked'])[1:]}."
    return [*sentence, *textwrap.wrap(small[:1].upper() + small[1:], int(width * 1.12))], len(sentence)


def _number(value: object, signed: bool) -> str:
    return "?" if not isinstance(value, float) else f"{value:+.1%}" if signed else f"{value:.1%}"
