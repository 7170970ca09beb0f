"""What all figures share: type, colours, axes, files."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from workbench.core.files import write_atomically
from workbench.core.records import Rate
from workbench.core.stamp import NAME, Stamp, text_of
from workbench.errors import DataError
from workbench.figures.names import families, missing_characters_told, name_rows

INK, GRID, ACCENT = "#222222", "#DDDDDD", "#B5403A"
WIDTH = 5.2  # inches: printed in a paper's column, 3.35 inches wide, text of 9 to 10 points has about 6
PAPER: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # behind words, so that no line crosses them
SHOWN_ROWS = 40  # at most, in a figure with a line for each item
SECOND, MUTED = "#2F6DA8", "#8C8C8C"
KINDS: Any = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
STAMPED = {"png": NAME, "svg": "Description", "pdf": "Subject"}
STYLE: Any = {
    "font.family": families(),
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,  # dollar signs in a class name are not mathematics
    "svg.hashsalt": "workbench",
    "svg.fonttype": "none",
}


def own_axes(ax: Axes | None, height: float, width: float = WIDTH) -> Axes:
    """The axes given, or new ones alone on a figure of so many inches."""
    return Figure(figsize=(width, height), layout="constrained").subplots() if ax is None else ax


def interval_dots(
    ax: Axes, names: Sequence[str], rate: Rate, notes: Sequence[str] | None = None, *, colour: str = ACCENT
) -> None:
    """A dot and its interval for each name, the first at the bottom, with a note at the right."""
    places = np.arange(len(names))
    ax.hlines(places, rate.low, rate.high, color=colour, linewidth=2.5, alpha=0.45)
    ax.plot(rate.value, places, "o", color=colour, markersize=7)
    for place, note in enumerate(notes or ()):
        at = (rate.high[place], place)
        ax.annotate(note, at, (6, 0), textcoords="offset points", va="center", fontsize=9, bbox=PAPER)
    name_rows(ax, places, names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    plain_grid(ax)
    ax.spines[["left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def plain_grid(ax: Axes, axis: Literal["both", "x", "y"] = "x") -> None:
    """Light lines behind the data, and no frame at the top and right."""
    ax.grid(axis=axis, color=GRID)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def figure_of(ax: Axes) -> Figure:
    """The figure that the axes lie on."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes lie on no figure")
    return figure


def save(figure: Figure, stem: Path, stamp: Stamp | None = None) -> list[Path]:
    """Write the figure as ``stem.png`` (160 dpi) and ``stem.svg``, atomically, undated, stamped; return the paths.

    Raises
    ------
    OutputError
        If the disk is full or the folder can't be written.
    """
    paths = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    with mpl.rc_context(STYLE):
        for path, kind in zip(paths, ("png", "svg"), strict=True):
            write_atomically(path, functools.partial(_save, figure, kind, stamp))
    return paths


def _save(figure: Figure, kind: str, stamp: Stamp | None, target: Path | io.BytesIO) -> None:
    said = {} if stamp is None else {STAMPED[kind]: text_of(stamp)}
    with missing_characters_told():
        figure.savefig(target, dpi=160, format=kind, metadata={**KINDS[kind], **said})


def encode(figure: Figure, kind: str, stamp: Stamp | None = None) -> bytes:
    """The figure as the bytes of a file: ``png`` (160 dpi), ``svg`` or ``pdf``, without a date, stamped.

    Raises
    ------
    DataError
        If ``kind`` is not one of these.
    """
    if kind not in KINDS:
        raise DataError(f"figure: expected one of {', '.join(KINDS)}, not {kind!r}")
    stream = io.BytesIO()
    with mpl.rc_context(STYLE):
        _save(figure, kind, stamp, stream)
    return stream.getvalue()
