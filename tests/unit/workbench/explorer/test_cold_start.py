"""What a first explorer does without: the model and the libraries that only maps and tests need."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.factories import TINY, data_set, image_folder
from training import checkpoint
from training.session import Session
from workbench import store
from workbench.explorer.widget import Explorer
from workbench.models.classifier import OnDemand
from workbench.models.predict import predict
from workbench.runs.opening import open_run
from workbench.runs.training import load_classifier, load_images

FRESH = """
import sys, workbench
run = workbench.open_run(sys.argv[1], sys.argv[2])
first = workbench.Explorer(run).first
assert first["thumbnails"]["data"] and first["columns"], first.keys()
assert run.classifier is not None and run.classifier.last_layer is not None
heavy = {"torch", "torchvision", "scipy.stats", "matplotlib", "captum", "pytorch_grad_cam", "sklearn"}
heavy &= sys.modules.keys()
assert not heavy, heavy
"""


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint with its predictions, and its images."""
    data, place = image_folder(tmp_path / "data"), tmp_path / "run"
    session = Session(TINY, data_set(60), None)
    place.mkdir()
    checkpoint.save(place, session.model.state_dict(), session.sidecar())
    store.write(predict(load_classifier(place), load_images(str(data), "test")), place / "predictions")
    return place, data


def test_columns_and_thumbnails_come_without_model_and_heavy_libraries(folder: tuple[Path, Path]) -> None:
    subprocess.run([sys.executable, "-c", FRESH, *map(str, folder)], check=True, timeout=120)


def test_the_model_is_loaded_once_the_views_are_drawn(folder: tuple[Path, Path]) -> None:
    run = open_run(folder[0], str(folder[1]))
    explorer = Explorer(run)
    assert run.classifier is not None
    held = vars(run.classifier)["_held"]
    assert isinstance(held, OnDemand)
    assert held._module is None
    explorer._received(None, {"id": "matrix:1", "ask": "warm_up"}, None)  # as the views do
    end = time.monotonic() + 60
    while held._module is None and time.monotonic() < end:
        time.sleep(0.01)
    assert held._module is run.classifier.module


def test_damaged_weights_are_told_when_the_run_is_opened(folder: tuple[Path, Path]) -> None:
    from workbench.errors import CheckpointError

    path = folder[0] / checkpoint.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="does not belong to"):
        open_run(folder[0], str(folder[1]))
