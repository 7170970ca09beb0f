from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits model as a user gets it, trained once for all tests."""
    import workbench

    given = os.environ.get("WORKBENCH_DIGITS")  # a folder with a finished run saves the wait while developing
    folder = Path(given) if given else tmp_path_factory.mktemp("digits") / "run"
    workbench.train_digits(folder)
    return folder


@pytest.fixture(scope="session")
def shots() -> Path | None:
    """Where screenshots go, if anywhere: the folder that WORKBENCH_SHOTS names."""
    folder = os.environ.get("WORKBENCH_SHOTS")
    if folder is None:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)
