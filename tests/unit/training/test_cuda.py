"""Training on a GPU; these run where one is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories import TINY, data_set
from training import checkpoint, train
from training.execution import Execution, has_fast_bfloat16
from training.loop import backward
from training.session import Session

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
GPU = torch.device("cuda")


def session(**changes: object) -> Session:
    return Session(dataclasses.replace(TINY, **changes), data_set(60), data_set(24, "test", seed=1))  # type: ignore[arg-type]


def test_a_gradient_is_that_of_the_cpu() -> None:
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 3
    found = []
    for device in ("cpu", "cuda"):
        own = session(device=device)
        losses, correct = backward(own.model, images, labels, smoothing=0.1, execution=own.execution)
        assert losses.device.type == correct.device.type == "cpu"
        found.append(torch.cat([p.grad.flatten().cpu() for p in own.model.parameters() if p.grad is not None]))
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_learns_and_its_checkpoint_is_the_same_on_a_cpu(tmp_path: Path, precision: str) -> None:
    if precision == "bfloat16" and not has_fast_bfloat16(GPU):
        pytest.skip("this GPU does not multiply bfloat16")
    own = session(device="cuda", epochs=8, precision=precision, average=0.9)
    train.train(own, tmp_path, quiet=True)
    assert own.final["test_accuracy"] > 0.9
    model, _ = checkpoint.load(tmp_path)
    assert next(model.parameters()).device.type == "cpu"
    again = train._evaluate  # the same rows, on the CPU
    own.model, own.execution = model, Execution(torch.device("cpu"))
    assert own.test is not None
    result = again(own, own.test, np.arange(len(own.test)), 32, exact=True)
    assert result.loss == pytest.approx(own.final["test_loss"], rel=1e-3)


def test_a_run_on_a_gpu_resumes(tmp_path: Path) -> None:
    train.train(session(device="cuda"), tmp_path / "whole", quiet=True)
    begun = session(device="cuda")
    train.run_epoch(begun, tmp_path / "parts", lambda *_: None)
    resumed = session(device="cuda")
    resumed.restore(tmp_path / "parts")
    train.train(resumed, tmp_path / "parts", quiet=True)
    whole, parts = (checkpoint.read_weights(tmp_path / n / checkpoint.WEIGHTS) for n in ("whole", "parts"))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-2, atol=1e-3)
