from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.factories import image_folder, predictions
from workbench import store
from workbench.core.predictions import Predictions
from workbench.errors import CheckpointError, DataError
from workbench.runs.opening import open_run
from workbench.runs.run import Run


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


def test_run_without_images_shows_shipped_numbers(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="has no predictions"):
        open_run(folder)
    with_images = open_run(folder, str(trained[1]))
    store.write(with_images.predictions, folder / "predictions")
    run = open_run(folder)
    assert run.images is None
    assert run.predictions.error_count == with_images.predictions.error_count
    assert "--download" in run.notes[0]


def test_predictions_of_other_weights_are_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run = open_run(trained[0], str(trained[1]))
    other = dataclasses.replace(run.predictions.provenance, checkpoint="0" * 64)
    store.write(Predictions(run.predictions.table, run.predictions.classes, other), tmp_path / "p")
    from workbench.runs.opening import open_predictions

    with pytest.raises(CheckpointError, match="other weights"):
        open_predictions(tmp_path / "p", trained[0], str(trained[1]))


def test_run_is_a_plain_record() -> None:
    assert Run("x", predictions()).notes == ()
