"""Records to matplotlib figures: one function each, drawing on the axes it is given or on new ones."""

from workbench.figures.bars import asymmetries, causes, class_differences, outcomes
from workbench.figures.base import encode, figure_of, save
from workbench.figures.calibration import class_calibration, reliability, risk_coverage
from workbench.figures.cards import findings
from workbench.figures.classes import (
    class_error_rates,
    class_rates,
    confusion_beside_people,
    confusion_matrix,
    whole_matrix,
)
from workbench.figures.curves import precision_recall, roc
from workbench.figures.forecasts import forecasts
from workbench.figures.images import attribution_grid, group_map, image_grid
from workbench.figures.methods import method_ranking
from workbench.figures.robustness import corruption_curves, flips
from workbench.figures.rows import cartography, embedding_map, human_against_model, neighbours, suspects
from workbench.figures.strips import concept_strips, train_strips

__all__ = [
    "asymmetries",
    "attribution_grid",
    "cartography",
    "causes",
    "class_calibration",
    "class_differences",
    "class_error_rates",
    "class_rates",
    "concept_strips",
    "confusion_beside_people",
    "confusion_matrix",
    "corruption_curves",
    "embedding_map",
    "encode",
    "figure_of",
    "findings",
    "flips",
    "forecasts",
    "group_map",
    "human_against_model",
    "image_grid",
    "method_ranking",
    "neighbours",
    "outcomes",
    "precision_recall",
    "reliability",
    "risk_coverage",
    "roc",
    "save",
    "suspects",
    "train_strips",
    "whole_matrix",
]
