"""Nearest train images and near-duplicates."""

from __future__ import annotations

import polars as pl

from workbench import figures
from workbench.analysis.copies import SAME
from workbench.analysis.neighbours import ALIKE
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material


def section(material: Material) -> Bundle:
    """Similarity to the nearest train image, and near-duplicates: by their pictures, else by the embeddings."""
    if not material.has_neighbours:
        return Bundle()
    predictions = material.predictions
    frame = predictions.columns("nearest_similarity", "correct")
    similarity, correct = (frame[name].to_numpy() for name in frame.columns)
    near, alike, least = ("copy", "correlation", SAME) if material.has_copies else ("nearest", "similarity", ALIKE)
    score, label = f"{near}_{alike}", f"{near}_label"
    rows = predictions.table.select("index", "label", f"{near}_row", label, score).filter(pl.col(score) >= least)
    found = rows.sort([score, "index"], descending=[True, False]).collect(engine="streaming")
    return Bundle(
        figures={"neighbours": lambda: figures.figure_of(figures.neighbours(similarity, correct))},
        tables={"near_duplicates": found.with_columns(material.class_names("label"), material.class_names(label))},
        metrics={
            "near_duplicates": {
                "rows": len(found),
                "with_another_label": int((found["label"] != found[label]).sum()),
                "by": f"{alike} of {'pictures' if near == 'copy' else 'embeddings'} at least {least}",
            }
        },
    )
