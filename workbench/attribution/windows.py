"""How large the windows are that occlusion and feature ablation replace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AT_MOST = 196  # windows or cells that perturbation takes by default


def window_of(settings: Mapping[str, Any], height: int, width: int) -> tuple[int, int]:
    """Window and stride of occlusion in pixels: by default 8 and 4, for larger images at most 196 windows."""
    window, stride = settings["window"], settings["stride"]
    if window:
        return window, stride or max(1, window // 2)
    least = min(height, width)

    def windows(step: int) -> int:
        size = min(least, 2 * step)
        return (-(-(height - size) // step) + 1) * (-(-(width - size) // step) + 1)

    stride = stride or next(step for step in range(min(4, least), max(height, width) + 1) if windows(step) <= AT_MOST)
    return min(least, 2 * stride), min(stride, least)


def cell_of(settings: Mapping[str, Any], height: int, width: int) -> int:
    """Side of a cell of feature ablation in pixels: by default 4, for larger images at most 196 cells."""
    cells = (cell for cell in range(4, max(5, height, width) + 1) if -(-height // cell) * -(-width // cell) <= AT_MOST)
    return settings["cell"] or next(cells)
