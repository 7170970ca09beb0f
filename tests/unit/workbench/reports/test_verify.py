"""Files carry what they were made of, and verifying makes them again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, PngImagePlugin

from tests.factories import classifier, image_folder, image_set, predictions
from workbench import store
from workbench.__main__ import main
from workbench.core.stamp import NAME, read_stamp, stamp_of, text_of
from workbench.explorer import exports
from workbench.explorer.state import ExplorerState
from workbench.figures import base
from workbench.models.predict import predict
from workbench.runs.opening import open_predictions
from workbench.runs.run import Run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report by command on bare predictions, with a page, in a folder beside them."""
    root = tmp_path_factory.mktemp("verify")
    store.write(predictions(120), root / "predictions")
    options = ["--predictions", str(root / "predictions"), "--html", "--group", "all=class 0,class 1,class 2,class 3"]
    assert main(["report", *options, "--out", str(root / "report")]) == 0
    return root / "report"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["verify", *arguments])
    found = capsys.readouterr()
    return code, found.out + found.err


def test_every_file_says_what_it_was_made_of(bundle: Path) -> None:
    digest = open_predictions(bundle.parent / "predictions").predictions.digest
    files = [p for p in bundle.iterdir() if p.name != "manifest.json"]
    assert {p.suffix for p in files} == {".png", ".svg", ".csv", ".json", ".parquet", ".html"}
    for path in files:
        stamp = read_stamp(path)
        assert stamp is not None, path
        assert stamp["predictions"] == digest
        assert stamp["code"].startswith("0.")
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["command"][:3] == ["report", "--predictions", "../predictions"]
    assert str(bundle.parent) not in json.dumps(manifest)  # no machine's folders


def test_all_files_of_a_report_are_the_same_made_again(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["confusion_matrix.png", "class_error_rates.svg", "class_report.csv", "errors.parquet", "metrics.json"]
    for name in (*names, "explorer.html"):
        code, words = said(capsys, str(bundle / name))
        assert (code, words.strip()) == (0, f"same: {bundle / name}")


@pytest.mark.parametrize("name", ["confusion_matrix.png", "class_report.csv", "metrics.json", "class_error_rates.svg"])
def test_a_changed_file_is_different(
    name: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bundle.parent, tmp_path / "copy")
    path = tmp_path / "copy" / "report" / name
    if path.suffix == ".png":
        with Image.open(path) as image:
            changed, text = image.convert("RGBA"), image.info[NAME]
        changed.putpixel((5, 5), (255, 0, 0, 255))
        info = PngImagePlugin.PngInfo()
        info.add_text(NAME, text)
        changed.save(path, pnginfo=info)
        expected = "1 of"
    elif path.suffix == ".csv":
        frame = pl.read_csv(path).with_columns(errors=pl.col("errors") + 1)
        frame.write_csv(path)
        expected = "errors differs in 4 of 4"
    elif path.suffix == ".json":
        values = json.loads(path.read_text())
        values["accuracy"] += 1e-3
        path.write_text(json.dumps(values))
        expected = "accuracy is"
    else:
        path.write_text(path.read_text().replace("class 1", "class 7"))
        expected = "the text differs from byte"
    code, words = said(capsys, str(path))
    assert code == 1
    assert expected in words
    assert f"different: {path}" in words


def test_other_predictions_are_named(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.write(predictions(120, seed=1), tmp_path / "other")
    code, words = said(capsys, str(bundle / "confusion_matrix.png"), "--predictions", str(tmp_path / "other"))
    assert code == 1
    assert "made from other predictions" in words


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_view_of_the_explorer_is_made_again(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.write(predictions(120), tmp_path / "predictions")
    state = ExplorerState(open_predictions(tmp_path / "predictions"))
    state.select_cell(1, 2)
    path = tmp_path / f"shared.{kind}"
    path.write_bytes(exports.figure_bytes(state, "matrix", kind))
    stamp = read_stamp(path)
    assert stamp is not None
    assert stamp["parameters"]["selection"]["steps"] == [{"kind": "cells", "cells": [[1, 2]]}]
    code, words = said(capsys, str(path), "--predictions", str(tmp_path / "predictions"))
    assert (code, words.strip()) == (0, f"same: {path}")


def test_predictions_are_predicted_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training import run as training

    data, checkpoint = image_folder(tmp_path / "data", rows=60), tmp_path / "run"
    options = ["--epochs", "1", "--width", "8", "--batch-size", "16", "--workers", "0", "--image-sizes", "32"]
    assert training.main(["--recipe", "fast", "--data", str(data), "--out", str(checkpoint), *options]) == 0
    out = checkpoint / "predictions"
    assert main(["predict", "--checkpoint", str(checkpoint), "--data", str(data), "--out", str(out)]) == 0
    capsys.readouterr()
    shard = out / "predictions.parquet"
    assert said(capsys, str(shard), "--data", str(data)) == (0, f"same: {shard}\n")
    held, text = pl.read_parquet(shard), store.origin_of(shard)
    first = np.stack(held["probability"].to_list())
    first[0] = first[0][[1, 0, 2]] * 0.9 + 0.1 / 3
    predicted = first.argmax(1)
    changed = held.with_columns(probability=pl.Series(first.tolist(), dtype=pl.List(pl.Float32)), predicted=predicted)
    store.write_table(shard, changed.lazy(), 3, text or "")
    code, words = said(capsys, str(shard), "--data", str(data))
    assert code == 1
    assert "a probability differs by" in words
    store.write_table(shard, held.head(5).lazy(), 3, text or "")
    code, words = said(capsys, str(shard), "--data", str(data))
    assert code == 1
    assert "its 5 rows are not the 60 expected" in words


def test_what_is_added_is_seen(tmp_path: Path) -> None:
    from workbench.reports.verify import compare

    state = ExplorerState(Run("bare", predictions(60)))
    plain, more = tmp_path / "a.pdf", tmp_path / "b.pdf"
    plain.write_bytes(exports.figure_bytes(state, "matrix", "pdf"))
    more.write_bytes(plain.read_bytes() + b"\n4 0 obj\n<<>>\nendobj\nxref\n0 1\ntrailer\n<<>>\nstartxref\n9\n%%EOF\n")
    assert compare(more, plain) == ["something was added after the end of the file"]
    for suffix, added in ((".html", "<dc:description>x</dc:description>"), (".svg", "<!-- /Subject (x) -->")):
        one, two = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        one.write_text("<p>same</p>")
        two.write_text("<p>same</p>" + added)
        assert compare(two, one)


def test_a_manifest_asks_no_network(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(bundle.parent, tmp_path / "copy")
    manifest = tmp_path / "copy" / "report" / "manifest.json"
    values = json.loads(manifest.read_text())
    values["command"][2] = "ftp://127.0.0.1:9/x"
    manifest.write_text(json.dumps(values))
    code, words = said(capsys, str(manifest.with_name("metrics.json")))
    assert code == 2
    assert "expected paths, not ftp://" in words


def test_a_manifest_runs_no_code(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bundle.parent, tmp_path / "copy")
    (tmp_path / "evil.py").write_text("import pathlib\npathlib.Path('owned').touch()\ndef build(): pass\n")
    manifest = tmp_path / "copy" / "report" / "manifest.json"
    values = json.loads(manifest.read_text())
    values["command"] += ["--model", "evil:build"]
    manifest.write_text(json.dumps(values))
    monkeypatch.chdir(tmp_path)
    assert said(capsys, str(manifest.with_name("metrics.json")))[0] == 0
    assert not (tmp_path / "owned").exists()


def test_what_says_nothing_can_not_be_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.write(predictions(20), tmp_path / "p")
    Image.new("RGB", (4, 4)).save(tmp_path / "bare.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for name, words in (("bare.png", "expected a record of its origin"), ("broken.png", "not a readable PNG")):
        assert said(capsys, str(tmp_path / name), "--predictions", str(tmp_path / "p"))[0] == 2
        code, text = said(capsys, str(tmp_path / name), "--predictions", str(tmp_path / "p"))
        assert words in text
    code, text = said(capsys, str(tmp_path / "gone.png"), "--predictions", str(tmp_path / "p"))
    assert code == 2
    assert "is missing" in text


def test_stamps_hold_any_names(tmp_path: Path) -> None:
    names = ("(a)", "<b>&", "שלום", 'q"\\')
    p = predictions(40)
    stamp = stamp_of(type(p)(p.table, names), "explorer", "x", {"selection": {"words": list(names)}})
    figure = exports.figure(ExplorerState(Run("odd", type(p)(p.table, names))), "matrix")
    assert text_of(stamp).isascii()
    for kind in ("png", "svg", "pdf"):
        path = tmp_path / f"x.{kind}"
        path.write_bytes(base.encode(figure, kind, stamp))
        assert read_stamp(path) == json.loads(text_of(stamp))


def test_class_names_with_dollars_are_no_formulas() -> None:
    p = predictions(40)
    odd = type(p)(p.table, ("$x_$", "$\\frac$", "a_b", "^"))
    assert exports.figure_bytes(ExplorerState(Run("odd", odd)), "matrix", "png").startswith(b"\x89PNG")


def test_the_digest_is_of_what_was_predicted() -> None:
    images, c = image_set(), classifier()
    one, two = predict(c, images), predict(c, images, rows=np.arange(11))
    assert one.digest == predict(c, images).digest
    assert one.digest != two.digest
