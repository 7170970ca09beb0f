"""Signals, special files, bombs and damaged records: one line, nothing half-written, no allocation, no formula."""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tests.factories import image_folder, predictions
from training import run as training_run
from training.errors import TrainingError
from training.files import lock as training_lock
from workbench import store
from workbench.cli.parser import main
from workbench.core import files, formats
from workbench.core.files import lock, write_atomically
from workbench.core.texts import csv_bytes
from workbench.errors import DataError, OutputError

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "artifacts" / "resnet18_ln_cifar10"
HOST = re.sub(r"\W", "-", platform.node())[:40]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    store.write(predictions(200), tmp_path / "predictions")
    return tmp_path / "predictions"


def cifar(root: Path) -> None:
    """Four images of two of CIFAR-10's classes."""
    generator = np.random.default_rng(0)
    for row in range(4):
        path = root / "test" / ("cat", "dog")[row % 2] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(path)


def told(code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command ended with."""
    assert code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


BAD = {
    "deep": "[" * 100_000,
    "half a character": '{"classes": ["a", "\\ud800"], "files": {"\\ud800": ""}}',
    "not a number": '{"classes": ["a", "b"], "seed": NaN, "files": {}, "x": NaN}',
    "too large": '{"classes": ["a", "b"], "seed": 1e400, "files": {}, "x": 1e400}',
    "a list": "[1, 2]",
    "a number": "3",
    "empty": "",
    "binary": "\0\1",
}
INFINITE = '{"format": 1, "data": "d", "split": "train", "rows": [{"index": 1e400}]}'
TYPED = [
    {"classes": "ab"},
    {"classes": ["a"]},
    {"classes": [1, 2], "checkpoint": [1]},
    {"classes": ["a", "b"], "versions": "x"},
    {"classes": ["a", "b"], "seed": True},
    {"classes": ["a", "b"], "split": {"a": 1}},
    {"classes": ["a", "b"], "data": 5},
    {"classes": ["a", "b"], "reading": [1]},
    {"classes": ["a", "b"], "unknown": 1},
    {"data": "d"},
]


@pytest.mark.parametrize("text", [*BAD.values(), *map(json.dumps, TYPED)], ids=[*BAD, *map(str, range(len(TYPED)))])
def test_a_damaged_provenance_is_one_line(written: Path, tmp_path: Path, text: str, capsys) -> None:
    (written / "provenance.json").write_text(text)
    # the table carries its own copy, which is compared first
    pl.read_parquet(written / "predictions.parquet").write_parquet(written / "predictions.parquet")
    assert main(["report", "--predictions", str(written), "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_damaged_manifest_is_one_line(written: Path, tmp_path: Path, text: str, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text(text)
    line = told(main(["report", "--predictions", str(written), "--out", str(out), "--force"]), capsys)
    assert "manifest.json" in line
    assert [path.name for path in out.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("names", [{"..": ""}, ["sub"], ["a\0b"], ["/etc/passwd"], [1, None]])
def test_a_manifest_deletes_plain_files_of_its_folder_alone(written: Path, tmp_path: Path, names: object) -> None:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    (out / "manifest.json").write_text(json.dumps({"files": names}))
    assert main(["report", "--predictions", str(written), "--out", str(out), "--force"]) == 0
    assert (out / "sub").is_dir()


def test_a_file_in_place_of_a_folder_is_named(written: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "out").write_text("mine")
    for more in ([], ["--force"]):
        line = told(main(["report", "--predictions", str(written), "--out", str(tmp_path / "out"), *more]), capsys)
        assert "out" in line
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("change", [{"std": [0, 0, 0]}, {"std": [True, 1, 1]}, {"image_size": 65_536}, {"width": True}])
def test_a_model_that_can_not_be_is_refused(tmp_path: Path, change: dict, capsys) -> None:
    source = ROOT / "artifacts" / "resnet18_ln_cifar10"
    (tmp_path / "model.json").write_text(json.dumps({**json.loads((source / "model.json").read_text()), **change}))
    (tmp_path / "model.safetensors").symlink_to(source / "model.safetensors")
    image_folder(tmp_path / "images")
    command = ["predict", "--checkpoint", str(tmp_path), "--data", str(tmp_path / "images")]
    assert "std above 0" in told(main([*command, "--out", str(tmp_path / "out")]), capsys)


@pytest.mark.parametrize(
    "text", [*BAD.values(), '{"format": 1, "data": "d", "split": "train", "rows": [{"index": 1e400}]}']
)
def test_damaged_fixes_are_one_line(tmp_path: Path, text: str, capsys) -> None:
    (tmp_path / "fixes.json").write_text(text)
    command = ["--data", "digits", "--out", str(tmp_path / "out"), "--fixes", str(tmp_path / "fixes.json")]
    assert "not a fixes file" in told(training_run.main(command), capsys)
    assert not (tmp_path / "out").exists()


def ran(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A command in another process, which must end by itself."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=ROOT, timeout=120, env=environment, **options
    )  # type: ignore[call-overload]


def test_pipes_and_devices_hold_nobody_up(written: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    image_folder(tmp_path / "images")
    first = next((tmp_path / "images").rglob("*.png")).parent
    os.mkfifo(first / "a.png")
    (first / "b.png").mkdir()
    (first / "c.png").symlink_to("/dev/zero")
    report = ("-m", "workbench", "report", "--predictions", str(written), "--out", str(tmp_path / "report"))
    fixes = ("-m", "training.run", "--data", "digits", "--out", str(tmp_path / "run"), "--fixes")
    for command in (
        (*report, "--classes-file", str(pipe)),
        (*report, "--classes-file", "/dev/zero"),
        (*fixes, str(pipe)),
    ):
        done = ran(*command)
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr
        assert "regular file" in done.stderr
    counted = f"from workbench.images import load_images; print(len(load_images({str(tmp_path / 'images')!r})))"
    done = ran("-c", counted)
    assert int(done.stdout) == len([path for path in (tmp_path / "images" / "test").rglob("*.png") if path.is_file()])


INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
from workbench.core import files
from workbench.cli.parser import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
flush, count = files._flush, 0
def stopped(path):
    global count
    count += 1
    if count == {at}:
        os.kill(os.getpid(), signal.{kind})
        time.sleep(60)
    flush(path)
files._flush = stopped
sys.exit(main({command}))
"""


@pytest.mark.parametrize("at", [1, 5, 9])  # of the flushes: a file, its folder, a file ...
@pytest.mark.parametrize(("kind", "code", "lines"), [("SIGINT", 130, 1), ("SIGTERM", 143, 0), ("SIGKILL", -9, 0)])
def test_a_stopped_report_leaves_nothing_half_written(
    written: Path, tmp_path: Path, kind: str, code: int, lines: int, at: int
) -> None:
    out = tmp_path / "out"
    command = ["report", "--predictions", str(written), "--out", str(out)]
    done = ran("-c", INTERRUPTED.format(kind=kind, at=at, command=command))
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (code, lines), done.stderr
    assert bool(list(out.glob(".*"))) == (kind == "SIGKILL")
    assert not (out / "manifest.json").exists()
    assert main([*command, "--force"]) == 0
    assert not list(out.glob(".*")), "what a kill left is removed by the next run"


STOPPED_TRAINING = """
import os, signal, sys, time
from training import files, run
signal.signal(signal.SIGINT, signal.default_int_handler)
flush = files._flush
def stopped(path):
    if "{name}" in path.name:
        os.kill(os.getpid(), signal.{kind})
        time.sleep(60)
    flush(path)
files._flush = stopped
sys.exit(run.main({command}))
"""


@pytest.mark.parametrize(("kind", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("name", ["state", "curves"])
def test_a_stopped_training_leaves_nothing_half_written(tmp_path: Path, kind: str, code: int, name: str) -> None:
    out = tmp_path / "out"
    command = ["--data", "digits", "--epochs", "1", "--width", "8", "--workers", "0", "--out", str(out)]
    done = ran("-c", STOPPED_TRAINING.format(kind=kind, name=name, command=command))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.glob(".*.tmp"))
    if kind == "SIGINT":
        assert ("nothing is saved yet" in done.stderr) == (name == "state")


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    stale, living, other, foreign = (
        tmp_path / name
        for name in (
            f".{HOST}.{gone.pid}.a[1].csv",
            f".{HOST}.{os.getppid()}.a[1].csv",
            f".{HOST}.{gone.pid}.b.csv",
            f".elsewhere.{gone.pid}.a[1].csv",
        )
    )
    for path in (stale, living, other, foreign):
        path.touch()
    write_atomically(tmp_path / "a[1].csv", lambda path: path.write_text("x"))
    assert sorted(path for path in tmp_path.iterdir()) == sorted([living, other, foreign, tmp_path / "a[1].csv"])


LIMITED = """
import resource, signal, sys
from workbench.cli.parser import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
code = main({command})
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))  # coverage writes at exit
sys.exit(code)
"""


@pytest.mark.parametrize("limit", [100, 1_000, 4_000, 16_000])
@pytest.mark.parametrize("kind", ["predict", "report"])
def test_a_file_that_may_not_grow_is_a_full_disk(written: Path, tmp_path: Path, kind: str, limit: int) -> None:
    cifar(tmp_path / "images")
    checkpoint = str(ROOT / "artifacts" / "resnet18_ln_cifar10")
    command = {
        "predict": ["predict", "--checkpoint", checkpoint, "--data", str(tmp_path / "images")],
        "report": ["report", "--predictions", str(written)],
    }[kind]
    done = ran("-c", LIMITED.format(limit=limit, command=[*command, "--out", str(tmp_path / "out")]))
    if done.returncode == 0:  # the limit was not reached
        assert limit == 16_000
        return
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in (tmp_path / "out").rglob("*") if re.fullmatch(r"\..*\.\d+\..*", path.name)]


@pytest.mark.parametrize("name", ["a[b]c", "a*", "a b", "a?{x}", "ü", "new\nline"])
def test_folders_of_any_name(tmp_path: Path, name: str) -> None:
    cifar(tmp_path / name / "images")
    checkpoint = str(ROOT / "artifacts" / "resnet18_ln_cifar10")
    out = tmp_path / name / "out"
    assert (
        main(["predict", "--checkpoint", checkpoint, "--data", str(tmp_path / name / "images"), "--out", str(out)]) == 0
    )
    assert main(["report", "--predictions", str(out), "--out", str(tmp_path / name / "report")]) == 0


def test_a_folder_that_is_not_utf8_is_named(tmp_path: Path, capsys) -> None:
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/odd\xff"))
    cifar(odd / "images")
    checkpoint = str(ROOT / "artifacts" / "resnet18_ln_cifar10")
    command = ["predict", "--checkpoint", checkpoint, "--data", str(odd / "images"), "--out"]
    assert "whose name is UTF-8" in told(main([*command, str(odd / "out")]), capsys)
    assert main([*command, str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_force_replaces_a_damaged_table(tmp_path: Path, share: float, capsys) -> None:
    cifar(tmp_path / "images")
    command = ["predict", "--checkpoint", str(ROOT / "artifacts" / "resnet18_ln_cifar10"), "--data"]
    command += [str(tmp_path / "images"), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    table = tmp_path / "out" / "predictions.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[: int(share * len(whole))])
    capsys.readouterr()
    assert "--force" in told(main(command), capsys)
    assert main([*command, "--force"]) == 0
    assert len(store.read(tmp_path / "out")) == len(pl.read_parquet(table))


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "available", lambda: 2**27)
    with gzip.open(tmp_path / "bomb.csv.gz", "wb", compresslevel=1) as stream:
        for _ in range(9):
            stream.write(bytes(2**24))
    with pytest.raises(DataError, match="more than 33,554,432 bytes once decompressed"):
        formats.scan_table(tmp_path / "bomb.csv.gz")


def test_a_file_of_more_rows_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    pl.DataFrame({"label": [0] * 300_000, "probability_0": [0.5] * 300_000}).write_parquet(tmp_path / "many.parquet")
    assert (tmp_path / "many.parquet").stat().st_size < 20_000
    monkeypatch.setattr(formats, "available", lambda: 2**24)
    for words in (["report", "--predictions"], ["predict", "--checkpoint", str(CHECKPOINT), "--data"]):
        command = [*words, str(tmp_path / "many.parquet"), "--out", str(tmp_path / "out")]
        assert "300,000 rows, more than the free memory allows" in told(main(command), capsys)


def test_paths_of_a_megabyte_are_refused(tmp_path: Path, capsys) -> None:
    pl.DataFrame({"path": ["a" * 2**20] * 9, "label": ["cat"] * 9}).write_parquet(tmp_path / "long.parquet")
    command = ["predict", "--checkpoint", str(CHECKPOINT), "--data", str(tmp_path / "long.parquet")]
    assert "at most 4,096 bytes, not 1,048,576" in told(main([*command, "--out", str(tmp_path / "out")]), capsys)


@pytest.mark.parametrize("first", [True, False])
def test_a_bomb_among_images_is_named(tmp_path: Path, first: bool, capsys) -> None:
    cifar(tmp_path / "images")
    folder = next((tmp_path / "images" / "test").iterdir())
    Image.new("1", (20_000, 20_000)).save(folder / ("000.png" if first else "zzz.png"))
    command = ["predict", "--checkpoint", str(CHECKPOINT), "--data", str(tmp_path / "images")]
    command += ["--out", str(tmp_path / "out")]
    assert "more than 178,956,970 pixels" in told(main(command), capsys)
    assert main([*command, "--skip-unreadable"]) == 0
    assert len(store.read(tmp_path / "out")) == 4


FORMULAS = ('=HYPERLINK("http://x")', "@SUM(A1)", "\tx", "\rx", "+1+cmd|' /C calc'!A0", "-2+3+cmd", "=1+1", "+1-2", "-")
PLAIN = ("cat", "-1", "+1.5", "1e-3", "-1e5", "a=b")


def test_no_cell_is_a_formula() -> None:
    cells = pl.Series([*FORMULAS, *PLAIN])
    table = pl.DataFrame({"=name": cells, "kind": cells.cast(pl.Categorical), "number": range(-3, len(cells) - 3)})
    read = pl.read_csv(csv_bytes(table), infer_schema=False)
    assert read.columns == ["'=name", "kind", "number"]
    for name in ("'=name", "kind"):
        assert read[name].to_list() == [*(f"'{text}" for text in FORMULAS), *PLAIN]
    assert read["number"].to_list() == [str(value) for value in range(-3, len(cells) - 3)]


def test_every_table_of_a_report_is_safe(tmp_path: Path) -> None:
    made = predictions(300, classes=4)
    names = tuple(FORMULAS[:4])
    renamed = type(made)(made.table, names, made.provenance)
    store.write(renamed, tmp_path / "predictions")
    assert main(["report", "--predictions", str(tmp_path / "predictions"), "--out", str(tmp_path / "out")]) == 0
    found = list((tmp_path / "out").glob("*.csv"))
    assert len(found) >= 4
    for path in found:
        cells = pl.read_csv(path, has_header=False, infer_schema=False).unpivot()["value"].drop_nulls()
        assert not cells.str.contains(r"^[=@\t\r]").any(), path.name


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
@pytest.mark.parametrize(
    ("hold", "kind"), [(lambda folder: lock(folder / "lock"), OutputError), (training_lock, TrainingError)]
)
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hold: Callable, kind: type[Exception]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(kind, match="has no locks"), hold(tmp_path / "run"):
        pass


def test_names_of_temporary_files_are_of_this_machine() -> None:
    assert files._HOST == HOST
