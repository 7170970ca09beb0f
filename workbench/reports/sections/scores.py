"""How well the scores rank, what a threshold costs, and what has to go to a person."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from workbench import figures
from workbench.analysis.baselines import best_threshold, curves, ranking
from workbench.analysis.conformal import conformal_sets, review_load
from workbench.core.predictions import Predictions
from workbench.reports.bundle import Bundle
from workbench.reports.material import NO_PROBABILITIES, Material

LEAST, PROMISES = 4, (0.9, 0.95, 0.99)


def section(material: Material) -> Bundle:
    """ROC and precision-recall curves, average precision of each class, conformal sets, and the load of reviews."""
    predictions = material.predictions
    if not predictions.has_probabilities:
        return Bundle(omitted=[f"scores: {NO_PROBABILITIES}"])
    if len(predictions) < LEAST:
        return Bundle(omitted=[f"scores: fewer than {LEAST} rows"])
    drawn, ranked = curves(predictions), ranking(predictions)
    metrics: dict[str, Any] = {"ranking": ranked.to_json(), "review": _review(predictions), "sets": _sets(predictions)}
    if len(predictions.classes) == 2:
        alarm, miss = material.costs
        best = best_threshold(predictions, false_positive=alarm, false_negative=miss)
        metrics["threshold"] = _plain(dataclasses.asdict(best)) | {"false_positive": alarm, "false_negative": miss}
    return Bundle(
        figures={
            "roc": lambda: figures.figure_of(figures.roc(drawn, ranked)),
            "precision_recall": lambda: figures.figure_of(figures.precision_recall(drawn, ranked)),
        },
        tables={"score_curves": drawn},
        metrics=metrics,
    )


def _review(predictions: Predictions) -> list[dict[str, Any]]:
    return [_plain(dataclasses.asdict(review_load(predictions, promise=promise))) for promise in PROMISES]


def _sets(predictions: Predictions) -> dict[str, Any]:
    """Coverage and size of conformal sets of both scores, for all rows and class by class."""
    found: dict[str, Any] = {}
    for name, options in {"lac": {}, "aps": {"score": "aps"}, "lac_by_class": {"by_class": True}}.items():
        sets = conformal_sets(predictions, **options)  # type: ignore[arg-type]
        of_class = dict(zip(predictions.classes, sets.coverage.value.tolist(), strict=True))
        found[name] = {
            "promise": 0.95,
            "coverage": sets.overall,
            "size": sets.size,
            "coverage_per_class": _plain(of_class),
        }
    return found


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(v, float) and not np.isfinite(v) else v for name, v in values.items()}
