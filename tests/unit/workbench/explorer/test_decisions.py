import dataclasses
import errno
import json
from pathlib import Path

import pytest

from tests.factories import predictions
from workbench.core.predictions import Predictions
from workbench.core.records import Provenance
from workbench.errors import DataError, OutputError
from workbench.explorer.decisions import Decisions
from workbench.explorer.words import AMBIGUOUS, IGNORE, WRONG


def of(split: str = "train", data: str = "f" * 64) -> Predictions:
    p = predictions(60)
    return Predictions(p.table, p.classes, Provenance(split=split, data=data))


def test_decisions_are_there_again(tmp_path: Path) -> None:
    first = Decisions(of(), tmp_path)
    assert first.change([3, 4], add=["wrong label"]) == [3, 4]
    first.change([3], label=2, note="a fox")
    assert first.change([3], add=["wrong label"]) == []
    again = Decisions(of(), tmp_path)
    assert again.rows == first.rows
    assert again.rows[3].to_json() == {"tags": ["wrong label"], "label": 2, "note": "a fox"}
    assert again.words()[:4] == ["wrong label", "ambiguous", "ignore", "interesting"]


def test_undo_and_redo_are_kept_on_disk(tmp_path: Path) -> None:
    decisions = Decisions(of(), tmp_path)
    decisions.change([1], add=["a"])
    decisions.change([1, 2], add=["b"])
    assert decisions.undo() == [1, 2]
    assert Decisions(of(), tmp_path).rows.keys() == {1}
    assert decisions.undo() == [1]
    assert Decisions(of(), tmp_path).rows == {}
    assert decisions.undo() == []
    decisions.redo()
    decisions.redo()
    assert decisions.rows[2].tags == ("b",)
    decisions.undo()
    decisions.change([5], note="new branch")
    assert decisions.redo() == []


def test_two_notebooks_on_one_run_keep_each_others_tags(tmp_path: Path) -> None:
    one, other = Decisions(of(), tmp_path), Decisions(of(), tmp_path)
    one.change([1], add=["mine"])
    other.change([2], add=["yours"])
    assert Decisions(of(), tmp_path).rows.keys() == {1, 2}


def test_undo_keeps_what_another_notebook_did_since(tmp_path: Path) -> None:
    one, other = Decisions(of(), tmp_path), Decisions(of(), tmp_path)
    one.change([1], add=["mine"], label=1)
    other.change([1], add=["yours"], label=2, note="theirs")
    one.undo()
    assert Decisions(of(), tmp_path).rows[1].to_json() == {"tags": ["yours"], "label": 2, "note": "theirs"}
    one.redo()
    assert Decisions(of(), tmp_path).rows[1].to_json() == {"tags": ["mine", "yours"], "label": 2, "note": "theirs"}


def test_what_could_not_be_saved_does_not_replace_what_came_since(tmp_path: Path, monkeypatch) -> None:
    one, other = Decisions(of(), tmp_path), Decisions(of(), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(one, "_save", lambda: "disk full")
        one.change([1], add=["mine"], note="first")
    other.change([1], add=["yours"], note="second")
    one.change([2], add=["mine"])
    rows = Decisions(of(), tmp_path).rows
    assert rows[1].tags == ("mine", "yours")
    assert rows[1].note == "second"
    assert rows[2].tags == ("mine",)


def test_fixes_hold_what_another_notebook_decided(tmp_path: Path) -> None:
    one, other = Decisions(of(), tmp_path), Decisions(of(), tmp_path)
    other.change([3], add=[IGNORE])
    assert [fix["index"] for fix in one.fixes()["rows"]] == [3]
    assert one.table()["index"].to_list() == [3]


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch) -> None:
    decisions = Decisions(of(), tmp_path)
    decisions.change([1], add=["kept"])
    whole = decisions.path.read_bytes()  # type: ignore[union-attr]

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        assert decisions.change([2], add=["later"]) == [2]
    assert "disk full" in decisions.unsaved
    assert decisions.path.read_bytes() == whole  # type: ignore[union-attr]
    assert decisions.rows.keys() == {1, 2}
    decisions.change([3], add=["now"])
    assert decisions.unsaved == ""
    assert Decisions(of(), tmp_path).rows.keys() == {1, 2, 3}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    decisions = Decisions(of(), tmp_path / "file" / "explorer")
    decisions.change([1], add=["x"])
    assert "cannot write" in decisions.unsaved


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": 1}', '{"rows": {"a": {}}}'])
def test_a_damaged_file_is_told_and_stays(tmp_path: Path, text: str) -> None:
    (tmp_path / "decisions.json").write_text(text)
    with pytest.raises(DataError, match="is damaged"):
        Decisions(of(), tmp_path)
    assert (tmp_path / "decisions.json").read_text() == text


def test_decisions_of_other_data_are_not_taken(tmp_path: Path) -> None:
    Decisions(of(), tmp_path).change([1], add=["x"])
    with pytest.raises(DataError, match="decisions on other data"):
        Decisions(of(data="0" * 64), tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"label": 4}, "expected a class from 0 to 3"), ({"add": [""]}, "1 to 2,000"), ({"note": "x" * 3000}, "3,000")],
)
def test_what_cannot_be_is_refused(fields, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Decisions(of()).change([1], **fields)
    with pytest.raises(DataError, match="no row with the id 999"):
        Decisions(of()).change([999], add=["x"])


def test_fixes_follow_their_rules(tmp_path: Path) -> None:
    decisions = Decisions(of(), tmp_path)
    decisions.change([1, 2], add=[WRONG])
    decisions.change([2, 3], label=0)
    decisions.change([4], add=[AMBIGUOUS])
    decisions.change([5, 3], add=[IGNORE])
    decisions.change([6], add=["own word"])
    path = tmp_path / "fixes.json"
    assert decisions.write_fixes(path) == 5
    values = json.loads(path.read_text())
    assert values["rows"] == [
        {"index": 1, "action": "drop"},
        {"index": 2, "action": "relabel", "label": "class 0"},
        {"index": 3, "action": "drop"},
        {"index": 4, "action": "weight", "weight": 0.5},
        {"index": 5, "action": "drop"},
    ]
    with pytest.raises(OutputError, match="exists already"):
        decisions.write_fixes(path)


def test_fixes_are_for_train_rows_and_not_empty() -> None:
    test = Decisions(of("test"))
    test.change([1], add=[WRONG])
    with pytest.raises(DataError, match="expected rows of the train split"):
        test.fixes()
    with pytest.raises(DataError, match="nothing to fix"):
        Decisions(of()).fixes()
    read = of()
    turned = Decisions(Predictions(read.table, read.classes, dataclasses.replace(read.provenance, reading="orient")))
    turned.change([1], add=[WRONG])
    assert not turned.for_training
    with pytest.raises(DataError, match="training reads images in the default way"):
        turned.fixes()


def test_the_table_has_names() -> None:
    decisions = Decisions(of())
    decisions.change([7], add=["b", "a"], label=1, note="see")
    row = decisions.table().row(0, named=True)
    assert (row["index"], row["tags"], row["corrected_label"], row["note"]) == (7, "a; b", "class 1", "see")


@pytest.mark.parametrize(
    "decision",
    [
        {"tags": ["  "], "label": None, "note": ""},
        {"tags": "ignore", "label": None, "note": ""},
        {"tags": [1], "label": None, "note": ""},
        {"tags": ["\ud800"], "label": None, "note": ""},
        {"tags": [], "label": 99, "note": ""},
        {"tags": [], "label": -1, "note": ""},
        {"tags": [], "label": True, "note": ""},
        {"tags": [], "label": 1.0, "note": ""},
        {"tags": [], "label": None, "note": None},
    ],
)
def test_a_file_with_what_could_not_be_written_is_told(decision: dict, tmp_path: Path) -> None:
    Decisions(of(), tmp_path).change([3], add=["ignore"])
    (path,) = tmp_path.glob("*.json")
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "rows": {"3": decision}}))
    with pytest.raises(DataError, match="is damaged .* move it away"):
        Decisions(of(), tmp_path)
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="is damaged"):
        Decisions(of(), tmp_path)


def test_blank_tags_are_no_tags(tmp_path: Path) -> None:
    decisions = Decisions(of(), tmp_path)
    for blank in (" ", "\t", "\u3000"):
        with pytest.raises(DataError, match="blank"):
            decisions.change([3], add=[blank])
    assert not decisions.rows
