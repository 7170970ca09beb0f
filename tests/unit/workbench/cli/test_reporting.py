from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.factories import predictions
from workbench import store
from workbench.__main__ import main
from workbench.core.files import sha256

FIGURES = ("confusion_matrix", "confusion_matrix_by_true_class", "class_error_rates", "misclassified", "gradcam_stages")


def bad_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


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


def test_bad_input_is_one_line(trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    line = bad_command(capsys, "predict", "--checkpoint", str(tmp_path / "no"), "--data", "digits", "--out", out)
    assert "no checkpoint in" in line
    line = bad_command(capsys, "predict", "--checkpoint", str(trained[0]), "--data", str(tmp_path / "no"), "--out", out)
    assert "is missing" in line
    line = bad_command(capsys, "predict", "--checkpoint", str(trained[0]), "--data", "digits", "--out", out)
    assert "the model has 3 (ant, bee, cow)" in line
    assert "nothing to report on" in bad_command(capsys, "report", "--out", out)
    assert not Path(out).exists()


def test_costs_and_validation_rows_decide_threshold_and_temperature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("judged", 1), ("kept", 2)):
        store.write(predictions(400, classes=2, seed=seed), tmp_path / name)
    report = ["report", "--predictions", str(tmp_path / "judged")]
    written = {}
    for name, options in {"plain": [], "dear": ["--costs", "1,20", "--validation", str(tmp_path / "kept")]}.items():
        assert main([*report, *options, "--out", str(tmp_path / name)]) == 0
        written[name] = json.loads((tmp_path / name / "metrics.json").read_text())
    plain, dear = (written[name]["threshold"] for name in ("plain", "dear"))
    assert (plain["false_negative"], dear["false_negative"]) == (1, 20)
    assert dear["threshold"] < plain["threshold"]
    scaling = written["dear"]["temperature_scaling"]
    assert (scaling["fitted_rows"], scaling["judged_rows"]) == (400, 400)
    assert written["plain"]["temperature_scaling"]["judged_rows"] == 200
    capsys.readouterr()
    for costs in ("1", "0,1", "1,x", "1,inf", "1,2,3"):
        assert "expected two numbers above 0" in bad_command(capsys, *report, "--costs", costs, "--out", "none")
    store.write(predictions(400, classes=3), tmp_path / "others")
    told = bad_command(capsys, *report, "--validation", str(tmp_path / "others"), "--out", str(tmp_path / "none"))
    assert "validation: expected the classes of the predictions" in told
    assert not (tmp_path / "none").exists()


def test_new_images_are_scored(trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, data = map(str, trained)
    command = ["ood", "--checkpoint", checkpoint, "--data", data, "--images", data, "--out", str(tmp_path / "ood")]
    assert main(command) == 0
    said = json.loads((tmp_path / "ood" / "ood.json").read_text())
    assert set(said["shares"]) == {"distance", "energy"}
    assert set(said["judged"]["energy"]) == {"parts shuffled", "phases scrambled"}
    with (tmp_path / "ood" / "ood.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert all(0 < float(row["p_distance"]) <= 1 for row in rows)
    capsys.readouterr()
    assert "exists already" in bad_command(capsys, *command)
    command[command.index("--images") + 1] = str(tmp_path / "nowhere")
    assert "nowhere is missing" in bad_command(capsys, *command, "--force")
    assert len(rows) == len((tmp_path / "ood" / "ood.csv").read_text().splitlines()) - 1
