from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import numpy as np
import pytest

from tests.factories import classifier, image_set, predictions
from workbench import store
from workbench.core import files
from workbench.core.files import sha256
from workbench.errors import DataError, OutputError
from workbench.models import predict, sharding


def test_round_trip_and_columns(tmp_path: Path) -> None:
    import polars as pl

    p = predict.predict(classifier(), image_set())
    store.write(p, tmp_path)
    again = store.read(tmp_path)
    for name in ("index", "label", "predicted", "probability", "embedding"):
        np.testing.assert_array_equal(getattr(again, name), getattr(p, name))
    assert (again.classes, again.provenance) == (p.classes, p.provenance)
    schema = pl.read_parquet_schema(tmp_path / store.TABLE)
    assert list(schema) == ["index", "label", "predicted", "probability", "embedding"]
    assert schema["probability"] == pl.List(pl.Float32)


def test_existing_predictions_are_kept(tmp_path: Path) -> None:
    store.write(predictions(), tmp_path)
    before = sha256(tmp_path / store.TABLE)
    with pytest.raises(OutputError, match="exists already.*--force"):
        store.write(predictions(seed=1), tmp_path)
    assert sha256(tmp_path / store.TABLE) == before


@pytest.mark.parametrize("damage", ["missing", "truncated", "column"])
def test_damaged_predictions(tmp_path: Path, damage: str) -> None:
    import polars as pl

    store.write(predictions(), tmp_path)
    table = tmp_path / store.TABLE
    if damage == "missing":
        table.unlink()
    elif damage == "truncated":
        table.write_bytes(table.read_bytes()[:200])
    else:
        pl.read_parquet(table).drop("label").write_parquet(table)
    with pytest.raises(DataError, match=r"is missing|is damaged|lacks the column 'label'"):
        store.read(tmp_path)


def test_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("whole")

    def full(target: Path) -> None:
        target.write_text("ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="disk full"):
        files.write_atomically(path, full)
    assert [p.name for p in tmp_path.iterdir()] == ["table"]
    assert path.read_text() == "whole"


def test_shards_of_two_models_are_never_one_table(tmp_path: Path) -> None:
    images, one = image_set(9), classifier()
    other = dataclasses.replace(one, provenance=dataclasses.replace(one.provenance, checkpoint="other"))
    for rank in (0, 1):
        sharding.predict_into(one, images, tmp_path, rank=rank, world=2)
    sharding.predict_into(other, images, tmp_path, rank=1, world=2, force=True)
    with pytest.raises(DataError, match="another run"):
        store.read(tmp_path)
    sharding.predict_into(other, images, tmp_path, rank=0, world=2, force=True)
    assert store.read(tmp_path).provenance.checkpoint == "other"


def test_a_missing_shard_is_noticed(tmp_path: Path) -> None:
    c, images = classifier(), image_set(9)
    for rank in range(3):
        sharding.predict_into(c, images, tmp_path, rank=rank, world=3)
    (tmp_path / store.shard_name(1, 3)).unlink()
    with pytest.raises(DataError, match="3 shards expected, 2 there"):
        store.read(tmp_path)
    with pytest.raises(OutputError, match="exists already"):
        sharding.predict_into(c, images, tmp_path)
    sharding.predict_into(c, images, tmp_path, force=True)
    assert [path.name for path in sorted(tmp_path.glob(store.SHARDS))] == [store.TABLE]
    assert len(store.read(tmp_path)) == 9
    with pytest.raises(DataError, match="at most one an image"):
        sharding.predict_into(c, images, tmp_path / "many", rank=0, world=10)
