"""The wheel works by itself: installed into an empty environment, without the source tree."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel alone; its dependencies are those of this one, which takes minutes less."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = folder / "source"
    kept = ("pyproject.toml", "README.md", "LICENSE", "workbench", "training")
    source.mkdir()
    for name in kept:
        subprocess.run(["cp", "-r", ROOT / name, source], check=True)
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([*pip, *wheel], check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    (made,) = folder.glob("*.whl")
    subprocess.run([*pip[:3], "--python", str(python), "install", "--quiet", "--no-deps", str(made)], check=True)
    # a plain path: the editable install beside the dependencies stays out of sight
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin"


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CIFAR10_ROOT")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_commands_are_there(installed: Path, tmp_path: Path) -> None:
    for command, words in (("workbench", "predict"), ("workbench-train", "--recipe")):
        done = run([installed / command, "--help"], tmp_path)
        assert done.returncode == 0, done.stderr
        assert words in done.stdout


def test_bare_predictions_open_and_report(installed: Path, tmp_path: Path) -> None:
    frame = pl.DataFrame({"label": ["a", "b", "a", "b"] * 10, "probability_0": [0.9, 0.2, 0.4, 0.6] * 10})
    frame.with_columns(probability_1=1 - pl.col("probability_0")).write_csv(tmp_path / "theirs.csv")
    code = "import workbench; print(workbench.__file__, workbench.open_predictions('theirs.csv').predictions.accuracy)"
    done = run([installed / "python", "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    where, accuracy = done.stdout.split()
    assert Path(where).is_relative_to(installed.parent)
    assert float(accuracy) == 0.5
    explored = "import workbench; workbench.Explorer(workbench.open_predictions('theirs.csv'))"
    assert run([installed / "python", "-c", explored], tmp_path).returncode == 0  # the views are in the wheel
    done = run(
        [installed / "workbench", "report", "--predictions", "theirs.csv", "--out", "report", "--html"], tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "explorer.html").is_file()


def test_what_is_only_in_the_source_tree_is_said(installed: Path, tmp_path: Path) -> None:
    for call in ("open_example()", "train_digits()"):
        done = run([installed / "python", "-c", f"import workbench; workbench.{call}"], tmp_path)
        assert done.returncode != 0
        assert "workbench.train_digits('digits')" in done.stderr
