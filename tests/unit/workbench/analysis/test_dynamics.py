from pathlib import Path

import numpy as np
import polars as pl
import pytest

from workbench.analysis.dynamics import cartography, history_of, read_dynamics, read_histories, region
from workbench.errors import DataError

CORRECT = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool)
LOSS = -np.log(np.array([[0.9, 0.4, 0.1], [0.9, 0.6, 0.2], [0.9, 0.4, 0.1], [0.9, 0.6, 0.2]]))


def test_cartography_by_hand() -> None:
    frame = cartography(LOSS, CORRECT)
    np.testing.assert_allclose(frame["confidence"], [0.9, 0.5, 0.15])
    np.testing.assert_allclose(frame["variability"], [0, 0.1, 0.05], atol=1e-12)
    np.testing.assert_allclose(frame["correctness"], [1, 0.5, 0])
    assert frame["forgetting"].to_list() == [0, 1, 0]
    assert frame["learnt_epoch"].to_list() == [1, 4, None]
    assert region(frame, 0.34).to_list() == ["easy", "ambiguous", "hard"]


def test_bad_dynamics_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="alike"):
        cartography(LOSS, CORRECT[:2])
    with pytest.raises(DataError, match="at least 0"):
        cartography(np.full((2, 2), np.nan), np.ones((2, 2), bool))
    with pytest.raises(DataError, match="missing or damaged"):
        read_dynamics(tmp_path / "dynamics.parquet")
    pl.DataFrame({"split": ["train"], "index": [0]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="lacks the column 'loss'"):
        read_dynamics(tmp_path / "other.parquet")


def test_the_history_of_a_row_is_that_of_its_split(tmp_path: Path) -> None:
    path = tmp_path / "dynamics.parquet"
    assert read_histories(path, "test") is None
    lists = {name: [[9.0], [0.5], [0.25]] for name in ("predicted", "correct", "label_probability")}
    frame = pl.DataFrame(
        {"split": ["train", "test", "test"], "index": [1, 7, 2], **lists, "loss": [[1.0], [2.0], None]}
    )
    frame.write_parquet(path)
    histories = read_histories(path, "test")
    assert histories is not None
    assert history_of(histories, 7) == {**{name: [0.5] for name in lists}, "loss": [2.0]}
    assert history_of(histories, 2) == {**{name: [0.25] for name in lists}, "loss": None}
    assert history_of(histories, 1) is None  # of another split
    assert history_of(histories, 99) is None
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="is damaged"):
        read_histories(path, "test")


def test_what_training_writes_is_read(tmp_path: Path) -> None:
    from tests.factories import TINY, data_set
    from training.session import Session
    from training.train import train

    train(Session(TINY, data_set(60), data_set(20, "test")), tmp_path, quiet=True)
    frame = read_dynamics(tmp_path / "dynamics.parquet")
    assert len(frame) == 48  # a fifth of the 60 train rows is held out
    assert frame["correctness"].is_between(0, 1).all()
    assert set(frame["region"].drop_nulls()) <= {"easy", "ambiguous", "hard"}
    assert frame["index"].is_unique().all()
