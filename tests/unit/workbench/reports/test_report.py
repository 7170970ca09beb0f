"""The report of bare predictions, alone and with a second model and people's answers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from tests.factories import classifier, predictions
from workbench import store
from workbench.__main__ import main
from workbench.core.predictions import Predictions
from workbench.core.records import Provenance
from workbench.reports.material import Material, join
from workbench.reports.report import write_report
from workbench.reports.sections import labels
from workbench.runs.run import Run


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions on test and train rows, a second model and votes; all with embeddings that tell the class."""
    folder, p = tmp_path_factory.mktemp("inputs"), predictions(600, 4)
    generator = np.random.default_rng(5)

    def embedded(label: np.ndarray) -> np.ndarray:
        return generator.normal(size=(len(label), 6)) + 2 * np.eye(4, 6)[label]

    first = Predictions.from_arrays(p.label, p.probability, p.classes, embedding=embedded(p.label))
    train = predictions(900, 4, seed=2)
    store.write(first, folder / "first")
    store.write(Predictions.from_arrays(p.label, np.roll(p.probability, 7, 0), p.classes), folder / "second")
    store.write(Predictions.from_arrays(p.label, np.roll(p.probability, 2, 1), p.classes), folder / "seed")
    store.write(
        Predictions.from_arrays(train.label, train.probability, p.classes, embedding=embedded(train.label)),
        folder / "train",
    )
    np.save(folder / "short.npy", np.zeros((10, 3)))
    np.save(folder / "votes.npy", generator.multinomial(50, 0.8 * np.eye(4)[p.label] + 0.05))
    return folder


@pytest.fixture(scope="module")
def bundle(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "report"
    files = (("compare", "second"), ("train", "train"), ("other-seed", "seed"))
    options = [f"--{name}={inputs / path}" for name, path in files]
    options += ["--group=low=class 0,class 1", "--group=high=class 2,class 3"]
    arguments = ["report", f"--predictions={inputs / 'first'}", f"--votes={inputs / 'votes.npy'}", *options]
    assert main([*arguments, f"--out={out}"]) == 0
    return out


def test_metrics_equal_scikit_learn(inputs: Path, bundle: Path) -> None:
    p, found = store.read(inputs / "first"), json.loads((bundle / "metrics.json").read_text())
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(p.label, p.predicted))
    assert found["error_count"] == sum(found["errors_per_class"].values()) == p.error_count
    assert found["nll"] == pytest.approx(metrics.log_loss(p.label, p.probability), rel=1e-5)
    for name in ("ece_15", "ece_10", "ece_equal_mass_15", "brier", "aurc", "temperature"):
        assert found[name] > 0
    for name, (low, high) in found["error_rate_intervals"].items():
        assert low <= found["error_rates"][name] <= high
    assert found["comparison"]["rows"] == 600
    second = store.read(inputs / "second")
    assert found["comparison"]["calibration"]["before"]["nll"] == pytest.approx(found["nll"])
    expected = metrics.log_loss(second.label, second.probability)
    assert found["comparison"]["calibration"]["after"]["nll"] == pytest.approx(expected, rel=1e-5)
    assert found["churn"]["change"] == pytest.approx(
        second.accuracy - (p.accuracy + store.read(inputs / "seed").accuracy) / 2
    )
    seed = store.read(inputs / "seed")
    fixed = (p.predicted != p.label) & (second.predicted == p.label)
    broken = (p.predicted == p.label) & (second.predicted != p.label)
    correct = seed.predicted == seed.label
    alike = {"fixed": int((fixed & correct).sum()), "broken": int((broken & ~correct).sum())}
    assert found["comparison"]["also_changed_by_other_seeds"] == alike
    assert sum(alike.values()) > 0
    right = (p.label // 2 == p.predicted // 2).mean()
    assert found["groups"]["accuracy"] == pytest.approx(right)
    assert found["top_k_accuracy"]["2"]["value"] == pytest.approx(
        metrics.top_k_accuracy_score(p.label, p.probability, k=2)
    )
    assert found["votes"]["people_accuracy"] > 0.95


def test_every_table_and_figure_is_there(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    drawn = {path.stem for path in bundle.glob("*.png")}
    wanted = {"confusion_matrix", "class_rates", "asymmetries", "reliability", "risk_coverage", "class_calibration"}
    wanted |= {"findings", "label_suspects", "causes", "comparison", "comparison_classes", "neighbours"}
    assert (bundle / "near_duplicates.csv").is_file()
    wanted |= {"people_against_model", "people_confusion_matrix", "group_confusion_matrix"}
    assert wanted <= drawn
    assert set(manifest["files"]) == {path.name for path in bundle.iterdir()} - {"manifest.json"}
    omitted = " ".join(manifest["left_out"])
    for words in ("misclassified: there are no images", "gradcam_stages", "curves", "training dynamics", "quality"):
        assert words in omitted
    assert "people" not in omitted  # human labels were given


def test_suspects_come_best_first_with_a_reason(bundle: Path) -> None:
    frame = pl.read_csv(bundle / "label_suspects.csv")
    assert {"index", "score", "reason"} <= set(frame.columns)
    assert frame["score"].is_sorted(descending=True)
    assert frame["reason"].str.contains("labelled class").all()


def test_causes_use_all_evidence(inputs: Path, bundle: Path) -> None:
    frame = pl.read_csv(bundle / "causes.csv")
    assert len(frame) == store.read(inputs / "first").error_count
    work = pl.read_csv(bundle / "where_to_work.csv")
    assert work["errors"].sum() == len(frame)


def test_a_foreign_file_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    p = predictions(300, 3)
    frame = pl.DataFrame({"y": p.label, **{f"p_{k}": p.probability[:, k] for k in range(3)}})
    frame.write_csv(tmp_path / "table.csv")
    images = tmp_path / "data"
    images.mkdir()
    monkeypatch.setenv("CIFAR10_ROOT", str(images))  # images of something else must not be drawn in
    arguments = ["report", f"--predictions={tmp_path / 'table.csv'}", "--column=label=y", "--column=probability=p"]
    assert main([*arguments, "--classes=ant,bee,cow", f"--out={tmp_path / 'r'}"]) == 0
    found = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert found["classes"] == ["ant", "bee", "cow"]
    assert found["accuracy"] == pytest.approx(p.accuracy)


def test_train_labels_are_judged_by_rows_out_of_sample(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    true = generator.integers(0, 3, 600)
    label = true.copy()
    label[:12] = (label[:12] + 1) % 3
    embedding = generator.normal(size=(600, 5)) + 6 * np.eye(3, 5)[true]
    memorised = 0.94 * np.eye(3)[label] + 0.02  # the model has learnt the wrong labels by heart
    origin = Provenance(split="train")
    p = Predictions.from_arrays(label, memorised, tuple("abc"), embedding=embedding, provenance=origin)
    store.write(p, tmp_path / "p")
    assert main(["report", f"--predictions={tmp_path / 'p'}", f"--out={tmp_path / 'r'}"]) == 0
    suspects = pl.read_csv(tmp_path / "r" / "label_suspects.csv")
    assert set(suspects["index"].head(12)) == set(range(12))
    found = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert found["confident_joint_off_diagonal"] == pytest.approx(0.02, abs=0.01)
    findings = json.loads((tmp_path / "r" / "findings.json").read_text())
    assert [one["kind"] for one in findings] == ["labels"]
    assert set(findings[0]["rows"]) <= set(range(12))
    scores = pl.read_csv(tmp_path / "r" / "label_scores.csv")
    assert len(scores) == 600
    assert set(scores["index"].head(12)) == set(range(12))


@pytest.mark.parametrize(("fingerprint", "words"), [("d", "as its record says"), ("other", "nothing records whether")])
def test_only_the_model_s_record_says_that_it_was_trained_on_rows(fingerprint: str, words: str) -> None:
    p = predictions(60)
    p = Predictions(p.table, p.classes, Provenance(data="d", split="train"))
    model = dataclasses.replace(classifier(), card={"data": {"fingerprint_train": fingerprint}})
    assert words in " ".join(labels.section(Material(Run("r", p, None, model))).omitted)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--compare=train"], "same rows of both models"),
        (["--votes=first"], "no NumPy matrix"),
        (["--train=second"], "with embeddings on both sides"),
        (["--column=label"], "NAME=VALUE"),
        (["--compare=absent"], "is missing"),
        (["--features=short.npy"], "a finite matrix of 600 rows"),
        (["--group=low=class 0"], "in exactly one group"),
        (["--classes=a,b,c,d"], "its own names"),
    ],
)
def test_bad_options_are_one_line(
    inputs: Path, tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = ("--column", "--group", "--classes")
    placed = [o if o.startswith(bare) else o.replace("=", f"={inputs}/", 1) for o in options]
    assert main(["report", f"--predictions={inputs / 'first'}", *placed, f"--out={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert words in said[0]
    assert not (tmp_path / "out").exists()


def test_columns_of_the_users_own_are_no_human_labels(tmp_path: Path) -> None:
    """A column that is called as one of ours is a column like any other."""
    p = predictions(80)
    own = pl.DataFrame({"index": p.index, "votes": p.index % 3, "nearest_similarity": p.index / 80})
    write_report(join(Run("r", p.join(own))), tmp_path / "report")
    assert not (tmp_path / "report" / "ambiguous.csv").exists()


def test_a_report_that_is_there_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "manifest.json").write_text("{}")
    assert main(["report", "--predictions", str(tmp_path / "gone"), "--out", str(tmp_path / "report")]) == 2
    assert "exists already" in capsys.readouterr().err
