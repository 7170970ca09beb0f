import dataclasses
import time

import pytest
import torch

from tests.factories import TINY, data_set
from training import execution
from training.architectures import BUILDERS, build, build_for
from training.average import WeightAverage
from training.errors import TrainingError
from training.execution import Execution, candidates, fastest, pick_for_training
from training.recipe import Architecture
from training.session import Session

CPU = torch.device("cpu")


def test_the_fastest_candidate_is_picked() -> None:
    found = [Execution(CPU, channels_last=last) for last in (True, False)]
    slow = {True: 0.004, False: 0.001}
    assert fastest(found, lambda each: time.sleep(slow[each.channels_last])) is found[1]
    assert fastest(found[:1], lambda _: pytest.fail("timed")) is found[0]


def test_only_what_is_left_open_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "has_fast_bfloat16", lambda _: False)
    assert {each.dtype for each in candidates("auto", "auto", CPU)} == {torch.float32}
    monkeypatch.setattr(execution, "has_fast_bfloat16", lambda _: True)
    assert len(candidates("auto", "auto", CPU)) == 4
    assert [each.precision for each in candidates("bfloat16", "contiguous", CPU)] == ["bfloat16"]
    assert candidates("float32", "channels_last", CPU) == [Execution(CPU)]


def test_a_measurement_changes_no_weight_and_no_random_number() -> None:
    model = build_for(TINY, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    pick_for_training(model, dataclasses.replace(TINY, precision="auto", layout="auto"))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_resumed_run_computes_as_it_began(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    recipe = dataclasses.replace(TINY, layout="auto")
    monkeypatch.setattr("training.session.pick_for_training", lambda *_, **__: Execution(CPU, channels_last=False))
    begun = Session(recipe, data_set(60), data_set(24, "test"))
    begun.save(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr("training.execution.fastest", lambda *_: pytest.fail("a resumed run measures nothing"))
    resumed = Session(recipe, data_set(60), data_set(24, "test"), resumes=True)
    resumed.restore(tmp_path)
    assert resumed.execution == begun.execution
    assert resumed.model.get_parameter("stem_conv.weight").is_contiguous()


def test_every_architecture_can_be_named_and_no_other() -> None:
    assert set(BUILDERS) == set(Architecture.__args__)  # type: ignore[attr-defined]
    for name in BUILDERS:
        logits = build(name, 5, 8)(torch.zeros(2, 3, 32, 32))
        assert logits.shape == (2, 5)
    with pytest.raises(TrainingError, match="expected an architecture of resnet18_ln, convnet_ln, not 'vgg'"):
        build("vgg", 5, 8)


def test_the_mean_of_weights_by_hand() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    values = [1.0, 2.0, 4.0, 8.0]
    with torch.no_grad():
        model.weight.fill_(values[0])
    mean = WeightAverage(model, decay=0.3)
    expected = values[0]
    for step, value in enumerate(values):
        with torch.no_grad():
            model.weight.fill_(value)
        mean.update(model, step)
        keep = min(0.3, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * value
    assert float(mean.weights["weight"]) == pytest.approx(expected)
    with mean.within(model):
        assert model.weight.item() == pytest.approx(expected)
    assert model.weight.item() == values[-1]
