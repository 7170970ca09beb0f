"""The cohorts saved beside a run, in its report."""

from pathlib import Path

import numpy as np

import workbench
from tests.factories import predictions
from workbench.core.predictions import Predictions
from workbench.reports.material import join
from workbench.reports.sections import SECTIONS
from workbench.runs.run import Run


def test_cohorts_are_listed_with_the_change_where_it_means_something(tmp_path: Path) -> None:
    p = predictions(300)
    run = Run("a", p, folder=tmp_path)
    make = SECTIONS["cohorts"].make
    assert make(join(run)).tables == {}
    saved = workbench.cohorts(run)
    saved.save("first", p.index[:120])
    saved.save("errors", p.index[~p.correct])
    better = Predictions.from_arrays(p.label, np.eye(len(p.classes))[p.label], p.classes, index=p.index)
    bundle = make(join(run, compared=better))
    wrong = int((~p.correct[:120]).sum())
    assert bundle.tables["cohorts"]["errors"].to_list() == [wrong, int((~p.correct).sum())]
    assert set(bundle.tables["agreement_cohorts"]["group"]) == set(bundle.tables["cohorts"]["cohort"])
    assert bundle.tables["comparison_cohorts"]["group"].to_list() == ["first"]  # any model does better on errors
    assert bundle.metrics["cohorts"]["first"]["error_rate"] == wrong / 120
