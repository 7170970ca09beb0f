"""Names of classes in figures: wrapped, given room, and in a font that has their characters."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

LINE = 30  # characters of a name in a line
FREE = 16  # characters that every figure has room for
CHARACTER, HEIGHT = 0.085, 0.17  # inches of a character and of a line, at 10 points
# families with the scripts that matplotlib's own font lacks, as systems have them
FAMILIES = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR", "WenQuanYi Zen Hei"),
    *("Microsoft YaHei", "Malgun Gothic", "Yu Gothic", "Hiragino Sans", "PingFang SC", "Arial Unicode MS"),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil"),
    *("Noto Sans Thai", "Noto Sans Ethiopic", "Noto Sans Georgian", "Noto Sans Armenian", "Nirmala UI", "Tahoma"),
)
_MISSING = re.compile(r"Glyph \d+ \((?P<name>[^)]*)\) missing from font")


def families() -> list[str]:
    """Matplotlib's own family, and behind it those of `FAMILIES` that are installed, for what it lacks."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FAMILIES if name in installed)]


@contextmanager
def missing_characters_told() -> Iterator[None]:
    """One warning that says what to install, in place of one for each character that no font has."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    found = [(one, _MISSING.search(str(one.message))) for one in caught]
    for one, lacks in found:
        if lacks is None:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if names := sorted({lacks["name"] for _, lacks in found if lacks is not None}):
        shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        warnings.warn(
            f"{len(names)} characters are in no installed font ({shown}) and are drawn as boxes: install one that has "
            "them, such as the package fonts-noto-cjk or a Noto font, and delete matplotlib's font cache",
            RuntimeWarning,
            stacklevel=3,
        )


def wrap(name: str, width: int = LINE) -> str:
    """A name in lines of at most ``width`` characters, broken behind blanks and signs, or where a word is longer."""
    lines = [""]
    for piece in re.findall(r"[^\s_,/.-]*[\s_,/.-]*", name):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        while len(lines[-1] + piece.rstrip()) > width:
            room = width - len(lines[-1])
            lines[-1], piece = lines[-1] + piece[:room], piece[room:]
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.strip() for line in lines if line.strip()) or name


def name_rows(ax: Axes, places: ArrayLike, names: Sequence[str]) -> None:
    """Name the rows of a figure; one that holds these axes alone grows where long names need it."""
    shown = [wrap(name) for name in names]
    ax.set_yticks(np.asarray(places), shown)
    figure = ax.figure
    if not shown or not isinstance(figure, Figure) or figure.axes != [ax]:
        return
    width, height = figure.get_size_inches()
    rows = len(shown)
    needed = HEIGHT * max(text.count("\n") + 1 for text in shown) + 0.1
    figure.set_size_inches(
        width + CHARACTER * max(0, longest_line(shown) - FREE), height + rows * max(0.0, needed - (height - 1.2) / rows)
    )


def longest_line(names: Sequence[str]) -> int:
    """Characters of the longest line."""
    return max((len(line) for name in names for line in name.split("\n")), default=0)
