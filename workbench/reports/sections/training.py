"""The course of training."""

from __future__ import annotations

from workbench import figures
from workbench.analysis.dynamics import DYNAMICS, read_dynamics
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material
from workbench.runs.training import training_curves


def section(material: Material) -> Bundle:
    """Curves of the run, and the data map of its train images, as far as the checkpoint has them."""
    folder, bundle = material.checkpoint, Bundle()
    curves = None if folder is None else training_curves(folder)
    if curves is None:
        bundle.omitted.append("curves: there is no history.csv beside the checkpoint")
    else:
        bundle.figures["curves"] = lambda: curves
    if folder is None or not (folder / DYNAMICS).is_file():
        bundle.omitted.append(f"training dynamics: there is no {DYNAMICS} beside the checkpoint")
        return bundle
    frame = read_dynamics(folder / DYNAMICS)
    bundle.tables["training_dynamics"] = frame.sort("confidence", "index")
    bundle.figures["training_dynamics"] = lambda: figures.figure_of(figures.cartography(frame))
    return bundle
