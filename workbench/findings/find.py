"""All rules, what they found together, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from workbench.core.predictions import Predictions
from workbench.findings.control import adjusted
from workbench.findings.known import Known, known_of
from workbench.findings.overlap import without_overlap
from workbench.findings.record import Findings
from workbench.findings.registry import KINDS
from workbench.runs.run import Run

TRAIN = (
    "all but labels, copies and shortcuts: the rows are called train, and a model's errors on rows that it was trained "
    "on are few and special: give predictions of other rows"
)


def find(
    run: Run,
    *,
    seeds: Sequence[Predictions] | None = None,
    features: ArrayLike | None = None,
    layer: str | None = None,
    validation: Predictions | None = None,
) -> Findings:
    """What a model gets wrong, and why: the findings of all kinds in `registry.KINDS`, most costly first.

    Parameters
    ----------
    run : Run
        With human labels (`with_votes`), train predictions (`with_train`), images and a checkpoint whose folder holds
        ``dynamics.parquet``, more rules can run; `Findings.missing` names those that could not.
    seeds : sequence of Predictions
        Other models on the same rows, such as another seed of the same recipe; default: those in the folder ``seeds``
        beside the checkpoint.
    features : float array (N, D)
        An embedding of the rows, in the order of the predictions, whose clusters are tried as slices.
    layer : str
        A layer of the run's model, best an early one, whose features are clustered and tried as slices.
    validation : Predictions
        Of the same model on rows that are not judged, such as a validation split, to fit a temperature on.

    Returns
    -------
    Findings
        Of tests, those that hold after the correction over everything that was tested (`control.adjusted`).

    Raises
    ------
    DataError
        If the features, seeds or validation rows do not fit the predictions, a layer is named without a model, or
        images can't be read.

    Notes
    -----
    Of more than 200,000 rows a random sample of that size is judged, and of images at most 20,000 are looked at.
    """
    known = known_of(run, seeds=seeds, features=features, layer=layer, validation=validation)
    found = findings_of(known)
    return found if len(known.label) == len(run.predictions) else replace(found, sample=known.predictions.index)


def findings_of(known: Known) -> Findings:
    """The findings of what is known of some rows; see `find`."""
    train = known.predictions.provenance.split == "train"
    results = {name: kind.find(known) for name, kind in KINDS.items() if kind.of_rows or not train}
    tests = sum(result.tests for result in results.values())
    held = without_overlap(known, adjusted(list(results.values())))
    place = {name: number for number, name in enumerate(KINDS)}
    held.sort(key=lambda finding: (-finding.cost, place[finding.kind]))
    explained = np.concatenate([finding.rows for finding in held if finding.explains] or [np.zeros(0, np.int64)])
    errors = known.rows(known.wrong)
    left = np.ones(len(errors))
    for finding in held:
        if finding.explains and finding.errors:
            left[np.isin(errors, finding.rows)] *= 1 - min(1.0, finding.cost / finding.errors)
    return Findings(
        found=tuple(held),
        remainder=errors[~np.isin(errors, explained)],
        unexplained=float(left.sum()),
        errors=len(errors),
        rows=len(known.label),
        missing=(*([TRAIN] if train else []), *(line for result in results.values() for line in result.missing)),
        tests=tests,
        classes=known.predictions.classes,
    )
