from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.factories import TINY, data_set, image_folder
from training import augment, checkpoint, loop, outputs, run, train
from training.dataset import channel_statistics
from training.errors import TrainingError
from training.recipe import Recipe
from training.session import Session

OPTIONS = ["--recipe", "fast", "--epochs", "3", "--batch-size", "8", "--width", "8", "--workers", "0"]
OPTIONS += ["--image-sizes", "16", "32", "--precision", "float32", "--layout", "channels_last"]
OPTIONS += ["--validation-fraction", "0.2"]


def session(recipe: Recipe = TINY) -> Session:
    return Session(recipe, data_set(60, "train"), data_set(24, "test", seed=1))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read_weights(folder / checkpoint.WEIGHTS)


class Stopped(Exception):
    pass


ADAM = dataclasses.replace(TINY, optimizer="adam", learning_rate=0.001, schedule="plateau", plateau_patience=0)
MEAN = dataclasses.replace(TINY, average=0.9)


@pytest.mark.parametrize("recipe", [TINY, ADAM, MEAN], ids=["muon", "adam", "mean"])
@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_resume_gives_the_very_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, stop_at: int
) -> None:
    train.train(session(recipe), tmp_path / "whole", quiet=True)
    monkeypatch.setattr(train, "SAVE_EVERY_S", 0.0)
    stopped, count = session(recipe), 0

    def progress(*_: object) -> None:
        nonlocal count
        count += 1
        if count > stop_at:
            raise Stopped

    with pytest.raises(Stopped):
        while True:
            train.run_epoch(stopped, tmp_path / "parts", progress)
    resumed = session(recipe)
    resumed.restore(tmp_path / "parts")
    train.train(resumed, tmp_path / "parts", quiet=True)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    without_time = [
        pl.read_csv(tmp_path / n / "history.csv").drop("seconds", "images_per_s") for n in ("whole", "parts")
    ]
    assert without_time[0].equals(without_time[1])
    assert pl.read_parquet(tmp_path / "whole" / "dynamics.parquet").equals(
        pl.read_parquet(tmp_path / "parts" / "dynamics.parquet")
    )


def test_killed_process_resumes(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "data")
    command = [sys.executable, "-m", "training.run", "--data", str(root), *OPTIONS]
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, timeout=240)
    process = subprocess.Popen([*command, "--out", str(tmp_path / "killed")])
    end = time.monotonic() + 120
    while not (tmp_path / "killed" / "history.csv").exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*command, "--out", str(tmp_path / "killed"), "--resume"], check=True, timeout=240)
    whole, killed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert not list((tmp_path / "killed").glob("*.tmp"))


def _stop(*_: object) -> None:
    raise Stopped


def test_a_kill_between_the_last_state_and_its_records_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_dynamics", _stop)
        with pytest.raises(Stopped):
            train.train(session(dataclasses.replace(TINY, epochs=1)), tmp_path / "parts", quiet=True)
    assert not (tmp_path / "parts" / "dynamics.parquet").exists()
    resumed = session(dataclasses.replace(TINY, epochs=1))
    resumed.restore(tmp_path / "parts")
    train.train(resumed, tmp_path / "parts", quiet=True)
    train.train(session(dataclasses.replace(TINY, epochs=1)), tmp_path / "whole", quiet=True)
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert names <= {path.name for path in (tmp_path / "parts").iterdir()}
    assert {"history.csv", "dynamics.parquet", "curves.png"} <= names


def test_records_are_complete(tmp_path: Path) -> None:
    finished = session()
    train.train(finished, tmp_path, quiet=True)
    with (tmp_path / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert not {"test_loss", "test_accuracy"} & rows[0].keys()
    dynamics = pl.read_parquet(tmp_path / "dynamics.parquet")
    assert dynamics["split"].unique().to_list() == ["train"]
    assert dynamics["index"].to_list() == list(range(60))
    trained = dynamics.filter(pl.col("loss").is_not_null())
    assert trained["index"].to_list() == finished.train_rows.tolist()
    assert set(trained["loss"].list.len()) == {3}
    last = np.array([losses[-1] for losses in trained["loss"]])
    assert last.mean() == pytest.approx(float(rows[-1]["train_loss"]), rel=1 / 4096)
    measured = finished.measured["row_loss"][-1].numpy()[: len(last)]
    np.testing.assert_allclose(last, measured, rtol=1 / 4096)
    assert not (last.astype(np.float32).view(np.uint32) % 4096).any()
    validated = dynamics.filter(pl.col("predicted").is_not_null())
    assert validated["index"].to_list() == finished.validation_rows.tolist()
    labels = finished.train.labels[finished.validation_rows]
    correct = [p[-1] == label for p, label in zip(validated["predicted"], labels, strict=True)]
    assert np.mean(correct) == pytest.approx(float(rows[-1]["validation_accuracy"]))
    sidecar = json.loads((tmp_path / "model.json").read_text())
    assert sidecar["data"]["fingerprint_train"] == finished.train.fingerprint
    assert sidecar["watched_test"] is False
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_the_test_split_is_evaluated_once_unless_it_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    evaluate = loop.evaluate

    def watched(model: torch.nn.Module, rows: augment.AugmentedRows, **options: Any) -> loop.Evaluation:
        seen.append(rows.data.split)
        return evaluate(model, rows, **options)

    monkeypatch.setattr(loop, "evaluate", watched)
    train.train(session(), tmp_path / "once", quiet=True)
    assert seen.count("test") == 1
    assert seen[-1] == "test"
    seen.clear()
    watching = Session(TINY, data_set(60, "train"), data_set(24, "test", seed=1), watch_test=True)
    train.train(watching, tmp_path / "watched", quiet=True)
    assert seen.count("test") == TINY.epochs + 1
    sidecars = [json.loads((tmp_path / name / "model.json").read_text()) for name in ("once", "watched")]
    assert [card["watched_test"] for card in sidecars] == [False, True]
    assert sidecars[0]["measured"]["test_accuracy"] == sidecars[1]["measured"]["test_accuracy"]
    assert sidecars[0]["weights_sha256"] == sidecars[1]["weights_sha256"]
    dynamics = pl.read_parquet(tmp_path / "watched" / "dynamics.parquet").filter(pl.col("split") == "test")
    assert dynamics["predicted"].list.len().to_list() == [TINY.epochs] * 24
    assert "test_accuracy" in pl.read_csv(tmp_path / "watched" / "history.csv").columns


def test_without_a_test_split_nothing_is_claimed_about_new_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.train(Session(TINY, data_set(60, "train"), None), tmp_path)
    assert "there is no test split" in capsys.readouterr().out
    sidecar = json.loads((tmp_path / "model.json").read_text())
    assert "test_accuracy" not in sidecar["measured"]


def test_the_kept_weights_are_those_that_validation_prefers(tmp_path: Path) -> None:
    recipe = dataclasses.replace(TINY, average=0.5, epochs=1)
    finished = session(recipe)
    train.train(finished, tmp_path, quiet=True)
    final = finished.final
    losses = {name: final[f"validation_{name}"]["loss"] for name in ("last", "average")}
    assert final["weights"] == min(losses, key=losses.__getitem__)
    assert final["validation_loss"] == min(losses.values())
    assert final["validation_last"]["loss"] != final["validation_average"]["loss"]
    model, _ = checkpoint.load(tmp_path)
    assert finished.average is not None
    kept = weights(tmp_path)
    mean = all(torch.equal(kept[name], value) for name, value in finished.average.weights.items())
    assert mean == (final["weights"] == "average")
    assert not model.training


def test_noise_with_a_colour_is_learnt(tmp_path: Path) -> None:
    recipe = dataclasses.replace(TINY, epochs=8, width=8)
    learnt = session(recipe)
    train.train(learnt, tmp_path, quiet=True)
    assert learnt.final["test_accuracy"] > 0.9


def test_evaluation_equals_a_hand_computed_mean() -> None:
    own = session()
    transform = augment.pipeline(TINY, channel_statistics(own.train.images), 32, train=False)
    rows = augment.AugmentedRows(own.test, np.arange(24), transform, None)
    result = loop.evaluate(own.model, rows, execution=own.execution)
    images = torch.stack([rows[i][0] for i in range(24)])
    with torch.no_grad():
        probability = own.model(images).softmax(1).numpy()
    by_hand = -np.log(probability[np.arange(24), own.test.labels]).mean()
    assert result.loss == pytest.approx(by_hand, rel=1e-5)
    assert result.accuracy == (probability.argmax(1) == own.test.labels).mean()
    assert own.model.training


WORKER = """
import sys, torch
from tests.factories import TINY, data_set
from training import loop, run
from training.session import Session

with run.process_group() as rank:
    session = Session(TINY, data_set(60), data_set(24, "test", seed=1))
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(11, 3, 32, 32, generator=generator)
    labels = torch.arange(11) % 3
    losses, correct = loop.backward(session.model, images, labels, smoothing=0.1, execution=session.execution)
    gradient = torch.cat([p.grad.flatten() for p in session.model.parameters()])
    torch.save({"gradient": gradient, "losses": losses, "correct": correct}, f"{sys.argv[1]}.{rank}")
"""


def test_two_processes_give_the_gradient_of_one(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    environment = {k: v for k, v in environment.items() if k not in ("WORLD_SIZE", "RANK")}
    subprocess.run([sys.executable, script, tmp_path / "one"], check=True, env=environment, timeout=240)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launcher, script, tmp_path / "two"], check=True, env=environment, timeout=240)
    one = torch.load(tmp_path / "one.0", weights_only=True)
    for rank in (0, 1):
        two = torch.load(tmp_path / f"two.{rank}", weights_only=True)
        torch.testing.assert_close(two["gradient"], one["gradient"], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(two["losses"], one["losses"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(two["correct"], one["correct"])


def test_a_whole_run_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    data = image_folder(tmp_path / "data")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment = {k: v for k, v in environment.items() if k not in ("WORLD_SIZE", "RANK")}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, start in (("one", [sys.executable]), ("two", launcher)):
        command = [*start, "-m", "training.run", "--data", str(data), "--out", str(tmp_path / name), *OPTIONS]
        subprocess.run(
            [*command, "--optimizer", "adam", "--learning-rate", "0.001"], check=True, env=environment, timeout=240
        )
    one, two = (pl.read_csv(tmp_path / name / "history.csv") for name in ("one", "two"))
    np.testing.assert_allclose(one["train_loss"], two["train_loss"], rtol=1e-3)
    assert one["validation_accuracy"].to_list() == two["validation_accuracy"].to_list()
    for name, value in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], value, rtol=0.01, atol=5e-3)


def test_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_state(tmp_path: Path) -> None:
    broken = session()
    train.run_epoch(broken, tmp_path, lambda *_: None)
    state = (tmp_path / "state.safetensors").read_bytes()
    with torch.no_grad():
        broken.model.head.bias.fill_(torch.nan)
    with pytest.raises(TrainingError, match="not finite at batch 1 of epoch 2: lower --learning-rate"):
        train.run_epoch(broken, tmp_path, lambda *_: None)
    assert (tmp_path / "state.safetensors").read_bytes() == state


def error_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    assert run.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_output_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.json").write_text("precious")
    message = error_of(capsys, ["--data", "digits", "--out", str(tmp_path)])
    assert "already holds model.json" in message
    assert "--force" in message
    assert (tmp_path / "model.json").read_text() == "precious"


def test_nothing_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing to resume" in error_of(capsys, ["--data", "digits", "--out", str(tmp_path), "--resume"])


def test_state_of_another_recipe_or_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = image_folder(tmp_path / "data")
    arguments = ["--data", str(root), "--out", str(tmp_path / "out"), *OPTIONS]
    assert run.main(arguments) == 0
    capsys.readouterr()
    assert "another recipe" in error_of(capsys, [*arguments, "--resume", "--seed", "5"])
    state = tmp_path / "out" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    assert "is damaged" in error_of(capsys, [*arguments, "--resume"])


def test_missing_data_and_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is missing" in error_of(capsys, ["--data", str(tmp_path / "no"), "--out", str(tmp_path / "out")])
    assert "--out is missing" in error_of(capsys, ["--data", "digits"])
    assert not (tmp_path / "out").exists()


def test_summary_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--summary"]) == 0
    assert "11,173,962" in capsys.readouterr().out


def test_a_second_run_into_one_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training import files

    image_folder(tmp_path / "data")
    out = tmp_path / "out"
    command = ["--data", str(tmp_path / "data"), "--out", str(out), *OPTIONS]
    with files.lock(out):
        (out / "begun").write_text("by the first run")
        for more in ([], ["--resume"], ["--force"]):
            assert run.main([*command, *more]) == 2
            assert "another run is at work in" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == [".lock", "begun"]


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    from training import files

    (tmp_path / ".state.safetensors.123.tmp").write_bytes(b"half")
    (tmp_path / "state.safetensors").write_bytes(b"whole")
    with files.lock(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "state.safetensors"}


def test_a_run_that_writes_nothing_leaves_no_folder(tmp_path: Path) -> None:
    assert run.main(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "out"), *OPTIONS]) == 2
    assert not (tmp_path / "out").exists()
