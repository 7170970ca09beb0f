"""Kills, full disks, read-only folders, two processes, clocks, memory: nothing half-written, nothing finished lost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories import classifier, image_folder, image_set, predictions
from training import files as training_files
from workbench import store
from workbench.attribution.cache import MapCache
from workbench.attribution.precompute import Request, concatenate, maps_of
from workbench.core.files import lock, write_atomically
from workbench.errors import DataError, OutputError, WorkbenchError
from workbench.explorer.decisions import Decisions
from workbench.models import predict, sharding
from workbench.reports.material import Material
from workbench.reports.report import write_report
from workbench.runs.run import Run

ROOT = Path(__file__).resolve().parents[2]


def mounted(folder: Path, options: str) -> bool:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 kB."""
    folder = tmp_path / "small"
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not mounted(folder, "size=256k"):
        pytest.skip("a file system of its own can't be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_real_full_disk_leaves_nothing_half_written(small_disk: Path) -> None:
    fill = small_disk / "fill"
    kept = store.read(_written(small_disk / "first", 100))
    fill.write_bytes(bytes(1 << 17))
    with pytest.raises(OutputError, match="disk full.*free some space"):
        store.write(predictions(20_000), small_disk / "second")
    assert not list((small_disk / "second").glob("predictions*.parquet"))
    assert store.read(small_disk / "first").digest == kept.digest
    with pytest.raises(OutputError, match="disk full"):
        write_report(Material(Run("r", predictions(200))), small_disk / "report")
    assert not (small_disk / "report" / "manifest.json").exists()
    fill.unlink()
    assert len(store.read(_written(small_disk / "third", 100))) == 100


def _written(folder: Path, rows: int) -> Path:
    store.write(predictions(rows), folder)
    return folder


def test_tags_on_a_full_disk_are_kept_and_saved_later(small_disk: Path) -> None:
    p = predictions(4000)
    decisions = Decisions(p, small_disk / "run")
    decisions.change([1], add=["odd"])
    before = (small_disk / "run" / "decisions.json").read_bytes()
    fill = small_disk / "fill"
    with fill.open("wb") as stream, pytest.raises(OSError, match="No space left"):
        stream.write(bytes(1 << 20))
        stream.flush()
    decisions.change(range(2000), add=["many words that need room"])
    assert "disk full" in decisions.unsaved
    assert (small_disk / "run" / "decisions.json").read_bytes() == before
    other = Decisions(p, small_disk / "run")
    assert list(other.rows) == [1]
    fill.unlink()
    other.change([3999], add=["theirs"])
    decisions.change([5], add=["last"])
    assert decisions.unsaved == ""
    again = Decisions(p, small_disk / "run")
    assert len(again.rows) == 2001
    assert again.rows[3999].tags == ("theirs",)


def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    if os.geteuid() != 0 or not mounted(folder, "size=64k"):
        pytest.skip("a file system of its own can't be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        for work in (
            lambda: store.write(predictions(10), folder / "p"),
            lambda: sharding.predict_into(classifier(), image_set(), folder / "p"),
            lambda: write_report(Material(Run("r", predictions(50))), folder / "r"),
        ):
            with pytest.raises(OutputError, match="cannot write .*Read-only"):
                work()
        decisions = Decisions(predictions(10), folder / "run")
        decisions.change([1], add=["odd"])
        assert "Read-only" in decisions.unsaved
        assert decisions.rows[1].tags == ("odd",)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_two_processes_tag_one_run(tmp_path: Path) -> None:
    p = predictions(50)
    one, other = Decisions(p, tmp_path), Decisions(p, tmp_path)
    one.change([1], add=["a"])
    assert other.change([2], add=["b"]) == [1, 2]  # what the first one did is news to it
    assert one.undo() == [1, 2]
    assert sorted(Decisions(p, tmp_path).rows) == [2]


TAGGER = """
import sys
from pathlib import Path
from tests.factories import predictions
from workbench.explorer.decisions import Decisions
decisions = Decisions(predictions(400), Path(sys.argv[1]))
for row in range(int(sys.argv[2]), 400, 4):
    decisions.change([row], add=[f"by {sys.argv[2]}"])
    assert not decisions.unsaved, decisions.unsaved
"""


def test_four_processes_at_once_lose_no_tag(tmp_path: Path) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", TAGGER, str(tmp_path), str(k)], cwd=ROOT, text=True) for k in range(4)
    ]
    assert [process.wait(120) for process in started] == [0] * 4
    found = Decisions(predictions(400), tmp_path).rows
    assert {row: decision.tags for row, decision in found.items()} == {row: (f"by {row % 4}",) for row in range(400)}


def test_half_a_character_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    decisions = Decisions(predictions(10), tmp_path)
    with pytest.raises(DataError, match="unpaired surrogate"):
        decisions.change([1], note="\ud83d")
    decisions.change([2], add=["kept"])
    assert list(Decisions(predictions(10), tmp_path).rows) == [2]


def test_one_run_is_predicted_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "PART", 4)
    c, images = classifier(), image_set()
    tried: list[str] = []

    def meanwhile(count: int, _: int) -> None:
        if count == 8:
            with pytest.raises(OutputError, match="another process is at work"):
                sharding.predict_into(c, images, tmp_path)
            tried.append("second")

    sharding.predict_into(c, images, tmp_path, progress=meanwhile)
    assert tried == ["second"]
    assert len(store.read(tmp_path)) == 12
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


KILLED = """
import sys
from pathlib import Path
from tests.factories import classifier, image_set
from workbench.models import predict, sharding
sharding.PART = 3
sharding.predict_into(classifier(), image_set(60), Path(sys.argv[1]))
"""


def test_kills_at_any_moment(tmp_path: Path) -> None:
    """Killed at six different moments and started again, it ends with what an unbroken run gives."""
    whole = predict.predict(classifier(), image_set(60))
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "whole")], cwd=ROOT, check=True)
    lasts, kills = time.perf_counter() - begun, 0
    for share in (0.5, 0.7, 0.8, 0.85, 0.9, 0.95):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "run")], cwd=ROOT)
        try:
            process.wait(share * lasts)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.wait()
        if not (tmp_path / "run" / "provenance.json").is_file():  # not whole, and clearly said
            with pytest.raises(DataError, match="missing"):
                store.read(tmp_path / "run")
    finished = (tmp_path / "run" / "predictions.parquet").is_file()
    if not finished or not (tmp_path / "run" / "provenance.json").is_file():
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "run")], cwd=ROOT, check=True)
    found = store.read(tmp_path / "run")
    np.testing.assert_allclose(found.probability, whole.probability, atol=1e-5)
    print(f"{kills} kills in {lasts:.1f} s runs")


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path) -> None:
    c, images, cache = classifier(), image_set(), MapCache(tmp_path, limit_bytes=10**7)
    p = predict.predict(c, images)
    first = concatenate(list(maps_of(c, images, p, p.index, Request("Saliency"), cache)))
    for path in tmp_path.glob("*/*.npz"):
        os.utime(path, (4e9, 4e9))  # written in the year 2096
    again = concatenate(list(maps_of(c, images, p, p.index, Request("Saliency"), cache)))
    np.testing.assert_array_equal(first.values, again.values)
    decisions = Decisions(p, tmp_path / "run")
    decisions.change([1], add=["now"])
    os.utime(tmp_path / "run" / "decisions.json", (0, 0))
    Decisions(p, tmp_path / "run").change([2], add=["later"])
    assert decisions.change([3], add=["last"]) == [2, 3]


def test_weights_that_are_no_numbers_are_told() -> None:
    c = classifier()
    with torch.no_grad():
        c.module.head.bias[0] = float("nan")
    with pytest.raises(DataError, match="not finite: its weights are damaged"):
        predict.predict(c, image_set())


def test_out_of_memory_halves_the_batch_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    c, images = classifier(), image_set(50)
    expected = predict.predict(c, images)
    plain, seen = c.module.forward, []

    def scarce(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        if len(x) > 7:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB")
        return plain(x)

    monkeypatch.setattr(c.module, "forward", scarce)
    with pytest.warns(ResourceWarning, match="out of memory at 50 images: 25 at a time"):
        found = predict.predict(c, images)
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-5)
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-4)  # type: ignore[arg-type]
    assert max(seen[4:]) <= 7

    def broken(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("something else")

    monkeypatch.setattr(c.module, "forward", broken)
    with pytest.raises(RuntimeError, match="something else"):
        predict.predict(c, images)


def test_a_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from workbench.core.files import lock
import os
with lock(Path({str(tmp_path)!r}) / "lock"):
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    with lock(tmp_path / "lock"):
        pass


def test_an_interrupted_write_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")

    def half(target: Path) -> None:
        target.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, half)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.txt", "old")]


@pytest.mark.parametrize("write", [write_atomically, training_files.write_atomically])
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_permissions_of_the_umask(write: Callable, umask: int, mode: int, tmp_path: Path) -> None:
    def private(path: Path) -> None:  # as safetensors and tempfile write
        path.touch(mode=0o600)
        path.write_text("x")

    before = os.umask(umask)
    try:
        write(tmp_path / "x", private)
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode


def test_a_staging_folder_that_another_planted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.store import remote

    monkeypatch.setattr(remote.tempfile, "gettempdir", lambda: str(tmp_path))
    private = tmp_path / f"workbench-{os.getuid()}"
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    private.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="a folder of yours that nobody else may enter"), remote.stage("memory://b/r"):
        pytest.fail("a link was followed")
    private.unlink()
    private.mkdir(mode=0o777)
    private.chmod(0o777)
    with pytest.raises(OutputError, match="nobody else may enter"), remote.stage("memory://b/r"):
        pytest.fail("others may write there")


def test_output_that_is_closed_early_ends_a_command_quietly(tmp_path: Path) -> None:
    store.write(predictions(50), tmp_path / "p")
    command = [sys.executable, "-m", "workbench", "report", "--predictions", str(tmp_path / "p")]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*command, "--out", str(tmp_path / "r")], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert done.returncode == 141
    assert b"BrokenPipe" not in done.stderr


NO_NETWORK = """
import socket, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"):
        raise RuntimeError(f"the network was asked: {event} {arguments}")
sys.addaudithook(refuse)
from workbench.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_no_command_asks_the_network(tmp_path: Path) -> None:
    from training import run as training

    data, checkpoint = image_folder(tmp_path / "data", rows=60), tmp_path / "run"
    options = ["--epochs", "1", "--width", "8", "--batch-size", "16", "--workers", "0", "--image-sizes", "32"]
    options += ["--learning-rate", "0.0001"]  # too little to learn: evidence needs errors
    assert training.main(["--recipe", "fast", "--data", str(data), "--out", str(checkpoint), *options]) == 0
    place = ["--predictions", str(checkpoint / "predictions"), "--data", str(data)]
    for command in (
        ["predict", "--checkpoint", str(checkpoint), "--data", str(data), "--out", str(checkpoint / "predictions")],
        ["attribute", *place, "--methods", "grad-cam,saliency"],
        ["report", *place, "--checkpoint", str(checkpoint), "--html", "--out", str(tmp_path / "report")],
        ["evidence", *place, "--rows", "2", "--methods", "grad-cam", "--out", str(tmp_path / "evidence")],
        ["verify", str(tmp_path / "report" / "metrics.json")],
    ):
        done = subprocess.run([sys.executable, "-c", NO_NETWORK, *command], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    blocked = [sys.executable, "-c", NO_NETWORK.replace("sys.exit(", "socket.create_connection(('127.0.0.1', 9)); (")]
    assert b"the network was asked" in subprocess.run(blocked, cwd=ROOT, capture_output=True).stderr


def test_lab_stays_on_this_machine_with_a_token() -> None:
    text = (ROOT / "Makefile").read_text()
    assert text.count("ip=127.0.0.1") == 2  # of JupyterLab and of Voila
    assert "token=''" not in text
    assert "--Voila.auto_token=True" in text
    assert socket.gethostbyname("localhost").startswith("127.")


def test_predictions_on_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec's store in memory stands for S3 and its like."""
    import fsspec

    from workbench.runs.opening import open_predictions
    from workbench.store import remote

    monkeypatch.setattr(remote.tempfile, "gettempdir", lambda: str(tmp_path))
    url, c, images = "memory://bucket/run", classifier(), image_set()
    whole = predict.predict(c, images)
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        with remote.stage(url) as folder:
            sharding.predict_into(c, images, folder, rank=rank, world=2)
    names = sorted(Path(name).name for name in fsspec.filesystem("memory").ls("/bucket/run", detail=False))
    assert names == ["predictions-00000-of-00002.parquet", "predictions-00001-of-00002.parquet", "provenance.json"]
    with pytest.raises(OutputError, match="exists already"), remote.stage(url, "predictions-00001-of-00002.parquet"):
        pytest.fail("was about to predict again")
    run = open_predictions(url, classifier=c)
    np.testing.assert_allclose(run.predictions.probability, whole.probability, atol=1e-6)
    assert run.folder is None
    for bad, words in (("memory://bucket/none", "holds no predictions"), ("nosuch://x/y", "nosuch")):
        with pytest.raises(WorkbenchError, match=words):
            open_predictions(bad)
    fsspec.filesystem("memory").rm("/bucket", recursive=True)
