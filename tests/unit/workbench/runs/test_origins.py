from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.unit.workbench.concepts.planted import planted_run
from workbench import store
from workbench.analysis.dynamics import DYNAMICS
from workbench.core.predictions import Predictions
from workbench.errors import DataError
from workbench.explorer.widget import Explorer
from workbench.runs.opening import SHIPPED, open_run
from workbench.runs.origins import TRAIN, has_train, origins, train_of
from workbench.runs.run import Run


@pytest.fixture
def kept(tmp_path: Path) -> Run:
    """A run whose train rows are kept beside its checkpoint; they are its own rows here."""
    run = planted_run()
    store.write_reduced(run.predictions, tmp_path / TRAIN, 8)
    return replace(run, checkpoint=tmp_path)


def test_what_is_kept_beside_a_checkpoint_serves_where_no_train_split_was_given(kept: Run) -> None:
    errors = kept.predictions.index[~kept.predictions.correct][:5]
    found = origins(kept, errors, top=4)
    assert found.influence.speaks_for.shape == (5, 4)
    assert found.images is None
    assert len(found.train) == len(kept.predictions)
    given = replace(kept, train=kept.predictions, train_images=kept.images)
    exact = origins(given, errors, top=4)
    assert exact.images is kept.images
    np.testing.assert_allclose(found.influence.for_scores, exact.influence.for_scores, rtol=0.05)


def test_rows_that_validated_speak_for_nothing(kept: Run) -> None:
    assert kept.checkpoint is not None
    index = kept.predictions.index
    validated = np.arange(len(index)) % 3 == 0
    loss = [None if one else [1.0, 0.5] for one in validated]
    frame = pl.DataFrame({"split": "train", "index": index, "loss": loss})
    frame.with_columns(predicted=None, correct=None, label_probability=None).write_parquet(kept.checkpoint / DYNAMICS)
    found = origins(kept, index[~kept.predictions.correct][:5], top=4).influence
    shown = np.concatenate([found.speaks_for.ravel(), found.speaks_against.ravel()])
    assert not np.isin(shown, index[validated]).any()
    whole = origins(replace(kept, checkpoint=None, train=kept.predictions), found.rows, top=4).influence
    assert np.isin(whole.speaks_for, index[validated]).any()


def test_without_train_rows_the_remedy_is_named(kept: Run) -> None:
    bare = replace(kept, checkpoint=None)
    assert not has_train(bare)
    with pytest.raises(DataError, match="no predictions on the train split.*with_train"):
        train_of(bare)


def test_train_rows_of_other_weights_are_refused(kept: Run) -> None:
    assert kept.checkpoint is not None
    p = kept.predictions
    others = replace(p.provenance, checkpoint="0" * 64)
    made = Predictions.from_arrays(
        p.label, p.probability, p.classes, index=p.index, embedding=p.embedding, provenance=others
    )
    store.write_reduced(made, kept.checkpoint / TRAIN, 8)
    mine = replace(p.provenance, checkpoint="1" * 64)
    own = replace(kept, predictions=Predictions(p.table, p.classes, mine))
    with pytest.raises(DataError, match="other weights than these predictions: write it again"):
        train_of(own)


def test_the_explorer_shows_them_for_errors(kept: Run) -> None:
    from tests.unit.workbench.explorer.test_widget import Heard

    with_images = replace(kept, train=kept.predictions, train_images=kept.images)
    row = int(kept.predictions.index[~kept.predictions.correct][0])
    for run, pictures in ((kept, 0), (with_images, 1)):
        heard = Heard(Explorer(run))
        assert heard.ask("start")[0]["can"]["origins"]
        reply, buffers, _ = heard.ask("origins", row=row)
        assert len(buffers) == pictures
        assert [len(reply[side]) for side in ("for", "against")] == [6, 6]
        assert {reply["of"], reply["over"]} == {"plain", "marked"}
        assert reply["for"][0]["score"] > 0 > reply["against"][0]["score"]
        first = reply["for"][0]
        place = kept.predictions.position(first["row"])
        assert first["predicted"] == kept.predictions.classes[kept.predictions.predicted[place]]
        right = int(kept.predictions.index[kept.predictions.correct][0])
        assert "is correct" in heard.ask("origins", row=right)[0]["error"]
    bare = Heard(Explorer(replace(kept, checkpoint=None)))
    assert not bare.ask("start")[0]["can"]["origins"]


def test_the_shipped_run_has_them_out_of_the_box() -> None:
    if not SHIPPED.is_dir():
        pytest.skip("the shipped checkpoint is not here")
    run = open_run(SHIPPED)
    errors = run.predictions.index[~run.predictions.correct]
    found = origins(run, errors)
    assert len(found.train) == 50_000
    labels = found.train.label[found.influence.speaks_for]  # row ids are positions
    share = (labels == found.influence.of[:, None]).mean()
    assert share == pytest.approx(0.982, abs=0.003)
    assert (SHIPPED / TRAIN).stat().st_size < 5 * 2**20
