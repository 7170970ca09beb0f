import numpy as np
import polars as pl
import pytest

from tests.factories import predictions
from workbench.analysis.causes import ACTIONS, RULES, causes, where_to_work
from workbench.core.predictions import Predictions

# six wrong rows, one for each verdict, and a right one
PLANTED = Predictions.from_arrays(
    [0] * 7,
    [[0.3, 0.7], [0.3, 0.7], [0.3, 0.7], [0.4, 0.6], [0.05, 0.95], [0.45, 0.55], [0.9, 0.1]],
    ("cat", "dog"),
)
EVIDENCE = pl.DataFrame(
    {
        "index": range(7),
        "nearest_row": [11] * 7,
        "nearest_label": [1, 0, 0, 0, 0, 0, 0],
        "nearest_similarity": [0.999] * 7,
        "neighbours_for_label": [1.0] * 7,
        "typicality": [0.5, 0.5, 0.5, 0.01, 0.5, 0.01, 0.5],
        "familiarity": [0.5, 0.5, 0.5, 0.01, 0.5, 0.5, 0.5],  # row 5 lies in the midst of another class
        "votes_top": [0, 1, 0, 0, 0, 0, 0],
        "votes_for_label": [1.0, 0.1, 0.5, 1.0, 1.0, 1.0, 1.0],
        "votes_entropy": [0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0],
    }
)


def test_each_planted_cause_is_found() -> None:
    frame = causes(PLANTED.join(EVIDENCE))
    assert frame["index"].to_list() == [0, 1, 2, 3, 4, 5]
    assert frame["verdict"].to_list() == list(ACTIONS)
    assert frame["certainty"].is_between(0.4, 1).all()
    assert "#11" in frame["evidence"][0]
    assert "most human labels are dog" in frame["evidence"][1]


def test_pictures_outweigh_embeddings() -> None:
    copies = pl.DataFrame({"index": [0, 1], "copy_row": [5, 6], "copy_label": [0, 1], "copy_correlation": [0.95, 0.97]})
    frame = causes(PLANTED.join(EVIDENCE.drop("^votes.*$")).join(copies))
    assert frame["verdict"][0] != "near-duplicate with another label"  # the nearest row is only like it
    assert frame["verdict"][1] == "near-duplicate with another label"
    assert "#6" in frame["evidence"][1]


def test_rules_without_their_columns_are_left_out() -> None:
    frame = causes(PLANTED)
    assert frame["verdict"].to_list() == ["unexplained"] * 4 + ["high confidence", "unexplained"]


def test_a_doubtful_label_without_votes() -> None:
    label = [0] * 20 + [1] * 20
    probability = np.array([[0.99, 0.01]] * 20 + [[0.01, 0.99]] * 20)
    probability[3] = [0.005, 0.995]
    p = Predictions.from_arrays(label, probability, ("cat", "dog"))
    near = pl.DataFrame({"index": range(40), "neighbours_for_label": [0.0 if k == 3 else 1.0 for k in range(40)]})
    assert causes(p.join(near)).select("index", "verdict").rows() == [(3, "doubtful label")]


def test_every_error_has_one_verdict() -> None:
    p = predictions(400, 4)
    frame = causes(p)
    assert frame["index"].to_list() == sorted(p.index[~p.correct].tolist())
    assert frame.null_count().sum_horizontal().item() == 0
    work = where_to_work(frame)
    assert work["errors"].sum() == p.error_count
    assert work["share"].sum() == pytest.approx(1)
    assert work["errors"].is_sorted(descending=True)


def test_no_errors_no_verdicts() -> None:
    p = Predictions.from_arrays([0, 1], np.eye(2), ("a", "b"))
    assert causes(p).is_empty()
    assert where_to_work(causes(p)).is_empty()


def test_every_verdict_has_an_action() -> None:
    assert {rule.verdict for rule in RULES} == set(ACTIONS)
