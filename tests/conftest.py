from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def digits_run() -> Path:
    """The digits model as a user gets it, in its default place, trained if it is not there yet."""
    from workbench.runs.opening import DIGITS, train_digits

    assert train_digits().predictions.accuracy >= 0.97
    return DIGITS


@pytest.fixture(scope="session")
def shots() -> Path | None:
    """Where screenshots go, if anywhere: the folder that WORKBENCH_SHOTS names."""
    folder = os.environ.get("WORKBENCH_SHOTS")
    if folder is None:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)
