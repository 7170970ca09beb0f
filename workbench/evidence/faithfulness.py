"""The images on which maps are tested, and what all maps of an image share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from workbench.attribution import guards
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets, seeds_of
from workbench.core.records import Attribution, ImageArray, IntArray, Precision, ProbabilityArray
from workbench.errors import AttributionError
from workbench.evidence.agreement import Reference
from workbench.evidence.cells import CellEffects, cell_effects, evidence_grid
from workbench.evidence.pixels import Faithfulness, faithfulness
from workbench.models.classifier import Classifier

MEASURED = 100


@dataclass(frozen=True)
class Others:
    """Other images uint8 ``(m, h, w, 3)``, their row ids and what is explained of them: their maps are the controls."""

    images: ImageArray
    rows: IntArray
    targets: Targets


@dataclass(frozen=True)
class Bench:
    """Images and what is explained of them, on which maps are tested.

    Parameters
    ----------
    images : uint8 array (n, h, w, 3)
    rows : int64 array (n,)
        Row ids: they seed all that is drawn.
    precision : "float32" or "bfloat16"
        Of the model's products, for the maps and for what they are tested by.
    others : Others, optional
        Further images whose maps are controls, beside those of the bench itself; with both there should be a hundred.
    known : CellEffects, optional
        What the cells of these images do for these targets, if it is known already.

    Raises
    ------
    AttributionError
        If counts or targets do not fit.
    """

    classifier: Classifier
    images: ImageArray
    rows: IntArray
    targets: Targets
    precision: Precision = "float32"
    others: Others | None = None
    known: CellEffects | None = None

    def __post_init__(self) -> None:
        guards.check_request(self.classifier, self.images, self.rows, self.targets)
        if self.known is not None and not np.array_equal(self.known.rows, self.rows):
            raise AttributionError("bench: expected the cell effects of the same rows")

    @cached_property
    def effects(self) -> CellEffects:
        """What the cells of the images do, measured once for all methods."""
        if self.known is not None:
            return self.known
        grid = evidence_grid(self.classifier)
        return cell_effects(self.classifier, self.images, self.rows, self.targets, grid, precision=self.precision)

    def maps(
        self,
        method: str,
        layer: str = "",
        classifier: Classifier | None = None,
        *,
        images: ImageArray | None = None,
        part: slice = slice(None),
    ) -> Attribution:
        """A method's maps of the bench's images, of a ``part`` of them, or of ``images`` in their place."""
        return self._made(
            method,
            [layer] if layer else [],
            self.classifier if classifier is None else classifier,
            Others((self.images if images is None else images)[part], self.rows[part], self.targets.part(part)),
        )

    def reference(self, maps: Attribution) -> Reference:
        """The controls of these maps: those of each other image, of the bench and of `others`."""
        grid = self.effects.grid
        own = Reference.of(maps.values, maps.rows, grid)
        if self.others is None:
            return own
        layers = [maps.layer] if maps.layer else []
        more = Reference.of(
            self._made(maps.method, layers, self.classifier, self.others).values, self.others.rows, grid
        )
        return Reference(np.concatenate([own.weights, more.weights]), np.concatenate([own.rows, more.rows]))

    def faithfulness(self, maps: ProbabilityArray) -> Faithfulness:
        """The pixel-wise measures of maps ``(n, h, w)`` of the first 100 of these images, beside those of others."""
        few = slice(0, MEASURED)
        targets, seeds = self.targets.part(few), seeds_of(self.rows[few])
        return faithfulness(self.classifier, self.images[few], maps[few], targets, seeds, self.precision)

    def _made(self, method: str, layers: list[str], classifier: Classifier, of: Others) -> Attribution:
        found = attribute(classifier, of.images, of.rows, of.targets, method, layers=layers, precision=self.precision)
        return next(iter(found.values()))
