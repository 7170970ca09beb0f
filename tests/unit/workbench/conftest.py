"""What tests of several packages share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories import image_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint trained for one epoch by the real command, and its image folder."""
    from training import run

    root = tmp_path_factory.mktemp("trained")
    data = image_folder(root / "data", rows=60)
    options = ["--epochs", "1", "--width", "8", "--batch-size", "16", "--workers", "0", "--image-sizes", "32"]
    options += ["--learning-rate", "0.0001"]  # too little to learn: the report needs errors
    assert run.main(["--recipe", "fast", "--data", str(data), "--out", str(root / "run"), *options]) == 0
    return root / "run", data
