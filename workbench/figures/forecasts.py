"""What repairs would bring: a dot and its interval for each action."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from workbench.analysis.forecasts import RepairForecast
from workbench.core.records import Rate
from workbench.figures.base import ACCENT, INK, STYLE, interval_dots, own_axes


def forecasts(found: Sequence[RepairForecast], *, ax: Axes | None = None) -> Axes:
    """The forecast change of accuracy of each action, best first, with its 95 % interval."""
    shown = sorted(found, key=lambda one: one.gain)
    with mpl.rc_context(STYLE):
        ax = own_axes(ax, 0.55 * max(len(shown), 2) + 1.4)
        rate = Rate(*(np.array([getattr(one, name) for one in shown]) for name in ("gain", "low", "high")))
        notes = [_points(one.gain) for one in shown]
        interval_dots(ax, [one.action for one in shown], rate, notes, colour=ACCENT)
        ax.axvline(0, color=INK, linewidth=1)
        ax.xaxis.set_major_formatter(lambda value, _: _points(value) if value else "0")
        ax.set_xlabel(
            "Forecast change of accuracy in points, 95 % interval\n(with the noise of training, where the network is "
            "trained again)"
        )
    return ax


def _points(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "−")
