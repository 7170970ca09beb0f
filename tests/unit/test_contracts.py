"""The contracts between packages hold, and a new module can't escape them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.parent.name for path in (ROOT / "workbench").glob("*/__init__.py"))
PLANTED = "import matplotlib\nimport training.data\nimport ipywidgets\n"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contracts")
    for name in ("workbench", "training"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    return subprocess.run([sys.executable, "-c", code, "--no-cache"], cwd=folder, capture_output=True, text=True)


def test_the_contracts_hold(copy: Path) -> None:
    done = checked(copy)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("package", [*PACKAGES, ""])
def test_a_planted_module_is_found(copy: Path, package: str) -> None:
    """In each package, and on a floor of no layer, a module that draws, trains and shows widgets breaks a contract."""
    planted = copy / "workbench" / package / "planted.py"
    planted.write_text(PLANTED)
    try:
        done = checked(copy)
    finally:
        planted.unlink()
    assert done.returncode == 1, done.stdout
    assert "only runs.training imports training BROKEN" in done.stdout
    if package != "figures":  # which may draw
        assert "only figures draws, and training its own curves BROKEN" in done.stdout
    assert "only the widgets of the explorer import widgets BROKEN" in done.stdout
    if not package:
        assert "imports go down: a module that stands on no floor fails, too BROKEN" in done.stdout


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("core", "from workbench.runs.run import Run\n"),
        ("analysis", "import torch\n"),
        ("images", "from workbench.store import read\n"),
        ("figures", "from workbench.attribution.attribute import attribute\n"),
    ],
)
def test_an_import_that_goes_up_is_found(copy: Path, where: str, code: str) -> None:
    planted = copy / "workbench" / where / "planted.py"
    planted.write_text(code)
    try:
        assert checked(copy).returncode == 1
    finally:
        planted.unlink()
