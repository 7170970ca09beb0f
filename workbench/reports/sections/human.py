"""Human labels beside the model's predictions."""

from __future__ import annotations

from workbench import figures
from workbench.analysis.classes import class_report
from workbench.analysis.confusion import confusion_matrix
from workbench.analysis.summary import vote_metrics
from workbench.analysis.votes import ambiguous, human_confusion
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material


def section(material: Material) -> Bundle:
    """Confusion and class rates of the human majority beside the model's, and ambiguous rows."""
    if not material.has_votes:
        return Bundle()
    predictions = material.predictions
    matrix, people = confusion_matrix(predictions), human_confusion(predictions)
    model, others = class_report(matrix), class_report(people)
    return Bundle(
        figures={
            "people_against_model": lambda: figures.figure_of(figures.human_against_model(model, others)),
            "people_confusion_matrix": lambda: figures.confusion_beside_people(matrix, people),
        },
        tables={"ambiguous": ambiguous(predictions)},
        metrics={"votes": vote_metrics(predictions)},
    )
