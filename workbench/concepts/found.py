"""The concepts of some images: found, accounted for, taken out, and shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.attribution.targets import Targets
from workbench.concepts.causal import Removal, removal
from workbench.concepts.cells import Cells, Features, cells_of
from workbench.concepts.factorise import Concepts, factorise
from workbench.concepts.ledger import Ledger, ledger
from workbench.core.patches import Patch
from workbench.core.records import ImageArray, IntArray
from workbench.errors import DataError
from workbench.models.classifier import Classifier
from workbench.runs.run import Run

EXAMPLES = 6
PATCH = 2  # cells a side


@dataclass(frozen=True)
class FoundConcepts:
    """The concepts of ``n`` images.

    ``rows`` int64 ``(n,)``; ``cells`` and ``strengths`` as `cells.cells_of` and `Concepts.strengths`; ``patches``: for
    each concept those of the six images that show it most.
    """

    rows: IntArray
    images: ImageArray
    cells: Cells
    concepts: Concepts
    strengths: Features
    patches: list[list[Patch]]

    def account(self, part: slice) -> Ledger:
        """The account of the margins of some of the images."""
        return ledger(self.cells.part(part), self.concepts, self.strengths[part])

    def removals(self, model: Classifier, part: slice, *, seed: int = 0) -> list[Removal]:
        """What taking each concept out of some of the images changes."""
        return removal(model, self.images[part], self.cells.part(part), self.concepts, self.strengths[part], seed=seed)


def complete(run: Run, classifier: Classifier | None) -> Classifier:
    """The model that is used for a run with images; `DataError` if either is missing."""
    model = classifier or run.classifier
    if model is None or run.images is None:
        raise DataError("concepts: expected a run with its model and images: open it with checkpoint= and data=")
    return model


def find_concepts(
    run: Run, model: Classifier, rows: IntArray, targets: Targets, *, count: int, layer: str, seeds: int, seed: int
) -> FoundConcepts:
    """Find the concepts of some rows of a run, and where they are shown most.

    Raises
    ------
    DataError
        As `factorise`.
    AttributionError
        As `cells.cells_of`.
    """
    assert run.images is not None  # as `complete` checks
    images = model.seen(run.images).stack(rows)
    cells = cells_of(model, images, rows, targets, layer=layer)
    concepts = factorise(cells, count, seeds=seeds, seed=seed)
    strengths = concepts.strengths(cells.values)
    patches = []
    for k, peaks in enumerate(strengths.max((1, 2)).T):
        shown = np.argsort(-peaks, kind="stable")[:EXAMPLES]
        patches.append([patch_of(int(rows[place]), strengths[place, ..., k]) for place in shown])
    return FoundConcepts(rows, images, cells, concepts, strengths, patches)


def patch_of(row: int, strengths: Features) -> Patch:
    """The square of two by two cells around the strongest cell of a map ``(h, w)``, moved into the image."""
    sides = [min(PATCH, side) for side in strengths.shape]
    peak = np.unravel_index(int(strengths.argmax()), strengths.shape)
    corners = [
        float(np.clip(at + 0.5 - side / 2, 0, whole - side))
        for at, side, whole in zip(peak, sides, strengths.shape, strict=True)
    ]
    (top, left), (height, width) = (np.divide(pair, strengths.shape).tolist() for pair in (corners, sides))
    return Patch(row, top, left, height, width, strengths)
