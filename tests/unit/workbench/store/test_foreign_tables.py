"""Tables as users of Keras, pandas, Excel and Kaggle have them: read, or the one thing that is off is named."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import workbench
from workbench import store
from workbench.core.predictions import Predictions
from workbench.errors import DataError

RNG = np.random.default_rng(3)
P = RNG.dirichlet(np.ones(3), 12)
Y = np.arange(12) % 3
NAMES = np.array(["cat", "dog", "owl"])
FRAME = pd.DataFrame({"label": Y, **{f"probability_{k}": P[:, k] for k in range(3)}})
TEXT = FRAME.to_csv(index=False)


def binary(score: str = "probability") -> pd.DataFrame:
    return pd.DataFrame({"label": Y % 2, score: P[:, 0]})


def rows(matrix: np.ndarray) -> str:
    return "\n".join(json.dumps({"label": int(y), "probability": r.tolist()}) for y, r in zip(Y, matrix, strict=True))


WHOLE: dict[str, tuple[str, Callable[[], str | bytes]]] = {
    "an index column": ("csv", lambda: FRAME.to_csv()),
    "a byte order mark": ("csv", lambda: ("\ufeff" + TEXT).encode()),
    "semicolons": ("csv", lambda: FRAME.to_csv(index=False, sep=";")),
    "semicolons and decimal commas": ("csv", lambda: FRAME.to_csv(index=False, sep=";", decimal=",")),
    "tabs in .csv": ("csv", lambda: FRAME.to_csv(index=False, sep="\t")),
    "tabs and decimal commas": ("tsv", lambda: FRAME.to_csv(index=False, sep="\t", decimal=",")),
    "bars": ("csv", lambda: FRAME.to_csv(index=False, sep="|")),
    "blanks": ("txt", lambda: FRAME.to_string(index=False, float_format="%.17g")),
    "blanks after commas": ("csv", lambda: TEXT.replace(",", ", ")),
    "quoted names": ("csv", lambda: FRAME.to_csv(index=False, quoting=1)),
    "UTF-16": ("csv", lambda: TEXT.encode("utf-16")),
    "gzip": ("csv.gz", lambda: gzip.compress(TEXT.encode())),
    "line ends of Windows": ("csv", lambda: TEXT.replace("\n", "\r\n")),
    "empty last lines": ("csv", lambda: TEXT + "\n\n\r\n"),
    "labels as floats": ("csv", lambda: FRAME.assign(label=Y.astype(float)).to_csv(index=False)),
    "lists as NumPy prints them": (
        "csv",
        lambda: pd.DataFrame({"label": Y, "probability": [np.array2string(r, precision=17) for r in P]}).to_csv(),
    ),
    "JSON lines": ("jsonl", lambda: rows(P)),
    "JSON": ("json", lambda: json.dumps([json.loads(line) for line in rows(P).splitlines()])),
    "y_true and prob_0": (
        "csv",
        lambda: FRAME.rename(columns=lambda c: c.replace("label", "y_true").replace("probability", "prob")).to_csv(),
    ),
    "capital letters": ("csv", lambda: FRAME.rename(columns={"label": "Label"}).to_csv()),
}


def file(folder: Path, kind: str, content: str | bytes) -> Path:
    path = folder / f"table.{kind}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("form", WHOLE)
def test_every_form_of_one_table_gives_the_same_predictions(tmp_path: Path, form: str) -> None:
    kind, make = WHOLE[form]
    p = store.read(file(tmp_path, kind, make()))
    np.testing.assert_array_equal(p.label, Y)
    np.testing.assert_allclose(p.probability, P, atol=1e-6)
    assert (p.classes, p.notes) == (("0", "1", "2"), ())


@pytest.mark.parametrize("columns", ["{}", "probability_{}", "prob_{}"])
def test_columns_called_as_the_classes(tmp_path: Path, columns: str) -> None:
    shuffled = [2, 0, 1]
    frame = pd.DataFrame({"label": NAMES[Y], **{columns.format(NAMES[k]): P[:, k] for k in shuffled}})
    path = file(tmp_path, "csv", frame.to_csv(index=False))
    p = store.read(path)
    assert p.classes == ("owl", "cat", "dog")
    again = store.read(path, classes=list(NAMES))
    assert again.classes == tuple(NAMES)
    np.testing.assert_array_equal(again.label, Y)
    np.testing.assert_allclose(again.probability, P, atol=1e-6)
    assert p.accuracy == again.accuracy
    if "_" in columns:
        with pytest.raises(DataError, match=r"'(bat|owl)' is not in both"):
            store.read(path, classes=["cat", "dog", "bat"])


@pytest.mark.parametrize(
    "labels",
    [
        Y[:, None],
        np.eye(3)[Y],
        np.eye(3, dtype=int)[Y],
        Y.astype(np.uint8),
        Y.astype(np.float32),
    ],
    ids=["column", "one-hot", "one-hot integers", "uint8", "floats"],
)
def test_labels_of_keras(tmp_path: Path, labels: np.ndarray) -> None:
    np.savez(tmp_path / "k.npz", y_true=labels, probability=P)
    np.testing.assert_array_equal(store.read(tmp_path / "k.npz").label, Y)
    np.save(tmp_path / "pred_probs.npy", P)
    np.save(tmp_path / "labels.npy", labels)
    np.testing.assert_array_equal(store.read(tmp_path / "pred_probs.npy").label, Y)


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["cat", "dog", "owl"]), pl.String])
def test_labels_of_categories(tmp_path: Path, kind: pl.DataType) -> None:
    frame = pl.DataFrame({"label": pl.Series(NAMES[Y], dtype=kind), "probability": P})
    frame.write_parquet(tmp_path / "c.parquet")
    frame.write_ipc(tmp_path / "c.arrow")
    for p in (store.read(tmp_path / "c.parquet"), store.read(tmp_path / "c.arrow"), store.from_frame(frame)):
        np.testing.assert_array_equal(p.label, Y)
        assert p.classes == tuple(NAMES)


@pytest.mark.parametrize("shape", [(12,), (12, 1)])
@pytest.mark.parametrize("score", ["probability", "logit"])
def test_one_score_for_two_classes_is_of_the_second(tmp_path: Path, shape: tuple[int, ...], score: str) -> None:
    values = P[:, 0] if score == "probability" else np.log(P[:, 0] / (1 - P[:, 0]))
    np.savez(tmp_path / "k.npz", label=Y % 2, **{score: values.reshape(shape)})
    file(tmp_path, "csv", pd.DataFrame({"label": Y % 2, score: values}).to_csv(index=False))
    for path in (tmp_path / "k.npz", tmp_path / "table.csv"):
        p = store.read(path, classes=["no", "yes"])
        np.testing.assert_allclose(p.probability[:, 1], P[:, 0], atol=1e-6)
        np.testing.assert_array_equal(p.predicted, P[:, 0] > 0.5)
        assert "that of 'yes', the second" in p.notes[0]


def test_a_threshold_decides_between_two_classes(tmp_path: Path) -> None:
    path = file(tmp_path, "csv", binary().to_csv(index=False))
    p = store.read(path, threshold=0.2)
    np.testing.assert_array_equal(p.predicted, P[:, 0] >= 0.2)
    store.write(p, tmp_path / "written")
    np.testing.assert_array_equal(store.read(tmp_path / "written").predicted, p.predicted)
    assert p.provenance.to_json()["threshold"] == 0.2
    assert "threshold" not in store.read(path).provenance.to_json()
    for bad in (0.0, 1.5, float("nan")):
        with pytest.raises(DataError, match="between 0 and 1"):
            store.read(path, threshold=bad)
    with pytest.raises(DataError, match="between two classes"):
        store.read(file(tmp_path, "tsv", FRAME.to_csv(index=False, sep="\t")), threshold=0.2)
    with pytest.raises(DataError, match="name the threshold"):
        store.from_frame(binary().assign(predicted=(P[:, 0] >= 0.2).astype(int)))


def rounded(digits: int, classes: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(classes), 50).round(digits)


@pytest.mark.parametrize(("digits", "classes"), [(3, 100), (2, 10), (2, 3), (4, 1000)])
def test_rounded_probabilities_are_divided_by_their_sum_and_it_is_said(digits: int, classes: int) -> None:
    values = rounded(digits, classes)
    p = store.from_frame(pl.DataFrame({"label": np.zeros(50, int), "probability": values}))
    np.testing.assert_allclose(p.probability.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(p.probability, values / values.sum(1, keepdims=True), atol=1e-6)
    off = np.abs(values.sum(1) - 1).max()
    assert len(p.notes) == int(off > 1e-3)
    if p.notes:
        assert f"{off:.2g}" in p.notes[0]


def test_percent_are_read_as_such_and_it_is_said() -> None:
    for values in (100 * P, (100 * P).round(1), (100 * P).round(0)):
        p = store.from_frame(pl.DataFrame({"label": Y, "probability": values}))
        np.testing.assert_allclose(p.probability, values / values.sum(1, keepdims=True), atol=1e-6)
        assert "percent" in p.notes[0]


@pytest.mark.parametrize(
    "values",
    [P * 1.01, P.round(3) + np.eye(3)[Y] * 0.1, np.where(P > 0.4, 0.9, 0.1), 100 * P + 5],
    ids=["one percent too much", "one class too high", "several labels an image", "percent and more"],
)
def test_sums_that_rounding_does_not_explain_are_refused(values: np.ndarray) -> None:
    with pytest.raises(DataError, match="more than rounding explains"):
        store.from_frame(pl.DataFrame({"label": Y, "probability": values}))


def test_half_precision_needs_no_remark() -> None:
    values = RNG.dirichlet(np.ones(100), 200).astype(np.float16).astype(np.float32)
    assert store.from_frame(pl.DataFrame({"label": np.zeros(200, int), "probability": values})).notes == ()


def test_columns_that_count_from_1() -> None:
    columns = {f"probability_{k + 1}": P[:, k] for k in range(3)}
    from_0 = store.from_frame(pl.DataFrame({"label": Y, **columns}))
    from_1 = store.from_frame(pl.DataFrame({"label": Y + 1, **columns}))
    for p in (from_0, from_1):
        np.testing.assert_array_equal(p.label, Y)
        assert p.classes == ("1", "2", "3")
    with pytest.raises(DataError, match="from 0 or from 1"):
        store.from_frame(pl.DataFrame({"label": Y % 2 + 1, **columns}))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FRAME.assign(label=Y + 1).to_csv(index=False), "they count from 1; subtract 1"),
        (lambda: FRAME.assign(label=[*NAMES[Y].tolist()[:-1], ""]).to_csv(), "1 of 12 rows have no 'label'"),
        (lambda: FRAME.assign(label="Blässhuhn").to_csv().encode("latin-1"), "line 2: expected text in UTF-8.*0xe4"),
        (lambda: FRAME.assign(index=[f"{k}.jpg" for k in range(12)]).to_csv(), "call it 'path'"),
        (lambda: FRAME.assign(label=NAMES[Y % 2]).to_csv(), "2 class names for 3 columns: name all"),
        (lambda: FRAME.drop(columns="probability_1").to_csv(), "probability_1 is missing"),
        (lambda: FRAME[["label"]].to_csv(), "expected a list or one column a class"),
        (lambda: pd.DataFrame({"label": Y, "probability": "[0.1 ... 0.2]"}).to_csv(), "shortened lists"),
        (lambda: b"", "is empty"),
        (lambda: FRAME.assign(label=Y + 0.5).to_csv(), "whole numbers or names"),
    ],
)
def test_what_is_off_is_named(tmp_path: Path, make: Callable[[], str | bytes], words: str) -> None:
    with pytest.raises(DataError, match=words):
        store.read(file(tmp_path, "csv", make()))


def test_the_advice_for_file_names_works(tmp_path: Path) -> None:
    path = file(tmp_path, "csv", FRAME.assign(index=[f"{k}.jpg" for k in range(12)]).to_csv())
    p = store.read(path, columns={"path": "index"})
    assert p.columns("path")["path"].to_list()[:2] == ["0.jpg", "1.jpg"]


def test_labels_for_a_matrix_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", P)
    with pytest.raises(DataError, match=r"labels in one file beside it.*label=FILE.npy"):
        store.read(tmp_path / "scores.npy")
    np.save(tmp_path / "mine.npy", Y)
    np.testing.assert_array_equal(store.read(tmp_path / "scores.npy", columns={"label": "mine.npy"}).label, Y)
    np.save(tmp_path / "scores_logits.npy", np.log(P))
    np.testing.assert_allclose(
        store.read(tmp_path / "scores_logits.npy", columns={"label": "mine.npy"}).probability, P, atol=1e-6
    )


def test_predicted_classes_alone() -> None:
    frame = pd.DataFrame({"y_true": NAMES[Y], "y_pred": NAMES[(Y + (Y == 2)) % 3]})
    p = store.from_frame(frame)
    assert (p.has_probabilities, p.error_count, p.classes) == (False, 4, tuple(NAMES))
    assert "no probabilities" in p.notes[0]
    for column in ("confidence", "loss", "probability"):
        with pytest.raises(DataError, match="needs probabilities"):
            p.columns(column)
    assert p.frame().columns == ["index", "label", "predicted", "correct"]
    assert isinstance(p.join(pl.DataFrame({"index": [0], "note": ["x"]})), Predictions)


def test_a_report_of_predicted_classes_alone_says_what_it_omits(tmp_path: Path) -> None:
    from workbench.cli.parser import main

    frame = pd.DataFrame({"label": NAMES[Y], "predicted": NAMES[(Y + (Y == 2)) % 3]})
    path = file(tmp_path, "csv", frame.to_csv())
    assert main(["report", "--predictions", str(path), "--compare", str(path), "--out", str(tmp_path / "r")]) == 0
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert metrics["error_count"] == 4
    assert metrics["comparison"]["both_wrong"] == 4
    assert not {"ece_15", "nll", "confident_joint_off_diagonal"} & set(metrics)
    assert not (tmp_path / "r" / "reliability.png").exists()


def test_frames_open_as_runs() -> None:
    run = workbench.open_predictions(FRAME)
    assert len(run.predictions) == 12
    assert workbench.open_predictions(pl.from_pandas(FRAME)).predictions.accuracy == run.predictions.accuracy
    assert workbench.open_predictions(binary()).notes[-1].endswith("the second of two classes.")
    with pytest.raises(DataError, match="not ndarray: put arrays into a frame"):
        workbench.open_predictions(P)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"not Predictions: make one with workbench\.open_predictions"):
        workbench.Explorer(run.predictions)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="only predicted classes: write their report"):
        workbench.Explorer(workbench.open_predictions(FRAME[["label"]].assign(predicted=Y)))


@pytest.mark.parametrize("form", ["text", "list", "class_to_idx", "id2label"])
def test_a_file_of_class_names(tmp_path: Path, form: str) -> None:
    from workbench.cli.options import ReportOptions

    names = ("Pneumonia, bacterial", "none", "other")
    made = {
        "text": "\n".join(names) + "\n\n",
        "list": json.dumps(names),
        "class_to_idx": json.dumps({name: k for k, name in reversed(list(enumerate(names)))}),
        "id2label": json.dumps(dict(enumerate(names))),
    }[form]
    path = tmp_path / ("names.txt" if form == "text" else "names.json")
    path.write_text(made)
    assert ReportOptions(classes_file=path).class_names == names
    assert ReportOptions(classes='"Pneumonia, bacterial", none,other').class_names == names
    with pytest.raises(DataError, match="one of them, not both"):
        _ = ReportOptions(classes="a,b", classes_file=path).class_names
    path.write_bytes(b"\xff\xfe\xff" if form == "text" else b"[" * 100_000)
    with pytest.raises(DataError, match="can't be read as text in UTF-8|expected class names, as a list"):
        _ = ReportOptions(classes_file=path).class_names


@pytest.mark.parametrize("columns", [("True", "False"), ("false", "true")])
def test_truth_values_are_matched_with_columns_called_so(columns: tuple[str, str]) -> None:
    frame = pd.DataFrame({"label": [True, False], **{f"prob_{c}": [0.9, 0.2] for c in columns[:1]}})
    frame[f"prob_{columns[1]}"] = 1 - frame[f"prob_{columns[0]}"]
    p = store.from_frame(frame)
    assert p.classes == columns
    assert p.accuracy == (1.0 if columns[0] == "True" else 0.0)


def test_numbers_that_are_names_are_matched_by_name() -> None:
    two = pd.DataFrame({"label": [1, 1], "1": [0.9, 0.8], "2": [0.1, 0.2]})
    assert store.from_frame(two, classes=["1", "2"]).label.tolist() == [0, 0]
    tens = pd.DataFrame({"label": [10, 30], **{f"probability_{k}0": [0.2, 0.6 if k == 3 else 0.2] for k in (1, 2, 3)}})
    tens["probability_10"] = [0.6, 0.2]
    p = store.from_frame(tens)
    assert (p.classes, p.label.tolist()) == (("10", "20", "30"), [0, 2])


def test_names_beside_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="has names, the other numbers"):
        store.from_frame(pd.DataFrame({"label": ["b", "a"], "predicted": [1, 0]}))


@pytest.mark.parametrize("missing", [pd.NA, None, "n/a"])
def test_no_column_of_scores_is_left_out(missing: object, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"label": [0, 1, 0], "logit_0": [5.0, 1, 2], "logit_1": [1.0, 4, 1], "logit_2": [9, 7, missing]}
    )
    for source in (frame, file(tmp_path, "csv", frame.fillna("n/a").to_csv(index=False))):
        with pytest.raises(DataError, match="logit_2: 1 rows have no number|finite|is not understood|missing"):
            store.read(source) if isinstance(source, Path) else store.from_frame(source)


def test_missing_labels_and_twin_columns_of_pandas() -> None:
    with pytest.raises(DataError, match="1 of 12 rows have no 'label'"):
        store.from_frame(FRAME.assign(label=pd.array([None, *Y[1:]], dtype="Int64")))
    with pytest.raises(DataError, match="two columns 'label'"):
        store.from_frame(pd.concat([FRAME, FRAME[["label"]]], axis=1))


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_categories_keep_their_order(kind: str) -> None:
    order = ["owl", "cat", "dog"]
    labels = np.array(order)[Y]
    frame = pl.DataFrame({"label": pl.Series(labels, dtype=pl.Enum(order)), "probability": P})
    if kind == "pandas":
        p = store.from_frame(pd.DataFrame({"label": pd.Categorical(labels, order), "probability": list(P)}))
    else:
        p = store.from_frame(frame)
    assert p.classes == tuple(order)
    np.testing.assert_array_equal(p.label, Y)


def test_an_array_that_is_named_is_used_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", y_true=Y, y_pred=P.astype(np.float32))
    np.testing.assert_allclose(
        store.read(tmp_path / "p.npz", columns={"probability": "y_pred"}).probability, P, atol=1e-6
    )


def test_excels_first_line_and_capital_prefixes(tmp_path: Path) -> None:
    text = "sep=;\n" + FRAME.to_csv(index=False, sep=";")
    np.testing.assert_array_equal(store.read(file(tmp_path, "csv", text)).label, Y)
    shouted = FRAME.rename(columns=str.title)
    np.testing.assert_allclose(store.from_frame(shouted).probability, P, atol=1e-6)


def test_a_decimal_comma_that_comes_late(tmp_path: Path) -> None:
    rows = ["label;probability_0;probability_1", *["0;1;0" for _ in range(20_000)], "1;0,25;0,75"]
    (tmp_path / "late.csv").write_text("\n".join(rows) + "\n")
    found = workbench.open_predictions(tmp_path / "late.csv").predictions
    np.testing.assert_allclose(found.probability[-1], [0.25, 0.75])


def test_names_that_an_array_stores_as_bytes(tmp_path: Path) -> None:
    names = np.array(["café".encode(), b"tea"])
    np.savez(tmp_path / "p.npz", label=[0, 1], probability=[[0.9, 0.1], [0.2, 0.8]], classes=names)
    assert workbench.open_predictions(tmp_path / "p.npz").predictions.classes == ("café", "tea")
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "i.npz", images=pixels, labels=[0, 1], classes=names)
    assert workbench.load_images(tmp_path / "i.npz").classes == ("café", "tea")


def test_one_score_in_percent() -> None:
    frame = pl.DataFrame({"label": [0, 1, 1], "probability": [12.5, 80.0, 40.0]})
    run = workbench.open_predictions(frame, classes=("no", "yes"))
    np.testing.assert_allclose(run.predictions.probability[:, 1], [0.125, 0.8, 0.4], atol=1e-6)
    assert any("percent" in note for note in run.notes)


def test_logits_in_columns_called_as_the_classes() -> None:
    logits = np.random.default_rng(0).normal(size=(30, 3)) * 3
    names = ("a", "b", "c")
    label = np.array(names)[logits.argmax(1)]
    for order in (names, names[::-1]):
        frame = pl.DataFrame({"label": label, **{name: logits[:, names.index(name)] for name in order}})
        run = workbench.open_predictions(frame, classes=names if order is names else None)
        expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        columns = [names.index(name) for name in run.predictions.classes]
        np.testing.assert_allclose(run.predictions.probability, expected[:, columns], atol=1e-6)


def test_an_own_number_beside_columns_called_as_the_classes() -> None:
    shares = np.random.default_rng(1).dirichlet(np.ones(3), 40)
    label = np.array(["a", "b", "c"])[shares.argmax(1)]
    frame = pl.DataFrame({"label": label, "age": np.arange(40), **{k: shares[:, i] for i, k in enumerate("abc")}})
    run = workbench.open_predictions(frame)
    assert run.predictions.classes == ("a", "b", "c")
    np.testing.assert_allclose(run.predictions.probability, shares, atol=1e-6)
    assert run.predictions.columns("age")["age"].to_list() == list(range(40))
