"""The names of version 0.1 for what is now in `analysis.index` and `attribution.stages`."""

from __future__ import annotations

from workbench.analysis import index
from workbench.attribution.stages import stage_maps
from workbench.core.records import IntArray
from workbench.runs.run import Run

__all__ = ["sample_errors", "stage_maps"]


def sample_errors(run: Run, count: int = index.SAMPLE, seed: int = 0) -> IntArray:
    """`analysis.index.sample_errors` of a run's predictions."""
    return index.sample_errors(run.predictions, count, seed)
