"""The kinds of findings: a kind is one file in `kinds` and one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from workbench.findings.kinds import (
    baseline,
    calibration,
    confusions,
    copies,
    corrupted,
    fragile,
    labels,
    people,
    quality,
    repairs,
    shortcuts,
    slices,
    sparse,
    unsettled,
)
from workbench.findings.known import Known
from workbench.findings.record import Found


@dataclass(frozen=True)
class Kind:
    """A question, and the rule that answers it; among findings of equal cost those of the earlier kind come first.

    ``groups``: its findings are groups of rows with more errors than others of their classes; of those that overlap the
    strongest is kept. ``afterwards``: its findings have to hold on the rows of no such group, too. ``of_rows``: they
    are about the rows rather than the model, so that they hold for train rows, too.
    """

    question: str
    find: Callable[[Known], Found]
    groups: bool = False
    afterwards: bool = False
    of_rows: bool = False


KINDS: Mapping[str, Kind] = {
    "baseline": Kind("Is it better than nothing?", baseline.find),
    "labels": Kind("Which labels are probably wrong?", labels.find, afterwards=True, of_rows=True),
    "copies": Kind("Which images are there twice?", copies.find, of_rows=True),
    "slices": Kind("Does it fail on some kind of image?", slices.find, groups=True),
    "quality": Kind("Does it fail on poor images?", quality.find, groups=True),
    "shortcuts": Kind("Does something else tell the label?", shortcuts.find, of_rows=True),
    "people": Kind("On which images do people disagree?", people.find, groups=True),
    "unsettled": Kind("Which errors does another epoch or seed not make?", unsettled.find),
    "fragile": Kind("Which errors does a harmless change correct?", fragile.find),
    "corrupted": Kind("Which corruption of the image does it bear least?", corrupted.find),
    "repairs": Kind("Which repair would help?", repairs.find),
    "sparse": Kind("Does it fail far from its train images?", sparse.find, groups=True),
    "confusions": Kind("Which classes are confused beyond their own rates?", confusions.find),
    "calibration": Kind("Where do confidence and accuracy differ?", calibration.find, afterwards=True),
}
