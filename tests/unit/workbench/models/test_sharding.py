from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.factories import classifier, image_set
from workbench import store
from workbench.core.predictions import Predictions
from workbench.errors import DataError
from workbench.models import predict, sharding


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
        sharding.predict_into(c, images, tmp_path / "resumed", progress=stop)
    with pytest.raises(DataError, match="is missing"):
        store.read(tmp_path / "resumed")
    with pytest.raises(DataError, match="unfinished run of other weights"):
        sharding.predict_into(classifier(), image_set(10), tmp_path / "resumed")
    calls = []
    plain = predict.predict
    monkeypatch.setattr(sharding, "predict", lambda *a, **k: calls.append(k["rows"]) or plain(*a, **k))
    sharding.predict_into(c, images, tmp_path / "resumed")
    assert [int(rows[0]) for rows in calls] == [4, 8]  # the first part was there
    resumed = store.read(tmp_path / "resumed")
    sharding.predict_into(c, images, tmp_path / "never stopped")
    same(resumed, store.read(tmp_path / "never stopped"))  # the same parts: bit for bit, on any processor
    whole = plain(c, images)  # another batch, whose products may be summed in another order
    np.testing.assert_allclose(resumed.probability, whole.probability, atol=1e-6)
    for name in ("index", "label", "predicted"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))


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


def test_torchrun_writes_one_shard_a_rank(tmp_path: Path, digits_run: Path) -> None:
    """The real command under torchrun, killed once and started again, against one process."""
    root = Path(__file__).resolve().parents[4]
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
