"""What all findings share: records, control of multiplicity, remainder, causes, files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import workbench
from tests.benchmarks.planted import MAKERS
from tests.factories import predictions
from workbench import store
from workbench.cli.parser import main
from workbench.core.predictions import Predictions
from workbench.findings.causes import UNEXPLAINED, causes, where_to_work
from workbench.findings.control import adjusted
from workbench.findings.find import find, findings_of
from workbench.findings.known import known_of
from workbench.findings.record import Finding, Found
from workbench.findings.registry import KINDS
from workbench.runs.run import Run


def candidate(p_value: float | None, kind: str = "slices") -> Finding:
    texts = dict.fromkeys(("subject", "sentence", "measure", "compared_with", "checked", "action"), "x")
    return Finding(kind, rows=np.arange(3), effect=0.1, low=0.0, high=0.2, errors=1, p_value=p_value, **texts)


def test_one_rule_s_many_tests_do_not_hide_another_s_one() -> None:
    many, one = Found([candidate(0.03)], 1000), Found([candidate(0.004)], 1)
    held = adjusted([many, one, Found([candidate(None)])])
    assert [finding.p_value for finding in held] == [0.004, None]
    assert held[0].adjusted == pytest.approx(0.008)


def test_weighted_benjamini_hochberg_by_hand() -> None:
    """Two rules of two tests each: p times two tests times two rules, over the rank."""
    held = adjusted([Found([candidate(0.001), candidate(0.02)], 2), Found([candidate(0.03), candidate(0.5)], 2)])
    assert [round(finding.adjusted or 1, 4) for finding in held] == [0.004, 0.04, 0.04]


def test_false_alarms_are_rare_under_the_null() -> None:
    generator = np.random.default_rng(0)
    alarms = [
        bool(adjusted([Found([candidate(float(p)) for p in generator.random(n)], n) for n in (1, 8, 40, 300)]))
        for _ in range(600)
    ]
    assert np.mean(alarms) <= 0.075


def test_the_package_is_called_and_described() -> None:
    run = Run("x", predictions(400))
    found = workbench.findings(run)
    assert found.rows == 400
    assert "seeds : sequence of Predictions" in (workbench.findings.__doc__ or "")


def test_findings_are_ordered_and_the_remainder_is_the_rest() -> None:
    planted = MAKERS["camera"](1)
    found = find(planted.run)
    assert [f.cost for f in found] == sorted((f.cost for f in found), reverse=True)
    p = planted.run.predictions
    explained = np.unique(np.concatenate([f.rows for f in found if f.explains]))
    assert set(found.remainder) == set(p.index[~p.correct]) - set(explained)
    assert found.remainder_share == len(found.remainder) / p.error_count
    assert "errors lie outside every finding" in str(found)
    assert len(found.remainder) <= found.unexplained <= found.errors
    assert found.summary()["remainder"] == len(found.remainder)


def test_each_rule_that_could_not_run_says_what_it_needs() -> None:
    p = predictions(300)
    bare = Predictions(p.table.select("index", "label", "predicted"), p.classes)
    missing = " ".join(find(Run("x", bare)).missing)
    for words in ("human labels", "train", "images", "another seed", "each epoch", "probabilities", "own columns"):
        assert words in missing


def test_errors_have_one_verdict_each() -> None:
    planted = MAKERS["camera"](2)
    found = find(planted.run)
    frame = causes(planted.run.predictions, found)
    assert frame["index"].to_list() == sorted(planted.run.predictions.index[~planted.run.predictions.correct])
    assert set(frame.filter(pl.col("verdict") == UNEXPLAINED)["index"]) == set(found.remainder)
    first = frame.filter(pl.col("verdict") == found[0].subject)
    assert first["evidence"].unique().to_list() == [found[0].sentence]
    work = where_to_work(frame)
    assert work["errors"].sum() == len(frame)
    assert work["errors"].is_sorted(descending=True)
    alone = causes(planted.run.predictions)
    assert len(alone) == len(frame)


def test_many_rows_are_sampled() -> None:
    run = Run("x", predictions(5000))
    known = known_of(run, features=np.arange(10_000).reshape(5000, 2), most_rows=1000)
    assert len(known.label) == 1000
    assert known.features is not None
    np.testing.assert_array_equal(known.features[:, 0] / 2, known.predictions.index)
    found = dataclasses.replace(findings_of(known), sample=known.predictions.index)
    verdicts = causes(run.predictions, found)
    assert set(verdicts["index"]) == set(known.predictions.index[~known.predictions.correct])


def test_a_user_s_column_called_as_ours_is_a_column() -> None:
    p = predictions(200)
    known = known_of(Run("x", p.join(pl.DataFrame({"index": p.index, "votes": p.index % 3, "copy_row": p.index}))))
    assert not known.has_votes
    assert not known.has_copies
    assert known.own == ["votes", "copy_row"]


def test_every_kind_is_in_the_docs() -> None:
    text = (Path(__file__).parents[4] / "docs" / "findings.md").read_text(encoding="utf-8")
    for name, kind in KINDS.items():
        assert f"`{name}`" in text
        assert kind.question in text


def test_the_command_writes_what_the_function_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = MAKERS["camera"](4)
    run = dataclasses.replace(planted.run, images=None)
    store.write(run.predictions, tmp_path / "p")
    command = ["findings", "--predictions", str(tmp_path / "p"), "--out", str(tmp_path / "f")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "f" / "findings.json").read_text())
    found = find(run)
    assert [one["sentence"] for one in written] == [f.sentence for f in found]
    assert written[0]["rows"] == found[0].rows.tolist()
    for name in ("kind", "sentence", "effect", "low", "high", "rows", "checked", "stable", "action"):
        assert name in written[0]
    assert "1. camera old" in printed
    assert "not looked for: people" in printed
    table = pl.read_csv(tmp_path / "f" / "findings.csv")
    assert table["sentence"].to_list() == [f.sentence for f in found]
    assert (tmp_path / "f" / "findings.png").is_file()
    assert main(["verify", str(tmp_path / "f" / "findings.json")]) == 0
    assert main(command) == 2
