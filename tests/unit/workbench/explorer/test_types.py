"""The views' modules agree with the shapes that they share, as TypeScript reads their JSDoc."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
COMPILER = ["npx", "--yes", "--package", "typescript@5.9.3", "--", "tsc"]


def test_the_modules_have_the_types_that_they_say(tmp_path: Path) -> None:
    if shutil.which("npx") is None:
        pytest.skip("no Node on this machine")
    if subprocess.run([*COMPILER, "--version"], cwd=tmp_path, capture_output=True).returncode != 0:
        pytest.skip("TypeScript can't be fetched from here")
    project = str(ROOT / "tests" / "js" / "jsconfig.json")
    done = subprocess.run([*COMPILER, "-p", project], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
