"""Predictions of other seeds of a model's recipe, kept beside its checkpoint."""

from __future__ import annotations

import numpy as np

from workbench import store
from workbench.core.predictions import Predictions
from workbench.runs.run import Run

SEEDS = "seeds"  # folder beside the model, with a folder of predictions for each seed


def seeds_beside(run: Run) -> list[Predictions]:
    """The predictions in ``seeds/*/`` beside the run's checkpoint that have its rows and classes, in order of name.

    Raises
    ------
    DataError
        If one is damaged.
    """
    if run.checkpoint is None or not (run.checkpoint / SEEDS).is_dir():
        return []
    folders = sorted(path.parent for path in (run.checkpoint / SEEDS).glob(f"*/{store.PROVENANCE}"))
    found = [store.read(folder) for folder in folders]
    rows = np.sort(run.predictions.index)
    return [one for one in found if one.classes == run.predictions.classes and np.array_equal(np.sort(one.index), rows)]
