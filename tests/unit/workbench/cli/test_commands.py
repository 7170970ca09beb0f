from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.factories import classifier, image_folder, image_set
from workbench.__main__ import main
from workbench.attribution.cache import MapCache
from workbench.core.predictions import Predictions
from workbench.errors import AttributionError, DataError
from workbench.runs.run import Run

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint that learnt nothing, with its predictions inside, and its images."""
    from training import run

    root = tmp_path_factory.mktemp("maps")
    data, checkpoint = image_folder(root / "data", rows=60), root / "run"
    options = ["--epochs", "1", "--width", "8", "--batch-size", "16", "--workers", "0", "--image-sizes", "32"]
    options += ["--learning-rate", "0.0001"]
    assert run.main(["--recipe", "fast", "--data", str(data), "--out", str(checkpoint), *options]) == 0
    place = ["--checkpoint", str(checkpoint), "--data", str(data), "--out", str(checkpoint / "predictions")]
    assert main(["predict", *place]) == 0
    return checkpoint / "predictions", data


def request(trained: tuple[Path, Path], command: str, *options: str) -> list[str]:
    return [command, "--predictions", str(trained[0]), "--data", str(trained[1]), *options]


def test_attribute_says_the_cost_and_keeps_the_maps(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "maps"
    command = request(trained, "attribute", "--methods", "grad-cam,saliency", "--cache", str(cache), "--rows", "all")
    assert main([*command, "--targets", "all"]) == 0
    said = capsys.readouterr().out
    assert "Grad-CAM: 1 forward and 0 backward passes an image" in said
    assert "180 maps of Grad-CAM" in said
    assert MapCache(cache).size() > 180 * 32 * 32 * 4
    entries = [json.loads(path.read_text()) for path in cache.glob("*/key.json")]
    assert sorted(entry["method"] for entry in entries) == ["Grad-CAM", "Saliency"]
    stamps = {path: path.read_bytes() for path in cache.glob("*/*.npz")}
    assert main([*command, "--targets", "all"]) == 0
    assert {path: path.read_bytes() for path in cache.glob("*/*.npz")} == stamps


def test_attribute_takes_settings_and_references(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "maps"
    methods = "integrated-gradients:steps=4:baseline=blurred,expected-gradients:samples=4"
    command = request(trained, "attribute", "--methods", methods, "--cache", str(cache))
    assert main(command) == 2
    assert "start from reference images" in capsys.readouterr().err
    assert main([*command, "--references", str(trained[1])]) == 0
    keys = {key["method"]: key for key in (json.loads(path.read_text()) for path in cache.glob("*/key.json"))}
    assert keys["Integrated gradients"]["settings"] == {"baseline": "blurred", "steps": 4}
    assert len(keys["Expected gradients"]["settings"]["references"]) == 64
    assert main([*command, "--references", str(tmp_path / "nowhere")]) == 2


def test_evidence_writes_tables_and_figures(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "evidence"
    command = request(
        trained, "evidence", "--methods", "Grad-CAM,Input x gradient,LRP", "--rows", "3", "--out", str(out)
    )
    assert main(command) == 0
    assert "omitted LRP: relevance propagation has no rule for GroupNorm" in capsys.readouterr().out
    table = pl.read_csv(out / "methods.csv")
    assert table["method"][-1] == "LRP"
    assert len(pl.read_parquet(out / "maps.parquet")) == 6
    manifest = json.loads((out / "evidence.json").read_text())
    assert len(manifest["rows"]) == 3
    assert set(manifest["files"]) == {
        "methods.csv", "maps.parquet", "methods.png", "methods.svg", "method_maps.png", "method_maps.svg"
    }  # fmt: skip
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["attribute", "--methods", "heatmap", "--cache", "C"], "method: expected one of Grad-CAM"),
        (["attribute", "--methods", "saliency:steps=4", "--cache", "C"], "Saliency: no setting 'steps'; it has none"),
        (["attribute", "--layer", "stage9", "--cache", "C"], "expected a layer of stage1"),
        (["attribute", "--targets", "dragon", "--cache", "C"], "target: expected one of predicted, true"),
        (["attribute", "--limit-gb", "0", "--cache", "C"], "--limit-gb: expected a size above 0"),
        (["evidence", "--rows", "-1", "--out", "C"], "--rows: expected 0 for all"),
        (["evidence", "--device", "tpu", "--out", "C"], "device: expected auto, cpu, cuda or cuda:N, not 'tpu'"),
    ],
)
def test_bad_options(
    options: list[str],
    words: str,
    trained: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(request(trained, *options)) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_torchrun_shares_the_rows(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """The real command in two processes of its own; 60 rows are one part, so that one of them finds nothing to do."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "workbench"]
    options = ["--rows", "all", "--methods", "grad-cam,layercam", "--cache", str(tmp_path / "both")]
    subprocess.run([*launch, *request(trained, "attribute", *options)], cwd=ROOT, check=True, timeout=240)
    options[-1] = str(tmp_path / "alone")
    assert main(request(trained, "attribute", *options)) == 0
    both, alone = (
        {path.name: np.load(path)["values"] for path in folder.glob("*/*.npz")}
        for folder in (tmp_path / "both", tmp_path / "alone")
    )
    assert both.keys() == alone.keys()
    for name, values in both.items():
        np.testing.assert_allclose(values, alone[name], rtol=1e-3, atol=1e-5)


def test_the_precision_is_measured_and_recorded(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["predict", "--checkpoint", str(trained[0].parent), "--data", str(trained[1]), "--precision", "auto"]
    assert main([*command, "--device", "cpu", "--out", str(tmp_path / "p")]) == 0
    said = capsys.readouterr().out
    recorded = json.loads((tmp_path / "p" / "provenance.json").read_text())
    assert f"{recorded['precision']} products and " in said
    assert recorded["device"] == "cpu"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*command, "--out", str(tmp_path / "q")]) == 2
    assert "--precision: expected float32 or bfloat16 for all 2 processes" in capsys.readouterr().err


def test_two_processes_fill_one_cache(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.attribution import precompute

    monkeypatch.setattr(precompute, "PART", 20)
    cache, alone = tmp_path / "both", tmp_path / "alone"
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert main(request(trained, "attribute", "--rows", "all", "--cache", str(cache))) == 0
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    assert main(request(trained, "attribute", "--rows", "all", "--cache", str(alone))) == 0

    def maps(folder: Path) -> dict[str, np.ndarray]:
        return {path.name: np.load(path)["values"] for path in folder.glob("*/*.npz")}

    first, second = maps(cache), maps(alone)
    assert first.keys() == second.keys()
    assert len(first) == 3
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_evidence_says_that_no_method_applies(tmp_path: Path) -> None:
    from workbench.analysis.index import sample_errors
    from workbench.reports.trials import write_evidence

    c = classifier()
    run = Run("r", Predictions.from_arrays([1, 0, 2], np.eye(3)[[0, 1, 2]], c.classes), image_set(3), c)
    with pytest.raises(DataError, match="no method applies to this model: LRP: relevance propagation has no rule"):
        write_evidence(run, tmp_path / "out", sample_errors(run.predictions), ["LRP"])
    with pytest.raises(AttributionError, match="expected one of predicted, true, contrast"):
        write_evidence(run, tmp_path / "out", sample_errors(run.predictions), ["Saliency"], targets="unicorn")
    assert not (tmp_path / "out").exists()
