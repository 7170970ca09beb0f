from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.factories import predictions
from workbench import store
from workbench.core.predictions import Predictions
from workbench.errors import CheckpointError, DataError
from workbench.runs.opening import open_predictions, open_run
from workbench.runs.run import Run


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
    assert "Name their folder with --data" in run.notes[0]  # these are no CIFAR-10 images
    assert "CIFAR" not in run.notes[0]


def test_only_whoever_lacks_cifar10_is_told_to_fetch_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path / "nowhere"))
    assert "--download" in open_run().notes[0]


def test_predictions_of_other_weights_are_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run = open_run(trained[0], str(trained[1]))
    other = dataclasses.replace(run.predictions.provenance, checkpoint="0" * 64)
    store.write(Predictions(run.predictions.table, run.predictions.classes, other), tmp_path / "p")
    from workbench.runs.opening import open_predictions

    with pytest.raises(CheckpointError, match="other weights"):
        open_predictions(tmp_path / "p", trained[0], str(trained[1]))


def test_run_is_a_plain_record() -> None:
    assert Run("x", predictions()).notes == ()


def test_the_code_opens_a_run_with_everything_that_was_joined(tmp_path: Path) -> None:
    """What the explorer offers as code is run, and gives the same rows and columns."""
    from workbench.explorer.state import ExplorerState
    from workbench.runs.opening import with_train
    from workbench.runs.run import with_votes

    p = predictions(60, embedding=True)
    store.write(p, tmp_path / "run")
    store.write(predictions(80, seed=1, embedding=True), tmp_path / "train")
    np.save(tmp_path / "votes.npy", np.eye(4, dtype=np.int64)[p.label] * 7 + 1)
    joined = with_train(with_votes(open_predictions(tmp_path / "run"), tmp_path / "votes.npy"), tmp_path / "train")
    code = ExplorerState(joined).code()
    assert code.count("workbench.with_") == 2
    names: dict[str, Run] = {}
    opening = next(line for line in code.splitlines() if line.startswith("run = "))
    exec(f"import workbench\n{opening}", names)
    again = names["run"].predictions
    assert again.table.collect_schema() == joined.predictions.table.collect_schema()
    assert again.digest == joined.predictions.digest
    in_memory = with_votes(open_predictions(tmp_path / "run"), np.load(tmp_path / "votes.npy"))
    assert "# run: the run 'run', as you made it" in ExplorerState(in_memory).code()  # an array can't be opened again
