from __future__ import annotations

import csv
import dataclasses
import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories import classifier, image_folder, image_set, predictions
from workbench import store
from workbench.__main__ import main
from workbench.core import files
from workbench.core.files import sha256
from workbench.core.predictions import Predictions
from workbench.errors import CheckpointError, DataError, OutputError
from workbench.models import predict, sharding
from workbench.runs.opening import open_run
from workbench.runs.run import Run

FIGURES = ("confusion_matrix", "confusion_matrix_by_true_class", "class_error_rates", "misclassified", "gradcam_stages")


def test_probabilities_equal_a_plain_forward_pass() -> None:
    c, images = classifier(), image_set()
    p = predict.predict(c, images, batch=5)
    x = torch.from_numpy(images.pixels / 255.0).permute(0, 3, 1, 2)
    x = (x - torch.tensor(c.mean)[:, None, None]) / torch.tensor(c.std)[:, None, None]
    with torch.no_grad():
        expected = c.module(x.float()).softmax(1).numpy()
        embedding = c.module.embed(x.float()).numpy()
    np.testing.assert_allclose(p.probability, expected, atol=1e-5)
    np.testing.assert_allclose(p.embedding, embedding, atol=1e-4)
    np.testing.assert_array_equal(p.predicted, expected.argmax(1))
    assert p.provenance.data == images.fingerprint


def test_bfloat16_is_near_and_says_so(tmp_path: Path) -> None:
    c, images = classifier(), image_set()
    exact, near = predict.predict(c, images), predict.predict(c, images, precision="bfloat16")
    assert (exact.provenance.precision, near.provenance.precision) == ("float32", "bfloat16")
    assert 0 < np.abs(exact.probability - near.probability).max() < 0.02
    sharding.predict_into(c, images, tmp_path, precision="bfloat16")
    np.testing.assert_array_equal(store.read(tmp_path).probability, near.probability)
    with pytest.raises(OutputError, match="--force"):
        sharding.predict_into(c, images, tmp_path)


def test_round_trip_and_columns(tmp_path: Path) -> None:
    import polars as pl

    p = predict.predict(classifier(), image_set())
    store.write(p, tmp_path)
    again = store.read(tmp_path)
    for name in ("index", "label", "predicted", "probability", "embedding"):
        np.testing.assert_array_equal(getattr(again, name), getattr(p, name))
    assert (again.classes, again.provenance) == (p.classes, p.provenance)
    schema = pl.read_parquet_schema(tmp_path / store.TABLE)
    assert list(schema) == ["index", "label", "predicted", "probability", "embedding"]
    assert schema["probability"] == pl.List(pl.Float32)


def test_other_classes_are_refused() -> None:
    images = dataclasses.replace(image_set(), classes=("ant", "bee", "cow", "dodo"))
    with pytest.raises(DataError, match="model has 3 classes .* 4"):
        predict.predict(classifier(), images)


def test_damaged_weights_are_noticed() -> None:
    c = classifier()
    with torch.no_grad():
        c.module.head.bias.fill_(torch.nan)
    with pytest.raises(DataError, match="not finite"):
        predict.predict(c, image_set())


def test_existing_predictions_are_kept(tmp_path: Path) -> None:
    store.write(predictions(), tmp_path)
    before = sha256(tmp_path / store.TABLE)
    with pytest.raises(OutputError, match="exists already.*--force"):
        store.write(predictions(seed=1), tmp_path)
    assert sha256(tmp_path / store.TABLE) == before


@pytest.mark.parametrize("damage", ["missing", "truncated", "column"])
def test_damaged_predictions(tmp_path: Path, damage: str) -> None:
    import polars as pl

    store.write(predictions(), tmp_path)
    table = tmp_path / store.TABLE
    if damage == "missing":
        table.unlink()
    elif damage == "truncated":
        table.write_bytes(table.read_bytes()[:200])
    else:
        pl.read_parquet(table).drop("label").write_parquet(table)
    with pytest.raises(DataError, match=r"is missing|is damaged|lacks the column 'label'"):
        store.read(tmp_path)


def test_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("whole")

    def full(target: Path) -> None:
        target.write_text("ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="disk full"):
        files.write_atomically(path, full)
    assert [p.name for p in tmp_path.iterdir()] == ["table"]
    assert path.read_text() == "whole"


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


def test_the_three_commands(trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, data = map(str, trained)
    assert main(["predict", "--checkpoint", checkpoint, "--data", data, "--out", str(tmp_path / "p")]) == 0
    p = store.read(tmp_path / "p")
    sidecar = json.loads((trained[0] / "model.json").read_text())
    assert p.accuracy == pytest.approx(sidecar["measured"]["test_accuracy"])
    arguments = ["report", "--predictions", str(tmp_path / "p"), "--checkpoint", checkpoint, "--data", data]
    assert main([*arguments, "--out", str(tmp_path / "r")]) == 0
    assert "left out" not in capsys.readouterr().out
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    for name in (*FIGURES, "curves"):
        for suffix in (".png", ".svg"):
            assert manifest["files"][name + suffix] == sha256(tmp_path / "r" / (name + suffix))
    assert manifest["provenance"]["checkpoint"] == sidecar["weights_sha256"]
    assert manifest["images"] == sidecar["data"]["fingerprint_test"]
    with (tmp_path / "r" / "errors.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == p.error_count
    assert main([*arguments, "--out", str(tmp_path / "r")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_report_needs_neither_model_nor_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path / "nowhere"))
    store.write(predictions(), tmp_path / "p")
    assert main(["report", "--predictions", str(tmp_path / "p"), "--out", str(tmp_path / "r")]) == 0
    said = capsys.readouterr().out
    assert "omitted gradcam_stages: there are no images" in said
    assert (tmp_path / "r" / "confusion_matrix.png").exists()


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


def bad_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_bad_input_is_one_line(trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    line = bad_command(capsys, "predict", "--checkpoint", str(tmp_path / "no"), "--data", "digits", "--out", out)
    assert "no checkpoint in" in line
    line = bad_command(capsys, "predict", "--checkpoint", str(trained[0]), "--data", str(tmp_path / "no"), "--out", out)
    assert "is missing" in line
    line = bad_command(capsys, "predict", "--checkpoint", str(trained[0]), "--data", "digits", "--out", out)
    assert "the model has 3 classes" in line
    assert "nothing to report on" in bad_command(capsys, "report", "--out", out)
    assert not Path(out).exists()


def test_run_is_a_plain_record() -> None:
    assert Run("x", predictions()).notes == ()
