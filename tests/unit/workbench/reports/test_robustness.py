from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import workbench
from tests.factories import classifier, image_set
from workbench.__main__ import main
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.core.stamp import read_stamp
from workbench.errors import DataError, OutputError
from workbench.explorer.state import ExplorerState
from workbench.findings.find import find
from workbench.models.predict import predict
from workbench.reports.robustness import Asked, write_robustness
from workbench.runs.run import Run

ROOT = Path(__file__).resolve().parents[4]
FEW = {"rows": 25, "corruptions": ("fog", "jpeg"), "changes": ("flip", "brightness")}


@pytest.fixture(scope="module")
def run() -> Run:
    """A run with 270 rows, of which most are correct."""
    images, model = image_set(270), classifier()
    labels = predict(model, images).predicted.copy()
    labels[:20] = (labels[:20] + 1) % 3
    images = ImageSet(images.pixels, labels, images.classes, "test", "f" * 64)
    return Run("tiny", predict(model, images), images, model)


def test_a_bundle_has_its_tables_figures_and_words(run: Run, tmp_path: Path) -> None:
    told: list[str] = []
    asked = Asked(**FEW, groups={"the first": run.predictions.index[:260]})
    said = write_robustness(run, tmp_path, asked, progress=lambda part, *_: told.append(part))
    assert set(told) == {"corruptions", "fragility", "consistency"}
    values = json.loads((tmp_path / "robustness.json").read_text())
    assert len(values["corruptions"]["rows"]) == 25
    assert values["fragility"]["rows"] == run.predictions.error_count
    assert values["consistency"]["passes"] == 1 + values["fragility"]["tried"]
    assert all((tmp_path / name).is_file() for name in values["files"])
    curves = pl.read_csv(tmp_path / "corruptions.csv")
    assert {"all", "the first"} <= set(curves["group"])
    table = pl.read_parquet(tmp_path / "fragility.parquet")
    assert table["index"].to_list() == run.predictions.index[~run.predictions.correct].tolist()
    stamp = read_stamp(tmp_path / "fragility.parquet")
    assert stamp is not None
    assert stamp["made_by"] == "robustness"
    assert said[0].startswith("mean corruption error")
    assert any("harmless" in line for line in said)
    with pytest.raises(OutputError, match="exists already"):
        write_robustness(run, tmp_path, asked)
    write_robustness(run, tmp_path, asked, force=True)


def test_what_was_measured_is_read_back_for_the_same_model_and_images(run: Run, tmp_path: Path) -> None:
    write_robustness(run, tmp_path, Asked(**FEW))
    joined = workbench.with_robustness(run, tmp_path)
    assert joined.robustness is not None
    assert joined.robustness.curves is not None
    measured = joined.predictions.columns("correct", "harmless_flips")
    assert measured["harmless_flips"].is_not_null().to_list() == (~measured["correct"]).to_list()
    assert not any(line.startswith(("fragile", "corrupted")) for line in find(joined).missing)
    header = ExplorerState(joined).header()["robustness"]
    assert header["names"] == ["fog", "jpeg"]
    assert header["sentences"][0].startswith("mean corruption error")
    assert next(group["name"] for group in header["groups"]) == "all"
    assert len(header["curves"][0]["fog"]) == 5
    clean = joined.robustness.curves.filter(pl.col("corruption") == "none", pl.col("group") == "all")
    assert header["clean"][0] == clean.select("accuracy", "low", "high").row(0)
    assert "robustness" not in ExplorerState(run).header()
    origin = dataclasses.replace(run.predictions.provenance, checkpoint="a" * 64)
    other = Predictions(run.predictions.table, run.predictions.classes, origin)
    values = json.loads((tmp_path / "robustness.json").read_text())
    values["provenance"]["checkpoint"] = "b" * 64
    (tmp_path / "robustness.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match="measured with another model"):
        workbench.with_robustness(dataclasses.replace(run, predictions=other), tmp_path)
    (tmp_path / "fragility.parquet").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"is not the file that robustness\.json names"):
        workbench.with_robustness(run, tmp_path)
    with pytest.raises(DataError, match=r"has no robustness\.json"):
        workbench.with_robustness(run, tmp_path / "elsewhere")


def test_what_cannot_be_measured_is_omitted_and_the_rest_runs(run: Run, tmp_path: Path) -> None:
    few = Predictions(run.predictions.table.filter(pl.col("index") < 150), run.predictions.classes)
    said = write_robustness(dataclasses.replace(run, predictions=few), tmp_path, Asked(**FEW))
    assert any(line.startswith("omitted fragility: expected at least 200 correct rows") for line in said)
    values = json.loads((tmp_path / "robustness.json").read_text())
    assert not values["consistency"]["harmless"]
    assert "fragility" not in values


def test_parts_are_added_to_what_is_there(run: Run, tmp_path: Path) -> None:
    write_robustness(run, tmp_path, Asked(**FEW, parts=("fragility",)))
    write_robustness(run, tmp_path, Asked(**FEW, parts=("consistency",)))
    values = json.loads((tmp_path / "robustness.json").read_text())
    assert {"fragility", "consistency"} <= set(values)
    assert set(values["sentences"]) == {"fragility", "consistency"}
    assert "fragility.parquet" in values["files"]
    with pytest.raises(OutputError, match="exists already"):
        write_robustness(run, tmp_path, Asked(**FEW, parts=("fragility",)))
    other = dataclasses.replace(run.predictions.provenance, checkpoint="a" * 64)
    values["provenance"]["checkpoint"] = "b" * 64
    (tmp_path / "robustness.json").write_text(json.dumps(values))
    renamed = Predictions(run.predictions.table, run.predictions.classes, other)
    with pytest.raises(DataError, match="measured with another model"):
        write_robustness(dataclasses.replace(run, predictions=renamed), tmp_path, Asked(**FEW, parts=("corruptions",)))
    write_robustness(
        dataclasses.replace(run, predictions=renamed), tmp_path, Asked(**FEW, parts=("corruptions",)), force=True
    )
    assert not (tmp_path / "fragility.parquet").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parts": ("weather",)}, "not 'weather'"),
        ({"parts": ()}, "not none"),
        ({"rows": -1}, "rows: expected 0 or more"),
        ({"seed": -1}, "seed: expected 0 or more"),
        ({"changes": ("swirl",)}, "not 'swirl'"),
        ({"rows": 10}, "at least 20 rows"),
        ({"corruptions": ("rain",)}, "not 'rain'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(options, words: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        write_robustness(run, tmp_path, Asked(**options))
    assert list(tmp_path.iterdir()) == []


def test_predictions_alone_are_not_enough(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs the images and the model"):
        write_robustness(Run("bare", run.predictions), tmp_path, Asked())


def test_the_command_runs_alone_and_in_two_processes(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, data = trained
    place = ["--checkpoint", str(checkpoint), "--data", str(data)]
    predictions = tmp_path / "predictions"
    assert main(["predict", *place, "--out", str(predictions)]) == 0
    few = ["--rows", "0", "--corruptions", "fog,jpeg", "--parts", "corruptions,consistency", "--by-finding"]
    command = ["robustness", "--predictions", str(predictions), *place, *few]
    assert main([*command, "--out", str(tmp_path / "alone")]) == 0
    assert "mean corruption error" in capsys.readouterr().out
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "workbench"]
    subprocess.run([*launch, *command, "--out", str(tmp_path / "both")], cwd=ROOT, check=True, timeout=240)
    both, alone = (pl.read_csv(tmp_path / name / "corruptions.csv") for name in ("both", "alone"))
    assert both.equals(alone)
    report = ["report", *command[1:7], "--robustness", str(tmp_path / "alone"), "--out", str(tmp_path / "report")]
    assert main(report) == 0
    assert (tmp_path / "report" / "corruptions.png").is_file()
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["robustness"]["consistency"]["passes"] == 6  # no harmless changes are known
    assert main([*command, "--out", str(tmp_path / "other"), "--corruptions", "rain"]) == 2
    assert "not 'rain'" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
