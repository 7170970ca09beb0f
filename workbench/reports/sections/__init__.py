"""The sections of a report, one per question: a section is one file here and one entry in `SECTIONS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workbench.reports.bundle import Bundle
from workbench.reports.material import Material
from workbench.reports.sections import (
    calibration,
    classes,
    cohorts,
    comparison,
    findings,
    forecasts,
    groups,
    human,
    labels,
    neighbours,
    pictures,
    robustness,
    scores,
    training,
)


@dataclass(frozen=True)
class Section:
    """A question that a report answers, and what computes the answer; a section that does not apply is empty."""

    question: str
    make: Callable[[Material], Bundle]


SECTIONS: dict[str, Section] = {
    "findings": Section("What does the model get wrong, and why?", findings.section),
    "human": Section("Do humans agree with the labels, and with the model?", human.section),
    "neighbours": Section("Is it in the train split already?", neighbours.section),
    "comparison": Section("What changed between two models?", comparison.section),
    "classes": Section("Which classes are confused, and which are hard?", classes.section),
    "cohorts": Section("How do the cohorts do that somebody saved?", cohorts.section),
    "groups": Section("How often are groups of classes confused?", groups.section),
    "calibration": Section("Can the confidence be believed?", calibration.section),
    "scores": Section("How well do the scores rank, and what has to go to a person?", scores.section),
    "labels": Section("Which labels are doubtful?", labels.section),
    "robustness": Section("How do the answers change with the image?", robustness.section),
    "forecasts": Section("What would repairs bring?", forecasts.section),
    "pictures": Section("What do the errors look like, and where does the model look?", pictures.section),
    "training": Section("How was it trained?", training.section),
}
