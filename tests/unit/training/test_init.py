"""Runs that start from a checkpoint, other architectures, and data of other sizes, through the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.factories import CLASSES, image_folder
from training import checkpoint
from training.run import main

QUICK = ["--recipe", "fast", "--epochs", "2", "--batch-size", "8", "--width", "8", "--workers", "0"]
QUICK += ["--image-sizes", "16", "32", "--precision", "float32", "--layout", "channels_last"]
QUICK += ["--validation-fraction", "0.2"]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder and a checkpoint trained on it."""
    place = tmp_path_factory.mktemp("first")
    data = image_folder(place / "data")
    assert main(["--data", str(data), "--out", str(place / "out"), *QUICK]) == 0
    return data, place / "out"


def test_a_start_from_a_checkpoint_takes_its_weights_and_a_short_recipe(
    first: tuple[Path, Path], tmp_path: Path
) -> None:
    data, start = first
    assert main(["--data", str(data), "--init", str(start), "--out", str(tmp_path), "--learning-rate", "0"]) == 0
    before, after = (json.loads((folder / "model.json").read_text()) for folder in (start, tmp_path))
    assert after["init"] == {"weights_sha256": before["weights_sha256"]}
    assert after["recipe"]["epochs"] == 1
    assert after["recipe"]["image_sizes"] == [32]
    assert (after["recipe"]["width"], after["recipe"]["seed"]) == (8, before["recipe"]["seed"])
    assert (after["mean"], after["std"]) == (before["mean"], before["std"])
    old, new = (checkpoint.read_weights(folder / checkpoint.WEIGHTS) for folder in (start, tmp_path))
    kernels = [name for name, value in old.items() if value.ndim == 4]
    assert kernels
    assert all(torch.equal(old[name], new[name]) for name in kernels)  # Muon at rate 0
    assert not torch.equal(old["head.weight"], new["head.weight"])


def test_a_resumed_start_from_a_checkpoint_gives_the_very_weights(first: tuple[Path, Path], tmp_path: Path) -> None:
    from training import train
    from training.run import open_session, parser

    data, start = first
    common = ["--data", str(data), "--init", str(start), "--epochs", "2", "--average", "0.9"]
    assert main([*common, "--out", str(tmp_path / "whole")]) == 0
    out = tmp_path / "parts"
    train.run_epoch(open_session(parser().parse_args([*common, "--out", str(out)])), out, lambda *_: None)
    assert main([*common, "--out", str(out), "--resume"]) == 0
    whole, parts = (checkpoint.read_weights(tmp_path / name / checkpoint.WEIGHTS) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "fast", "--width", "16"], "--init .*: expected width 16, not 8: give --width 8, or omit "),
        (["--architecture", "convnet_ln"], "--init .*: expected architecture convnet_ln, not resnet18_ln"),
    ],
)
def test_what_does_not_fit_a_checkpoint_is_one_line(
    first: tuple[Path, Path], tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, start = first
    assert main(["--data", str(data), "--init", str(start), "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert not (tmp_path / "out").exists()


def test_other_classes_and_missing_checkpoints_are_one_line(
    first: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, start = first
    assert main(["--data", "digits", "--init", str(start), "--out", str(tmp_path / "out")]) == 2
    assert "expected the data's 10 classes (0, 1, 2, 3, …), not the checkpoint's 3" in capsys.readouterr().err
    assert main(["--data", "digits", "--init", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no checkpoint in" in capsys.readouterr().err


def test_fixes_that_leave_no_validation_row_are_one_line(
    first: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.data import load
    from training.dataset import split_validation

    data, _ = first
    train = load(str(data), "train")
    _, validation = split_validation(train.labels, 0.2, 0)
    rows = [{"index": int(row), "action": "drop"} for row in validation]
    fixes = {"format": 1, "data": train.fingerprint, "split": "train", "rows": rows}
    (tmp_path / "fixes.json").write_text(json.dumps(fixes))
    arguments = ["--data", str(data), "--out", str(tmp_path / "out"), "--fixes", str(tmp_path / "fixes.json"), *QUICK]
    assert main(arguments) == 2
    assert "no row is left to validate on" in capsys.readouterr().err


def test_another_architecture_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    from workbench.runs.training import load_classifier

    data = image_folder(tmp_path / "data")
    out = tmp_path / "out"
    assert main(["--data", str(data), "--out", str(out), *QUICK, "--architecture", "convnet_ln"]) == 0
    card = json.loads((out / "model.json").read_text())
    assert card["architecture"] == "convnet_ln"
    assert [entry["grid"] for entry in card["cam_layers"]] == [[32, 32], [16, 16], [8, 8], [4, 4]]
    classifier = load_classifier(out)
    assert type(classifier.module).__name__ == "ConvNetLN"
    assert list(classifier.cam_layers) == ["stage1", "stage2", "stage3", "stage4"]


def test_photos_of_any_size_are_trained_on_and_predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import workbench

    generator = np.random.default_rng(0)
    for split, count in (("train", 14), ("val", 6)):
        for k, name in enumerate((*CLASSES, "dodo")):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for row in range(count):
                height, width = generator.integers(40, 90, 2)
                pixels = generator.integers(0, 90, (height, width, 3))
                pixels[..., k % 3] += 60 + 60 * (k // 3)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{row}.png")
    data, out = tmp_path / "photos", tmp_path / "out"
    assert main(["--data", str(data), "--out", str(out), *QUICK, "--image-sizes", "48"]) == 0
    said = capsys.readouterr().out
    assert "56 images in 4 classes, resized to cover 48×48 pixels" in said
    assert "44 rows to train on, 12 for validation" in said
    card = json.loads((out / "model.json").read_text())
    assert card["image_size"] == 48
    run = workbench.open_run(out, str(data))
    assert run.images is not None
    assert len(run.predictions) == 24
    assert run.images.fingerprint == card["data"]["fingerprint_test"]
    assert run.predictions.accuracy == pytest.approx(card["measured"]["test_accuracy"])


def test_a_recipe_without_validation_rows_is_one_line(
    first: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(first[0]), "--out", str(tmp_path), *QUICK, "--validation-fraction", "0.001"]) == 2
    assert re.search("cannot split off 0.001 of 30 rows .*larger --validation-fraction", capsys.readouterr().err)


def test_a_start_that_saw_the_validation_rows_is_refused(
    first: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, start = first
    assert main(["--data", str(data), "--init", str(start), "--seed", "5", "--out", str(tmp_path / "out")]) == 2
    assert "give --seed 0 --validation-fraction 0.2" in capsys.readouterr().err


def test_a_start_without_a_known_recipe_names_what_to_do(
    first: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, start = first
    for recipe in (None, {"name": "fast", "epochs": 33, "rates": []}):
        old = shutil.copytree(start, tmp_path / str(recipe is None))
        sidecar = json.loads((old / "model.json").read_text())
        (old / "model.json").write_text(json.dumps({**sidecar, "recipe": recipe or {}}))
        assert main(["--data", str(data), "--init", str(old), "--out", str(tmp_path / "out")]) == 2
        assert "name one with --recipe, few --epochs" in capsys.readouterr().err
