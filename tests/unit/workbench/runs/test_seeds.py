from __future__ import annotations

import dataclasses
from pathlib import Path

from tests.factories import predictions
from workbench import store
from workbench.core.predictions import Predictions
from workbench.core.records import Provenance
from workbench.findings.known import known_of
from workbench.reports.material import join
from workbench.runs.run import Run
from workbench.runs.seeds import seeds_beside


def test_seeds_beside_the_checkpoint_are_used_without_being_named(tmp_path: Path) -> None:
    run = Run("x", predictions(), checkpoint=tmp_path)
    assert seeds_beside(run) == []
    for number, rows in (("1", 200), ("2", 200), ("3", 150)):
        store.write(predictions(rows, seed=0), tmp_path / "seeds" / number)
    other = predictions(200, classes=3)
    store.write(other, tmp_path / "seeds" / "4")
    assert len(seeds_beside(run)) == 2
    assert len(known_of(run).seeds) == 2
    assert len(join(run).seeds) == 2
    assert known_of(run, seeds=[]).seeds == ()
    assert seeds_beside(dataclasses.replace(run, checkpoint=None)) == []
    assert isinstance(seeds_beside(run)[0], Predictions)


def test_predictions_on_other_rows_or_by_the_model_itself_are_no_other_seeds(tmp_path: Path) -> None:
    p = predictions()
    own = Predictions(p.table, p.classes, Provenance(checkpoint="a", data="x"))
    run = Run("x", own, checkpoint=tmp_path)
    for number, (label, origin) in enumerate(
        [
            (p.label, Provenance(checkpoint="b", data="x")),
            (p.label, Provenance(checkpoint="a", data="x")),
            (p.label, Provenance(checkpoint="b", data="y")),
            ((p.label + 1) % 4, Provenance(checkpoint="b", data="x")),
        ]
    ):
        one = Predictions.from_arrays(label, p.probability, p.classes, provenance=origin)
        store.write(one, tmp_path / "seeds" / str(number))
    (found,) = seeds_beside(run)
    assert found.provenance.checkpoint == "b"
