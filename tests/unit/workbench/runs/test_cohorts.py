"""Cohorts beside a run: saved, found again, bound to their rows."""

import json
from pathlib import Path

import numpy as np
import pytest

import workbench
from tests.factories import predictions
from workbench.core.predictions import Predictions
from workbench.errors import DataError, OutputError
from workbench.runs.run import Run


def run_in(folder: Path | None, rows: int = 50) -> Run:
    return Run("named", predictions(rows), folder=folder)


def test_a_cohort_is_there_tomorrow_and_in_another_process(tmp_path: Path) -> None:
    mine, other = (workbench.cohorts(run_in(tmp_path)) for _ in range(2))
    ids = mine._predictions.index
    mine.save("night", [ids[3], ids[1], ids[3]], "brightness below 0.2")
    other.save("blurred", ids[:4])
    assert list(mine) == ["night", "blurred"]
    assert mine["night"].rows.tolist() == sorted({int(ids[1]), int(ids[3])})
    assert mine["night"].words == "brightness below 0.2"
    assert mine.table()["cohort"].to_list() == ["night", "blurred"]
    with pytest.raises(DataError, match="exists already"):
        other.save("night", ids[:1])
    other.save("night", ids[:1], replace=True)
    assert len(mine["night"].rows) == 1
    mine.remove("night")
    assert list(other) == ["blurred"]
    with pytest.raises(KeyError, match="no cohort 'night': blurred"):
        other["night"]


def test_without_a_folder_they_last_as_long_as_their_object() -> None:
    kept = workbench.cohorts(run_in(None))
    kept.save("a", kept._predictions.index[:2])
    assert list(kept) == ["a"]


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("", [0], "a name of 1 to 80"),
        ("x" * 81, [0], "a name of 1 to 80"),
        ("a\nb", [0], "printable"),
        ("a", [], "at least one row"),
        ("a", [10**9], "no row 1000000000"),
    ],
)
def test_what_can_not_be_saved_is_named(tmp_path: Path, name: str, rows: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        workbench.cohorts(run_in(tmp_path)).save(name, rows)
    assert not (tmp_path / "cohorts.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda v: "{",
        lambda v: "[]",
        lambda v: json.dumps({**v, "cohorts": {"a": {"rows": ["x"], "words": ""}}}),
        lambda v: json.dumps({**v, "cohorts": {"a": {"rows": [1.5], "words": ""}}}),
        lambda v: json.dumps({**v, "cohorts": {"a": [1]}}),
        lambda v: json.dumps({**v, "cohorts": {"a": {"rows": [10**30], "words": ""}}}),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, change) -> None:
    kept = workbench.cohorts(run_in(tmp_path))
    kept.save("a", kept._predictions.index[:2])
    path = tmp_path / "cohorts.json"
    path.write_text(text := change(json.loads(path.read_text())))
    with pytest.raises(DataError, match="damaged.*move it away"):
        workbench.cohorts(run_in(tmp_path))
    with pytest.raises(DataError, match="damaged"):
        kept.save("b", [0])
    assert path.read_text() == text


def test_cohorts_of_other_rows_are_refused(tmp_path: Path) -> None:
    kept = workbench.cohorts(run_in(tmp_path))
    kept.save("a", kept._predictions.index[:2])
    other = Predictions.from_arrays(np.zeros(3, int), np.full((3, 2), 0.5), ("x", "y"))
    with pytest.raises(DataError, match="cohorts on other data"):
        workbench.cohorts(Run("other", other, folder=tmp_path))


def test_a_folder_that_can_not_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    kept = workbench.cohorts(run_in(tmp_path / "taken" / "folder"))
    with pytest.raises(OutputError):
        kept.save("a", kept._predictions.index[:2])
    assert len(kept) == 0
