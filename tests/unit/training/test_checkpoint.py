import errno
import json
from pathlib import Path

import pytest
import torch

from tests.factories import TINY, data_set
from training import checkpoint
from training.errors import TrainingError
from training.model import ResNet18LN
from training.session import Session


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, ResNet18LN]:
    session = Session(TINY, data_set(60), data_set(24, "test"))
    checkpoint.save(tmp_path, session.model.state_dict(), session.sidecar())
    return tmp_path, session.model


def test_round_trip(saved: tuple[Path, ResNet18LN]) -> None:
    folder, model = saved
    loaded, sidecar = checkpoint.load(folder)
    assert not loaded.training
    assert sidecar["cam_layers"][-1] == {"layer": "stage4", "grid": [4, 4]}
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no checkpoint in .*expected model\.safetensors and model\.json"):
        checkpoint.load(tmp_path)


def test_truncated_weights(saved: tuple[Path, ResNet18LN]) -> None:
    path = saved[0] / checkpoint.WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="truncated"):
        checkpoint.load(saved[0])


def test_sidecar_of_other_weights(saved: tuple[Path, ResNet18LN], tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    session = Session(TINY, data_set(60), data_set(24, "test"))
    with torch.no_grad():
        session.model.head.bias += 1
    checkpoint.save(other, session.model.state_dict(), session.sidecar())
    (saved[0] / checkpoint.SIDECAR).write_text((other / checkpoint.SIDECAR).read_text())
    with pytest.raises(TrainingError, match=r"does not belong to .*other SHA-256"):
        checkpoint.load(saved[0])


def test_class_count_that_differs(saved: tuple[Path, ResNet18LN]) -> None:
    path = saved[0] / checkpoint.SIDECAR
    sidecar = json.loads(path.read_text())
    sidecar["classes"].append("dodo")
    path.write_text(json.dumps(sidecar))
    with pytest.raises(TrainingError, match=r"does not fit .*expected head\.weight \(4, 64\), not \(3, 64\)"):
        checkpoint.load(saved[0])


@pytest.mark.parametrize(
    ("text", "words"), [("{", "is not JSON"), ("{}", "lacks the field"), ("[]", "lacks the field")]
)
def test_damaged_sidecar(saved: tuple[Path, ResNet18LN], text: str, words: str) -> None:
    (saved[0] / checkpoint.SIDECAR).write_text(text)
    with pytest.raises(TrainingError, match=words):
        checkpoint.load(saved[0])


def test_full_disk_leaves_the_old_checkpoint_whole(
    saved: tuple[Path, ResNet18LN], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(_: object, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TrainingError, match=r"disk full while writing .*model\.safetensors"):
        checkpoint.save(folder, model.state_dict(), {})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "change",
    [
        {"width": 10**9},
        {"width": -8},
        {"width": True},
        {"width": "8"},
        {"width": 16},
        {"image_size": float("nan")},
        {"image_size": 0},
        {"classes": "ant"},
        {"classes": [1, 2, 3]},
        {"classes": []},
        {"mean": [0.5, 0.5]},
        {"std": [float("inf")] * 3},
        {"mean": None},
    ],
)
def test_a_sidecar_that_does_not_fit_is_one_line_before_anything_is_built(
    change: dict[str, object], saved: tuple[Path, ResNet18LN], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved[0]
    sidecar = json.loads((folder / checkpoint.SIDECAR).read_text())
    (folder / checkpoint.SIDECAR).write_text(json.dumps({**sidecar, **change}))
    monkeypatch.setattr(checkpoint, "build", lambda *_: pytest.fail("built"))
    with pytest.raises(TrainingError) as caught:
        checkpoint.load(folder)
    assert "\n" not in str(caught.value)


def test_a_sidecar_of_a_hundred_thousand_brackets(saved: tuple[Path, ResNet18LN]) -> None:
    folder = saved[0]
    (folder / checkpoint.SIDECAR).write_text("[" * 100_000)
    with pytest.raises(TrainingError, match="is not JSON"):
        checkpoint.load(folder)
