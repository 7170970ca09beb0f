import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.factories import classifier, image_set, predictions
from workbench.core.predictions import Predictions
from workbench.errors import DataError
from workbench.explorer import columns, exports
from workbench.explorer.selection import inside
from workbench.explorer.state import ExplorerState
from workbench.explorer.words import START
from workbench.models.predict import predict
from workbench.runs.run import Run

STATIC = Path(__file__).resolve().parents[4] / "workbench" / "explorer" / "static"


@pytest.fixture
def run() -> Run:
    images, model = image_set(60), classifier()
    return Run("tiny", predict(model, images), images, model)


def bare(rows: int = 300) -> ExplorerState:
    return ExplorerState(Run("bare", predictions(rows)))


def test_starts_with_all_errors_worst_first() -> None:
    state = bare()
    of = state.run.predictions
    wrong = of.index[~of.correct]
    assert sorted(state.rows) == sorted(wrong)
    assert state.rows[0] == of.index[np.where(~of.correct, of.loss, -1).argmax()]


def test_cells_select_their_rows_and_minus_one_is_any_class() -> None:
    state = bare()
    p = state.run.predictions
    state.select_cell(1, 2)
    assert sorted(state.rows) == sorted(p.index[(p.label == 1) & (p.predicted == 2)])
    state.select_cell(1, -1)
    assert sorted(state.rows) == sorted(p.index[(p.label == 1) & (p.predicted != 1)])
    state.select_cell(0, 0)
    assert sorted(state.rows) == sorted(p.index[(p.label == 0) & (p.predicted == 0)])


def test_steps_all_hold() -> None:
    state = bare()
    p = state.run.predictions
    steps = [
        {"kind": "range", "column": "confidence", "low": 0.4, "high": 0.6},
        {"kind": "any", "column": "true_class", "values": ["class 1", "class 3"]},
    ]
    state.change(steps=steps, wrong_only=False, order="index", descending=False)
    wanted = (p.confidence >= 0.4) & (p.confidence < 0.6) & np.isin(p.label, [1, 3])
    assert state.rows.tolist() == p.index[wanted].tolist()


def test_tags_select_what_was_decided() -> None:
    state = bare()
    chosen = state.rows[:3].tolist()
    state.decisions.change(chosen, add=["odd"])
    state.change(steps=[{"kind": "tags", "words": ["odd"]}])
    assert sorted(state.rows) == sorted(chosen)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"colour": 1}, "expected some of steps"),
        ({"steps": [{"kind": "magic"}]}, "expected a kind of cells, range, any, inside, tags"),
        ({"steps": [{"kind": "range", "column": "loss", "low": 1}]}, "expected column, low, high"),
        ({"steps": [{"kind": "range", "column": "loss", "low": "1", "high": None}]}, "expected numbers, or None"),
        ({"steps": [{"kind": "range", "column": "loss", "low": 1, "high": float("nan")}]}, "expected numbers, or None"),
        ({"steps": [{"kind": "range", "column": "loss", "low": True, "high": None}]}, "expected numbers, or None"),
        ({"steps": [{"kind": "cells", "cells": [[0, 9]]}]}, "expected classes from 0 to 3"),
    ],
)
def test_a_selection_that_means_nothing_is_refused(selection, message: str) -> None:
    state = bare()
    before = dict(state.selection)
    with pytest.raises(DataError, match=message):
        state.selection = selection
    assert state.selection == before


def test_an_unknown_column_is_named() -> None:
    state = bare()
    with pytest.raises(DataError, match="beauty"):
        state.change(steps=[{"kind": "range", "column": "beauty", "low": 1, "high": None}])
    with pytest.raises(DataError, match="glamour"):
        state.change(order="glamour")


def test_class_names_are_text_and_no_code() -> None:
    names = ("it's", '"; DROP', "<script>alert(1)</script>", "مرحبا" * 40)
    p = predictions(200)
    state = ExplorerState(Run("odd", type(p)(p.table, names)))
    for k in range(4):
        state.select_cell(k, -1)
        assert sorted(state.rows) == sorted(p.index[(p.label == k) & ~p.correct])


def test_a_polygon_has_what_matplotlib_says_is_inside() -> None:
    from matplotlib.path import Path as Polygon

    generator = np.random.default_rng(0)
    points = generator.normal(size=(2000, 2)).astype(np.float32)
    corners = generator.normal(size=(9, 2)).round(2)
    angles = np.arctan2(*(corners - corners.mean(0)).T)
    simple = corners[np.argsort(angles)]
    assert (inside(points, simple.ravel().tolist()) == Polygon(simple).contains_points(points)).all()


def test_comparing_adds_outcomes() -> None:
    first, second = predictions(200, seed=1), predictions(200, seed=1)
    other = predictions(200, seed=2)
    second = type(first).from_arrays(first.label, other.probability, first.classes)
    state = ExplorerState(Run("a", first), compared=Run("b", second))
    state.change(steps=[{"kind": "any", "column": "outcome", "values": ["fixed"]}], wrong_only=False)
    assert sorted(state.rows) == sorted(first.index[~first.correct & second.correct])
    assert state.header()["comparison"]["fixed"] == len(state.rows)


def planted(rows: int = 1200) -> ExplorerState:
    """One camera fails."""
    generator = np.random.default_rng(0)
    label, old = generator.integers(0, 3, rows), generator.random(rows) < 0.2
    wrong = generator.random(rows) < np.where(old, 0.5, 0.03)
    predicted = np.where(wrong, (label + 1) % 3, label)
    of = Predictions.from_arrays(label, np.eye(3)[predicted] * 0.7 + 0.1, ("a", "b", "c"))
    own = pl.DataFrame({"index": of.index, "camera": np.where(old, "old", "new")})
    return ExplorerState(Run("planted", of.join(own)))


def test_findings_become_columns_to_select_by() -> None:
    state = planted()
    assert state.findings[0].subject == "camera old"
    added, header = state.add_findings(), state.findings_header()
    for card, finding in zip(header["cards"], state.findings, strict=True):
        state.change(wrong_only=False, steps=[{"kind": "any", "column": card["column"], "values": ["yes"]}])
        assert np.sort(state.rows).tolist() == np.sort(finding.rows).tolist()
        column = added[card["column"]]
        assert (column.values == column.categories.index("yes")).sum() == card["rows"] == len(finding.rows)
        assert set(card["examples"]) <= set(finding.rows.tolist())
        assert column.title == finding.subject
    state.change(wrong_only=True, steps=[{"kind": "any", "column": header["remainder"]["column"], "values": ["yes"]}])
    assert len(state.rows) == header["remainder"]["errors"] == len(state.findings.remainder)
    worst = state.frame.sort("loss", descending=True)["loss"].head(6).to_list()
    rows = state.frame.filter(pl.col("index").is_in(header["remainder"]["examples"]))
    assert sorted(rows["loss"].to_list(), reverse=True) == worst
    json.dumps(header, allow_nan=False)


def test_findings_of_one_subject_have_a_column_each() -> None:
    state = planted()
    first = state.findings[0]
    again = replace(first, rows=first.rows[:5])
    state.__dict__["findings"] = replace(state.findings, found=(first, again))
    names = [card["column"] for card in state.findings_header()["cards"]]
    assert names == ["slices: camera old", "slices: camera old (no. 2)"]
    state.add_findings()
    state.change(wrong_only=False, steps=[{"kind": "any", "column": names[1], "values": ["yes"]}])
    assert sorted(state.rows) == sorted(first.rows[:5])


def test_a_finding_can_be_selected_before_it_was_looked_for() -> None:
    step = {"kind": "any", "column": "slices: camera old", "values": ["yes"]}
    state = ExplorerState(planted().run, selection={"steps": [step], "wrong_only": False})
    assert (state.frame["camera"] == "old").all()
    state.change(steps=[{**step, "column": "slices: camera new"}])
    with pytest.raises(DataError, match="is not there any more"):
        _ = state.frame


def test_causes_are_a_column_to_select_by() -> None:
    state = bare()
    column = state.add_findings()["cause"]
    counts = dict(state.causes.group_by("verdict").len().iter_rows())
    for verdict, errors in counts.items():
        state.change(steps=[{"kind": "any", "column": "cause", "values": [verdict]}])
        assert len(state.rows) == errors
        assert (column.values == column.categories.index(verdict)).sum() == errors


def test_of_very_many_rows_all_errors_are_shown() -> None:
    of = predictions(300)
    shown = columns.shown_rows(of, 150)
    assert shown is not None
    assert len(shown) == 150
    assert set(of.index[~of.correct]) <= set(shown["index"])
    found = columns.columns_of(of, shown)
    assert (found["correct"].values == 0).sum() == of.error_count
    assert columns.shown_rows(of, 300) is None


def test_the_browser_selects_what_the_kernel_selects(tmp_path: Path) -> None:
    """Both hosts answer the same selections: Polars here, the views' own modules under Node there."""
    if shutil.which("node") is None:
        pytest.skip("no Node on this machine")
    state = bare(500)
    generator = np.random.default_rng(3)
    points = generator.normal(size=(500, 2)).astype(np.float32)
    state.maps["principal"] = points
    state.decisions.change([5, 17, 200, 301], add=["odd"])
    confidence = state.run.predictions.confidence
    steps = [
        [],
        [{"kind": "cells", "cells": [[1, 2], [2, -1]]}],
        [{"kind": "cells", "cells": [[-1, 0]]}, {"kind": "range", "column": "confidence", "low": 0.5, "high": None}],
        [{"kind": "range", "column": "confidence", "low": float(confidence[7]), "high": float(confidence[8])}],
        [{"kind": "range", "column": "loss", "low": None, "high": 0.8}],
        [{"kind": "inside", "map": "principal", "polygon": [-1, -1, 1.5, -0.5, 0.5, 1.25, -0.75, 0.5]}],
        [{"kind": "tags", "words": ["odd"]}],
        [{"kind": "any", "column": "true_class", "values": ["class 2"]}],
    ]
    selections = [
        {"steps": s, "wrong_only": wrong, "order": order, "descending": down}
        for s in steps
        for wrong in (True, False)
        for order, down in (("loss", True), ("confidence", False), ("index", False), ("margin", True))
    ]
    expected = []
    for selection in selections:
        state.selection = selection
        expected.append(state.rows.tolist())
    columns = state.columns()
    columns["true_class"] = columns["label"]
    fixture = {
        "columns": {name: {**c.header(), "values": c.values.tolist()} for name, c in columns.items()},
        "points": points.ravel().tolist(),
        "decisions": {str(row): d.to_json() for row, d in state.decisions.rows.items()},
        "selections": selections,
    }
    (tmp_path / "fixture.json").write_text(json.dumps(fixture))
    script = f"""
        import {{ readFileSync }} from "node:fs";
        import {{ selectRows }} from "{STATIC}/selection.js";
        import {{ Table }} from "{STATIC}/table.js";
        const found = JSON.parse(readFileSync("{tmp_path}/fixture.json"));
        const kinds = {{ f4: Float32Array, f8: Float64Array, u1: Uint8Array, u2: Uint16Array }};
        for (const c of Object.values(found.columns)) c.values = kinds[c.dtype].from(c.values);
        const decisions = new Map(Object.entries(found.decisions).map(([row, d]) => [Number(row), d]));
        const maps = {{ principal: Float32Array.from(found.points) }};
        const data = {{ table: new Table(found.columns), maps, decisions }};
        const start = {json.dumps(dict(START))};
        const ids = (selection) => [...selectRows({{ ...start, ...selection }}, data)].map((k) => data.table.id(k));
        const rows = found.selections.map(ids);
        console.log(JSON.stringify(rows));
    """
    (tmp_path / "run.mjs").write_text(script)
    done = subprocess.run(["node", tmp_path / "run.mjs"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert sum(map(len, expected)) > 1000
    for selection, mine, theirs in zip(selections, expected, found, strict=True):
        assert theirs == mine, selection


def test_columns_for_the_browser_keep_their_meaning() -> None:
    of = predictions(50)
    extra = pl.DataFrame(
        {
            "index": of.index,
            "site": ["north", None] * 25,
            "blurred": [True, False] * 25,
            "age": [1.5, None] * 25,
            "free text": [f"row {k} " * 3 for k in range(50)],
            "words": [["a"]] * 50,
        }
    )
    found = columns.columns_of(of.join(extra))
    assert found["site"].categories == ("none", "north") or found["site"].categories == ("north", "none")
    assert found["blurred"].categories == ("no", "yes")
    assert np.isnan(found["age"].values[1])
    assert "words" not in found
    assert found["free text"].kind == "category"
    assert (found["label"].values == of.label).all()
    assert found["confidence"].values.dtype == np.float32


@pytest.mark.parametrize("view", ["matrix", "classes", "calibration", "findings", "gallery", "map", "detail"])
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_every_view_is_a_figure(run: Run, view: str, kind: str) -> None:
    state = ExplorerState(run)
    state.change(picked=state.rows[:2].tolist(), methods=["Grad-CAM", "Saliency"], targets=["predicted", "contrast"])
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind]
    assert exports.figure_bytes(state, view, kind).startswith(start)


def test_the_comparison_figure_has_a_column_for_each_method_layer_and_target(run: Run) -> None:
    state = ExplorerState(run)
    state.change(picked=state.rows[:3].tolist(), methods=["Grad-CAM", "Saliency"], layers=["stage3", "stage4"])
    titles = [ax.get_title() for ax in exports.comparison_grid(state).axes if ax.get_title()]
    assert titles == [
        "image",
        *(f"Grad-CAM\n{layer}\n{t}" for t in ("predicted", "true") for layer in ("stage3", "stage4")),
        "Saliency\npredicted",
        "Saliency\ntrue",
    ]


def test_figures_say_what_is_missing(run: Run) -> None:
    state = ExplorerState(run)
    with pytest.raises(DataError, match="choose an image"):
        exports.figure(state, "detail")
    with pytest.raises(DataError, match="no second run"):
        exports.figure(state, "compare")
    with pytest.raises(DataError, match="expected one of matrix"):
        exports.figure(state, "poem")
    with pytest.raises(DataError, match="expected one of png, svg, pdf"):
        exports.figure_bytes(state, "matrix", "gif")
    with pytest.raises(DataError, match="images are not on this machine"):
        exports.figure(bare(), "gallery")


def test_the_code_cell_finds_the_same_rows(run: Run) -> None:
    state = ExplorerState(run)
    state.select_cell(int(run.predictions.label[0]), -1)
    made: dict[str, object] = {"run": run}
    exec(state.code(), made)
    assert made["rows"]["index"].to_list() == state.rows.tolist()  # type: ignore[index]


def test_a_cause_can_be_selected_before_it_was_looked_for(run: Run) -> None:
    verdict = ExplorerState(run).causes["verdict"][0]
    state = ExplorerState(run, selection={"steps": [{"kind": "any", "column": "cause", "values": [verdict]}]})
    wanted = state.causes.filter(state.causes["verdict"] == verdict)["index"].sort()
    assert np.sort(state.rows).tolist() == wanted.to_list()
    assert len(wanted) > 0


def test_missing_numbers_are_neither_high_nor_low() -> None:
    p = predictions(60)
    own = pl.DataFrame({"index": p.index, "typicality": np.where(p.index % 3, p.index / 60, np.nan)})
    state = ExplorerState(Run("own", p.join(own)))
    wanted = {"kind": "range", "column": "typicality", "low": 0.5, "high": None}
    state.change(wrong_only=False, steps=[wanted], order="typicality")
    found = state.frame["typicality"]
    assert found.null_count() == 0
    assert found.is_sorted(descending=True)
    state.change(steps=[])
    assert state.frame["typicality"].tail(20).null_count() == 20


@pytest.mark.parametrize("name", ["order", "group", "select", "null", 'two "words"'])
def test_columns_may_be_called_anything(name: str) -> None:
    p = predictions(60)
    state = ExplorerState(Run("own", p.join(pl.DataFrame({"index": p.index, name: p.index}))))
    state.change(wrong_only=False, steps=[{"kind": "range", "column": name, "low": 50, "high": None}])
    assert sorted(state.rows) == list(range(50, 60))


def test_a_step_of_rows_keeps_their_ids_alone() -> None:
    state = bare()
    ids = state.run.predictions.index[:3].tolist()
    state.change(steps=[{"kind": "rows", "rows": ids, "words": "these"}], wrong_only=False)
    assert sorted(state.rows) == sorted(ids)
    state.change(steps=[{"kind": "rows", "rows": [], "words": "none"}])
    assert len(state.rows) == 0
    with pytest.raises(DataError, match="row ids"):
        state.change(steps=[{"kind": "rows", "rows": ["0 OR 1"], "words": ""}])


def test_cohorts_are_columns_that_filter_and_are_compared(tmp_path: Path) -> None:
    p = predictions(300)
    other = Predictions.from_arrays(p.label, np.eye(len(p.classes))[p.label], p.classes, index=p.index)
    state = ExplorerState(Run("a", p, folder=tmp_path), compared=Run("b", other))
    state.cohorts.save("mixed", p.index[:100], "the first")
    state.cohorts.save("errors", p.index[~p.correct])
    assert list(state.add_cohorts()) == ["cohort: mixed", "cohort: errors"]
    state.change(steps=[{"kind": "any", "column": "cohort: mixed", "values": ["yes"]}], wrong_only=False)
    assert sorted(state.rows) == sorted(p.index[:100])
    mixed, errors = state.cohorts_header()
    wrong = int((~p.correct[:100]).sum())
    assert (mixed["column"], mixed["words"], mixed["errors"]) == ("cohort: mixed", "the first", wrong)
    assert mixed["change"]["difference"] == pytest.approx(wrong / 100)
    assert "change" not in errors  # any other model does better on errors
    state.add_findings()
    assert sorted(state.rows) == sorted(p.index[:100])
    assert "cohort: mixed" in state.columns()
    state.cohorts.remove("mixed")
    state.add_cohorts()
    with pytest.raises(DataError, match="'cohort: mixed' is not there any more"):
        _ = state.rows
    again = ExplorerState(Run("a", p, folder=tmp_path))
    assert "cohort: errors" in again.columns()


def test_classes_and_flags_are_chosen_by_the_words_that_the_views_have_for_them() -> None:
    p = predictions(60)
    mine = pl.Series([True, False, None] * 20, dtype=pl.Boolean)
    state = ExplorerState(Run("flags", p.join(pl.DataFrame({"index": p.index, "mine": mine}))))
    expected = {
        ("label", p.classes[1]): p.label == 1,
        ("predicted", p.classes[2]): p.predicted == 2,
        ("mine", "yes"): np.arange(60) % 3 == 0,
        ("mine", "no"): np.arange(60) % 3 != 0,
    }
    for (column, word), chosen in expected.items():
        state.change(wrong_only=False, steps=[{"kind": "any", "column": column, "values": [word]}])
        assert sorted(state.rows) == sorted(p.index[chosen]), (column, word)
    state.change(steps=[{"kind": "any", "column": "mine", "values": ["yes", "no"]}])
    assert len(state.rows) == 60
