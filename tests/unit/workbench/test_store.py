from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest

from tests.factories import CLASSES, classifier, image_set, predictions
from workbench import store
from workbench.analysis.confusion import confusion_matrix
from workbench.core.predictions import Predictions
from workbench.errors import DataError, OutputError
from workbench.models import predict, sharding


def test_a_named_array_must_be_there(tmp_path: Path) -> None:
    p = predictions(20, 3)
    np.savez(tmp_path / "table.npz", label=p.label, p=p.probability)
    same(store.read(tmp_path / "table.npz", columns={"probability": "p"}), p)
    with pytest.raises(DataError, match="has no array 'q'"):
        store.read(tmp_path / "table.npz", columns={"probability": "q"})


def test_ragged_rows_are_refused() -> None:
    with pytest.raises(DataError, match="rows of one length"):
        Predictions.from_arrays([0, 1], [[0.5, 0.5], [1.0]], ("a", "b"))


def same(a: Predictions, b: Predictions) -> None:
    for name in ("index", "label", "predicted", "probability"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shards_are_the_table_of_one_process(tmp_path: Path, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "PART", 2)
    c, images = classifier(), image_set(11)
    whole = predict.predict(c, images)
    for rank in range(world):
        sharding.predict_into(c, images, tmp_path, rank=rank, world=world)
    again = store.read(tmp_path)
    for name in ("index", "label", "predicted"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    np.testing.assert_allclose(again.probability, whole.probability, atol=1e-6)
    np.testing.assert_allclose(again.embedding, whole.embedding, atol=1e-5)
    assert again.provenance == whole.provenance
    assert len(list(tmp_path.iterdir())) == world + 1  # the parts are gone


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "PART", 4)
    c, images, done = classifier(), image_set(12), []

    def stop(count: int, _: int) -> None:
        done.append(count)
        if count > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sharding.predict_into(c, images, tmp_path, progress=stop)
    with pytest.raises(DataError, match="is missing"):
        store.read(tmp_path)
    with pytest.raises(DataError, match="unfinished run of other weights"):
        sharding.predict_into(classifier(), image_set(10), tmp_path)
    calls = []
    plain = predict.predict
    monkeypatch.setattr(sharding, "predict", lambda *a, **k: calls.append(k["rows"]) or plain(*a, **k))
    sharding.predict_into(c, images, tmp_path)
    assert [int(rows[0]) for rows in calls] == [4, 8]  # the first part was there
    same(store.read(tmp_path), plain(c, images))


def test_a_finished_rank_waits_for_the_others(tmp_path: Path) -> None:
    """One of two processes was done when the run was killed: the same command again completes it."""
    c, images = classifier(), image_set(9)
    sharding.predict_into(c, images, tmp_path, rank=1, world=2)
    stray = tmp_path / f".{store.shard_name(0, 2)}.parts" / ".77.half-written.parquet"
    stray.parent.mkdir()
    stray.write_bytes(b"PAR1")
    for rank in (0, 1):
        sharding.predict_into(c, images, tmp_path, rank=rank, world=2)
    assert len(store.read(tmp_path)) == 9
    assert len(list(tmp_path.iterdir())) == 3
    (tmp_path / store.PROVENANCE).unlink()  # killed just before it was written
    sharding.predict_into(c, images, tmp_path, rank=0, world=2)
    assert len(store.read(tmp_path)) == 9


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


FRAME = pl.DataFrame(
    {
        "label": [0, 2, 1],
        "probability_0": [0.7, 0.2, 0.1],
        "probability_1": [0.2, 0.2, 0.8],
        "probability_2": [0.1, 0.6, 0.1],
    }
)
LISTS = FRAME.select("label", probability=pl.concat_list("probability_0", "probability_1", "probability_2"))


def foreign(folder: Path, kind: str) -> Path:
    path = folder / f"table.{kind.rsplit('.', 1)[-1]}"
    matrix = FRAME.select(pl.exclude("label")).to_numpy()
    if kind == "columns.csv":
        FRAME.write_csv(path)
    elif kind == "columns.parquet":
        FRAME.write_parquet(path)
    elif kind == "lists.parquet":
        LISTS.write_parquet(path)
    elif kind == "json.csv":
        cells = [json.dumps(row) for row in matrix.tolist()]
        LISTS.with_columns(probability=pl.Series(cells)).write_csv(path)
    elif kind == "logits.parquet":
        logits = np.log(matrix) + np.array([[5.0], [-3.0], [0.0]])
        pl.DataFrame({"label": [0, 2, 1], "logit": logits}).write_parquet(path)
    elif kind == "names.csv":
        names = FRAME.with_columns(label=pl.Series(["ant", "cow", "bee"]))
        names.write_csv(path)
    else:
        np.savez(path, label=FRAME["label"].to_numpy(), probability=matrix, classes=np.array(CLASSES))
    return path


@pytest.mark.parametrize(
    "kind",
    ["columns.csv", "columns.parquet", "lists.parquet", "json.csv", "logits.parquet", "names.csv", "arrays.npz"],
)
def test_tables_of_other_systems(tmp_path: Path, kind: str) -> None:
    p = store.read(foreign(tmp_path, kind))
    np.testing.assert_array_equal(p.label, [0, 2, 1])
    np.testing.assert_array_equal(p.predicted, [0, 2, 1])
    np.testing.assert_allclose(p.probability, FRAME.select(pl.exclude("label")).to_numpy(), atol=1e-6)
    assert p.classes == (CLASSES if kind in ("names.csv", "arrays.npz") else ("0", "1", "2"))


def test_other_names_by_option(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    FRAME.rename({"label": "y", **{f"probability_{k}": f"score_{k}" for k in range(3)}}).write_csv(path)
    p = store.read(path, columns={"label": "y", "probability": "score"}, classes=["x", "y", "z"])
    assert (p.error_count, p.classes) == (0, ("x", "y", "z"))
    with pytest.raises(DataError, match="no column 'truth'"):
        store.read(path, columns={"label": "truth"})
    with pytest.raises(DataError, match="lacks the column 'label'"):
        store.read(path)


def test_frames_at_the_edge() -> None:
    import pandas

    from workbench.analysis.index import error_index

    expected = FRAME.select(pl.exclude("label")).to_numpy()
    for frame in (FRAME, FRAME.lazy(), LISTS, pandas.DataFrame(FRAME.to_dict(as_series=False))):
        p = store.from_frame(frame, classes=CLASSES)
        np.testing.assert_allclose(p.probability, expected, atol=1e-6)
        assert p.classes == CLASSES
    table = store.to_pandas(error_index(predictions()))
    assert isinstance(table, pandas.DataFrame)
    assert len(table) == predictions().error_count
    with pytest.raises(DataError, match="lacks the column 'label'"):
        store.from_frame(FRAME.drop("label"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probability_0": [np.nan, 0.2, 0.1]}, "finite"),
        ({"probability_0": [None, 0.2, 0.1]}, "finite"),
        ({"probability_0": [np.inf, 0.2, 0.1]}, "finite"),
        ({"probability_0": [0.9, 0.2, 0.1]}, "sum to 1"),
        ({"probability_0": [7.0, -2.0, 0.1]}, "finite values from 0"),
        ({"label": [0, 3, 1]}, "0 to 2"),
        ({"label": [0, -1, 1]}, "0 to 2"),
        ({"label": [0.5, 1.0, 1.0]}, "whole numbers"),
        ({"label": [0, None, 1]}, "have none"),
        ({"index": [4, 4, 5]}, "unique"),
        ({"predicted": [1, 2, 1]}, "most probable"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, change: dict[str, list], words: str) -> None:
    path = tmp_path / "table.parquet"
    FRAME.with_columns(**{name: pl.Series(values) for name, values in change.items()}).write_parquet(path)
    with pytest.raises(DataError, match=words):
        store.read(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty.parquet"
    LISTS.head(0).write_parquet(empty)
    ragged = tmp_path / "ragged.parquet"
    pl.DataFrame({"label": [0, 1], "probability": [[0.5, 0.5], [1.0]]}).write_parquet(ragged)
    (tmp_path / "text.csv").write_text("hello")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "objects.npz").write_bytes(b"no archive")
    (tmp_path / "what.txt").write_text("x")
    for name, words in (
        ("empty.parquet", "no row"),
        ("ragged.parquet", "lists of 2"),
        ("text.csv", "lacks the column"),
        ("broken.parquet", "damaged"),
        ("objects.npz", "damaged"),
        ("what.txt", "expected .parquet, .csv or .npz"),
        ("absent.csv", "is missing"),
    ):
        with pytest.raises(DataError, match=words):
            store.read(tmp_path / name)


def test_one_class_only_and_an_absent_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 2"):
        Predictions.from_arrays([0, 0], [[1.0], [1.0]], ("only",))
    p = Predictions.from_arrays([0, 0], [[0.9, 0.1], [0.2, 0.8]], ("a", "never"))
    np.testing.assert_array_equal(confusion_matrix(p).counts, [[1, 1], [0, 0]])


def test_many_classes(tmp_path: Path) -> None:
    p = predictions(300, 1000)
    store.write(p, tmp_path)
    again = store.read(tmp_path)
    same(again, p)
    assert confusion_matrix(again).counts.sum() == 300


def test_torchrun_writes_one_shard_a_rank(tmp_path: Path, digits_run: Path) -> None:
    """The real command under torchrun, killed once and started again, against one process."""
    root = Path(__file__).resolve().parents[3]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "workbench",
    ]
    options = ["predict", "--checkpoint", str(digits_run), "--data", "digits", "--out", str(tmp_path / "two")]
    first = subprocess.Popen([*command, *options], cwd=root)
    time.sleep(1.5)  # anywhere: what is tested holds whenever the kill comes
    started = psutil.Process(first.pid)
    for process in (*started.children(recursive=True), started):  # the workers outlive the one that started them
        process.kill()
    first.wait()
    subprocess.run([*command, *options], cwd=root, check=True, timeout=120)
    single = [sys.executable, "-m", "workbench", *options[:-1], str(tmp_path / "one")]
    subprocess.run(single, cwd=root, check=True, timeout=120)
    one = store.read(tmp_path / "one")
    two = store.read(tmp_path / "two")
    assert len(list((tmp_path / "two").glob("predictions-*-of-00002.parquet"))) == 2
    for name in ("index", "label", "predicted"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_allclose(one.probability, two.probability, atol=1e-6)
