from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import workbench
from tests.factories import classifier, data_set, image_folder, image_set, predictions
from workbench.__main__ import main
from workbench.analysis.fixes import labels_and_weights
from workbench.analysis.forecasts import MANIFEST, SLICE, RepairForecast, forecast_of_answers, training_noise
from workbench.analysis.retraining import Forecaster
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.errors import DataError, OutputError
from workbench.findings.find import find
from workbench.models.predict import predict
from workbench.reports.forecasts import write_forecasts
from workbench.reports.repairs import Repairs
from workbench.robustness.augmenting import augmented
from workbench.robustness.kinds import KINDS
from workbench.runs.run import Run


@pytest.fixture(scope="module")
def run() -> Run:
    """An untrained model with its judged and train rows."""
    model, images = classifier(), image_set(90)
    data = data_set(120, "train", seed=5)
    train = ImageSet(data.images, data.labels, data.classes, "train", data.fingerprint)
    return Run("tiny", predict(model, images), images, model, train=predict(model, train), train_images=train)


def another(run: Run) -> Predictions:
    """Another seed's predictions, in another order."""
    whole, order = predict(classifier(1), run.images), np.random.default_rng(0).permutation(90)  # type: ignore[arg-type]
    return Predictions(whole.take(order).lazy(), whole.classes, whole.provenance)


def test_a_bundle_has_a_table_a_figure_and_what_is_missing(run: Run, tmp_path: Path) -> None:
    told: list[str] = []
    asked = Repairs(augment=("flip", "brightness"), collect=("ant",), seeds=[another(run)], after=run.predictions)
    said = write_forecasts(run, tmp_path, asked, progress=told.append)
    assert {"last layer", "relabel", "collect ant", "augment flip", "augment brightness"} <= set(told)
    table = pl.read_csv(tmp_path / "forecasts.csv")
    assert {"average", "calibrate", "collect", "augment"} <= set(table["kind"])
    assert (table["low"] <= table["gain"]).all()
    assert (table["gain"] <= table["high"]).all()
    curves = pl.read_csv(tmp_path / "learning_curves.csv")
    assert curves["class"].to_list() == ["ant"]
    assert (tmp_path / "forecasts.png").is_file()
    values = json.loads((tmp_path / MANIFEST).read_text())
    assert values["outcome"]["difference"] == 0
    assert any(line.startswith("outcome: accuracy +0.00") for line in said)
    assert any(line.startswith("not forecast: test-time augmentation") for line in said)
    assert "not forecast: copies: no train row is a near-duplicate of a judged one" in said
    joined = workbench.with_forecasts(run, tmp_path)
    assert [one.kind for one in joined.forecasts] == table["kind"].to_list()
    assert not any(line.startswith("repairs") for line in find(joined).missing)
    assert any(line.startswith("repairs: what actions would bring") for line in find(run).missing)
    with pytest.raises(OutputError, match="exists already"):
        write_forecasts(run, tmp_path, asked)
    write_forecasts(run, tmp_path, asked, force=True)


def test_fixes_are_set_beside_what_came_of_them(run: Run, tmp_path: Path) -> None:
    fixes = tmp_path / "fixes.json"
    rows = [{"index": 0, "action": "drop"}, {"index": 1, "action": "relabel", "label": "cow"}]
    origin = run.train.provenance.data  # type: ignore[union-attr]
    fixes.write_text(json.dumps({"format": 1, "data": origin, "split": "train", "rows": rows}))
    said = write_forecasts(run, tmp_path / "out", Repairs(fixes=fixes, after=run.predictions))
    assert any("train with the fixes (1 relabelled, 1 dropped, 0 weighted)" in line for line in said)
    assert any("within the forecast of the fixes" in line for line in said)
    again = Repairs(fixes=tmp_path / "out" / "fixes_relabel.json")
    with pytest.raises(DataError, match="name another folder"):
        write_forecasts(run, tmp_path / "out", again, force=True)
    part = dataclasses.replace(run.train.provenance, reading="upright")  # type: ignore[union-attr]
    turned = Predictions(run.train.table, run.train.classes, part)  # type: ignore[union-attr]
    said = write_forecasts(dataclasses.replace(run, train=turned), tmp_path / "turned", Repairs(weight=["label = 0"]))
    assert any(line.startswith("no fixes to weight") and "these were read with upright" in line for line in said)
    assert not list((tmp_path / "turned").glob("fixes_*"))
    few = Predictions(run.train.take(np.arange(90)).lazy(), run.train.classes, run.train.provenance)  # type: ignore[union-attr]
    said = write_forecasts(dataclasses.replace(run, train=few), tmp_path / "few", Repairs(weight=["label = 0"]))
    assert any(line.endswith("these are 90 rows of a split of 120") for line in said)


def test_slices_of_the_train_rows_are_weighted(run: Run, tmp_path: Path) -> None:
    train = run.train
    assert train is not None
    camera = pl.DataFrame({"index": train.index, "camera": np.where(np.arange(len(train)) % 3, "new", "old")})
    images = [run.train_images.image(int(row)) for row in train.index]  # type: ignore[union-attr]
    light = np.array([np.asarray(Image.fromarray(image).convert("L")).mean() / 255 for image in images])
    middle = np.median(light[train.label == 1])
    dark = f"brightness < {middle:.6f} AND label = 1"
    slices = {"old": "camera = 'old'", "dark": dark, "none": "label = 99", "odd": "lens = 3"}
    asked = Repairs(slices=list(slices.items()), factor=5)
    said = write_forecasts(dataclasses.replace(run, train=train.join(camera)), tmp_path / "out", asked)
    values = json.loads((tmp_path / "out" / MANIFEST).read_text())
    found = {one["where"]: one for one in values["forecasts"] if one["kind"] == "slice"}
    assert list(found) == [slices["old"], dark]
    assert found["camera = 'old'"]["action"] == "weight 40 train rows 5-fold (old)"
    weight = np.where(np.arange(len(train)) % 3, 1.0, 5.0)
    plain = Forecaster(run.predictions, train, training_noise(run.predictions)).fixes("weight", "", weight=weight)
    assert found["camera = 'old'"]["gain"] == plain.gain
    rows = int(((light < middle) & (train.label == 1)).sum())
    assert 0 < rows < (train.label == 1).sum()
    assert abs(int(found[dark]["action"].split()[1]) - rows) <= 2  # luma is rounded in one of the two
    rows = pl.read_csv(tmp_path / "out" / "forecasts.csv").filter(kind="slice")
    fixes = json.loads((tmp_path / "out" / rows["fixes"][0]).read_text())
    label, again = labels_and_weights(fixes, train)
    assert again.tolist() == weight.tolist()
    assert label.tolist() == train.label.tolist()
    assert "not forecast: weight none: of no train row label = 99 holds" in said
    assert any("lens" in line and "not forecast" in line for line in said)
    without = dataclasses.replace(run, train_images=None)
    said = write_forecasts(without, tmp_path / "without", Repairs(weight=["brightness < 0.5"], slices=[]))
    assert any("brightness" in line and "images are needed (--data)" in line for line in said)
    assert "not forecast: weight slices: the findings name none by columns or looks" in said


def test_without_train_rows_or_model_the_rest_runs(run: Run, tmp_path: Path) -> None:
    bare = Run("bare", run.predictions, run.images)
    said = write_forecasts(bare, tmp_path / "bare", Repairs(augment=("flip",)))
    assert any(line.startswith("divide the logits") for line in said)
    assert any("train images: the run has no predictions on the train split" in s for s in said)
    without = dataclasses.replace(run, classifier=None)
    said = write_forecasts(without, tmp_path / "without", Repairs(augment=("flip",)))
    assert any("augment flip: the model and the train images are needed" in line for line in said)
    numbers = run.predictions.table.select("index", "label", "predicted")
    classes = Predictions(numbers, run.predictions.classes)
    with pytest.raises(DataError, match="nothing can be forecast"):
        write_forecasts(Run("classes", classes), tmp_path / "nothing", Repairs())


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"augment": ("swirl",)}, "not 'swirl'"),
        ({"collect": ("cat",)}, "not 'cat'"),
        ({"seeds": [predictions(90, 3)]}, "other classes"),
        ({"after": predictions(90, 3)}, "other classes"),
        ({"fixes": Path("absent.json")}, "absent.json"),
        ({"weight": ["label = 0"], "factor": 0}, "a factor above 0, at most 10, not 0"),
        ({"weight": ["lens = 3"]}, "lens"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(asked, words: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        write_forecasts(run, tmp_path, Repairs(**asked))
    assert list(tmp_path.iterdir()) == []


def test_changed_train_images_have_the_features_of_changed_pixels(run: Run) -> None:
    assert run.classifier is not None
    assert run.train_images is not None
    rows = np.array([7, 3, 50])
    found = augmented(run.classifier, run.train_images, rows, KINDS["flip"], 1)
    mirrored = ImageSet(
        np.stack([run.train_images.image(int(row))[:, ::-1] for row in rows]),
        run.train_images.labels[rows],
        run.train_images.classes,
        "train",
        "0" * 64,
    )
    np.testing.assert_allclose(found.embedding, predict(run.classifier, mirrored).embedding, atol=1e-5)
    assert found.label.tolist() == run.train_images.labels[rows].tolist()
    stronger = augmented(run.classifier, run.train_images, rows, KINDS["brightness"], 0.3)
    assert not np.allclose(stronger.embedding, found.embedding)


def planned(corrected: int, broken: int, noise: float = 0.0) -> tuple[Run, RepairForecast]:
    """A run of 1,000 rows with 100 errors, and a repair that corrects and breaks some."""
    label = np.arange(1000) % 3
    answers = np.where(np.arange(1000) < 100, (label + 1) % 3, label)
    probability = np.full((1000, 3), 0.15)
    probability[np.arange(1000), answers] = 0.7
    test = Predictions.from_arrays(label, probability, ("a", "b", "c"))
    after = answers.copy()
    after[:corrected] = label[:corrected]
    after[500 : 500 + broken] = (label[500 : 500 + broken] + 1) % 3
    one = forecast_of_answers("relabel", "relabel some", "a basis", test, answers, after, noise=noise, trains=True)
    return Run("planned", test, forecasts=(one,)), one


def test_a_repair_that_would_help_is_a_finding() -> None:
    run, one = planned(40, 5)
    (finding,) = find(run).of("repairs")
    assert finding.sentence.startswith(
        "Fitted again after this repair, the last layer corrects 40 rows and breaks 5: rel"
    )
    assert finding.rows.tolist() == list(range(40))
    assert finding.cost == pytest.approx(35)
    assert not finding.explains
    assert finding.forecast is not None
    assert (finding.forecast.gain, finding.forecast.low) == (one.gain, one.low)


def test_more_of_a_class_names_its_errors_and_no_row_as_corrected() -> None:
    run, one = planned(40, 5)
    nothing = np.zeros(0, np.int64)
    more = dataclasses.replace(one, kind="collect", fixed=nothing, broken=nothing, where='"label" = 1')
    (finding,) = find(dataclasses.replace(run, forecasts=(more,))).of("repairs")
    assert finding.sentence == "The learning curve of the last layer forecasts a gain: relabel some."
    assert finding.rows.tolist() == [row for row in range(100) if row % 3 == 1]
    assert not find(dataclasses.replace(run, forecasts=(dataclasses.replace(one, kind=SLICE),))).of("repairs")


@pytest.mark.parametrize(("corrected", "broken", "noise"), [(5, 4, 0.0), (5, 20, 0.0), (40, 5, 0.03)])
def test_a_repair_that_may_be_chance_is_none(corrected: int, broken: int, noise: float) -> None:
    assert not find(planned(corrected, broken, noise)[0]).of("repairs")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training import run as training

    data, model = image_folder(tmp_path / "data", rows=90), tmp_path / "model"
    options = ["--epochs", "1", "--width", "8", "--batch-size", "16", "--workers", "0", "--image-sizes", "32"]
    assert training.main(["--recipe", "fast", "--data", str(data), "--out", str(model), *options]) == 0
    for split in ("test", "train"):
        place = ["--checkpoint", str(model), "--data", str(data), "--out", str(tmp_path / split)]
        assert main(["predict", "--split", split, *place]) == 0
    given = ["--predictions", str(tmp_path / "test"), "--checkpoint", str(model), "--data", str(data)]
    asked = ["--augment", "flip", "--collect", "ant", "--weight", "label = 0", "--by-finding"]
    asked += ["--out", str(tmp_path / "f")]
    command = ["forecast", *given, "--train", str(tmp_path / "train"), *asked]
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "train with flip: accuracy" in said
    assert "collect twice as many of" in said
    assert "train rows 2-fold (label = 0)" in said
    assert main(command) == 2
    actions = pl.read_csv(tmp_path / "f" / "forecasts.csv")
    fixes = tmp_path / "f" / actions.filter(kind="weight")["fixes"][0]
    again = ["--data", str(data), "--init", str(model), "--fixes", str(fixes), "--out", str(tmp_path / "again")]
    assert training.main([*again, "--epochs", "1"]) == 0
    sidecar = json.loads((tmp_path / "again" / "model.json").read_text())
    assert sidecar["fixes"]["weighted"] == len(json.loads(fixes.read_text())["rows"]) > 0
    capsys.readouterr()
    report = ["findings", *given, "--forecasts", str(tmp_path / "f"), "--out", str(tmp_path / "findings")]
    assert main(report) == 0
    assert "repairs: what actions" not in capsys.readouterr().out
    assert main([*command, "--force", "--collect", "cat"]) == 2
    assert "not 'cat'" in capsys.readouterr().err
