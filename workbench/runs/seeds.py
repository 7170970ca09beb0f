"""Predictions of other seeds of a model's recipe, kept beside its checkpoint."""

from __future__ import annotations

import numpy as np

from workbench import store
from workbench.core.predictions import Predictions
from workbench.runs.run import Run

SEEDS = "seeds"  # folder beside the model, with a folder of predictions for each seed


def seeds_beside(run: Run) -> list[Predictions]:
    """The predictions in ``seeds/*/`` beside the run's checkpoint that are other models' on its rows, in order of name.

    Classes, row ids and labels are the same, and so are the images where both say which they are; the weights are not.

    Raises
    ------
    DataError
        If one is damaged.
    """
    if run.checkpoint is None or not (run.checkpoint / SEEDS).is_dir():
        return []
    folders = sorted(path.parent for path in (run.checkpoint / SEEDS).glob(f"*/{store.PROVENANCE}"))
    found = [store.read(folder) for folder in folders]
    return [one for one in found if _is_another(one, run.predictions)]


def _is_another(one: Predictions, own: Predictions) -> bool:
    """Whether predictions are on the rows of others and by other weights, as far as both say."""
    if one.classes != own.classes or len(one) != len(own):
        return False
    orders = [np.argsort(each.index, kind="stable") for each in (one, own)]
    same = all(np.array_equal(a[orders[0]], b[orders[1]]) for a, b in ((one.index, own.index), (one.label, own.label)))
    images, weights = (
        (getattr(one.provenance, name), getattr(own.provenance, name)) for name in ("data", "checkpoint")
    )
    return same and (None in images or images[0] == images[1]) and (None in weights or weights[0] != weights[1])
