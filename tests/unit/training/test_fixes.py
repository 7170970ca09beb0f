import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories import TINY, data_set
from training.errors import TrainingError
from training.execution import Execution
from training.fixes import read_fixes
from training.loop import backward
from training.run import main
from training.session import Session

TRAIN, TEST = data_set(60), data_set(30, "test", 1)


def fixes_file(folder: Path, rows: list[dict[str, object]], **changes: object) -> Path:
    values = {"format": 1, "data": TRAIN.fingerprint, "split": "train", "rows": rows, **changes}
    path = folder / "fixes.json"
    path.write_text(json.dumps(values))
    return path


def test_rows_are_dropped_relabelled_and_weighted(tmp_path: Path) -> None:
    rows = [
        {"index": 4, "action": "drop"},
        {"index": 5, "action": "relabel", "label": "ant"},
        {"index": 6, "action": "weight", "weight": 0.5},
    ]
    fixes = read_fixes(fixes_file(tmp_path, rows), TRAIN)
    session = Session(TINY, TRAIN, TEST, fixes)
    plain = Session(TINY, TRAIN, TEST)
    used = np.concatenate([session.train_rows, session.validation_rows])
    assert 4 not in used
    assert sorted([*used, 4]) == list(range(60))
    # the split stays that of a run without fixes, so that two runs can be compared
    assert set(session.validation_rows) == set(plain.validation_rows) - {4}
    assert session.train.labels[5] == 0 != TRAIN.labels[5]
    assert (session.fixes.weights[6], session.fixes.weights.sum()) == (0.5, 59.5)  # type: ignore[union-attr]
    assert session.sidecar()["fixes"] == {
        "sha256": fixes.digest,
        "dropped": 1,
        "relabelled": 1,
        "weighted": 1,
    }
    assert "fixes" not in plain.sidecar()


def test_a_weight_scales_a_rows_share_of_the_gradient() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    images, labels = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 1])
    execution, single = Execution(torch.device("cpu")), []
    for k in range(4):
        model.zero_grad()
        backward(model, images[k : k + 1], labels[k : k + 1], smoothing=0.1, execution=execution)
        single.append(model[1].weight.grad.clone())  # type: ignore[union-attr]
    weights = torch.tensor([1.0, 0.5, 2.0, 0.0])
    model.zero_grad()
    losses, _ = backward(model, images, labels, smoothing=0.1, execution=execution, weights=weights)
    expected = sum(w * g for w, g in zip(weights, single, strict=True)) / 4
    assert torch.allclose(model[1].weight.grad, expected, atol=1e-6)  # type: ignore[arg-type]
    plain, _ = backward(model, images, labels, smoothing=0.1, execution=execution)
    assert torch.equal(losses, plain)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"index": 60, "action": "drop"}], "expected each row from 0 to 59"),
        ([{"index": 1, "action": "drop"}] * 2, "at most once"),
        ([{"index": 1, "action": "eat"}], "expected drop, relabel"),
        ([{"index": 1, "action": "relabel", "label": "fox"}], "expected drop, relabel"),
        ([{"index": 1, "action": "weight", "weight": 0}], "above 0"),
        ([{"index": 1, "action": "weight", "weight": "2"}], "above 0"),
        ([{"index": k, "action": "drop"} for k in range(60)], "drops every row"),
        ([{"action": "drop"}], "not a fixes file"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(tmp_path: Path, rows, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        read_fixes(fixes_file(tmp_path, rows), TRAIN)


def test_other_data_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="belongs to other data"):
        read_fixes(fixes_file(tmp_path, [], data="0" * 64), TRAIN)
    with pytest.raises(TrainingError, match="split train"):
        read_fixes(fixes_file(tmp_path, [], split="test"), TRAIN)
    with pytest.raises(TrainingError, match="is missing"):
        read_fixes(tmp_path / "none.json", TRAIN)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(TrainingError, match="not a fixes file"):
        read_fixes(tmp_path / "bad.json", TRAIN)


def test_the_circle_closes(tmp_path: Path, capsys) -> None:
    """Train, look at the train split, decide, export, train again with the fixes, compare."""
    from tests.factories import image_folder
    from workbench import __main__ as workbench
    from workbench.analysis.compare import compare
    from workbench.explorer.state import ExplorerState
    from workbench.runs.opening import open_predictions

    data = image_folder(tmp_path / "data", rows=48)
    common = ["--data", str(data), "--recipe", "digits", "--epochs", "2", "--width", "16", "--workers", "0"]
    common += ["--image-sizes", "32", "--precision", "float32"]
    assert main([*common, "--out", str(tmp_path / "first")]) == 0
    command = ["predict", "--checkpoint", str(tmp_path / "first"), "--data", str(data), "--split", "train"]
    command += ["--out", str(tmp_path / "seen")]
    assert workbench.main(command) == 0
    run = open_predictions(tmp_path / "seen", tmp_path / "first", str(data))
    state = ExplorerState(run)
    rows = run.predictions.index
    state.decisions.change([int(rows[0])], add=["ignore"])
    state.decisions.change([int(rows[1])], label=2)
    path = tmp_path / "fixes.json"
    state.decisions.write_fixes(path)
    assert main([*common, "--fixes", str(path), "--out", str(tmp_path / "second")]) == 0
    card = json.loads((tmp_path / "second" / "model.json").read_text())
    assert card["fixes"]["dropped"] == 1
    # what was stopped goes on with the same fixes only
    assert main([*common, "--out", str(tmp_path / "second"), "--resume"]) == 2
    assert "other data" in capsys.readouterr().err
    found = []
    for name in ("first", "second"):
        out = tmp_path / f"{name} on test"
        code = ["predict", "--checkpoint", str(tmp_path / name), "--data", str(data), "--out", str(out)]
        assert workbench.main(code) == 0
        found.append(open_predictions(out, tmp_path / name, str(data)))
    assert compare(found[0].predictions, found[1].predictions).rows == 48
    assert ExplorerState(found[0], compared=found[1]).header()["comparison"]["rows"] == 48
