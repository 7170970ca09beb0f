"""Where a model runs, and how it is measured what is fastest."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from tests.factories import classifier, image_set, predictions
from training import execution as trained
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.errors import DataError
from workbench.models.classifier import Classifier, OnDemand
from workbench.models.execution import device_named, on_device, products
from workbench.models.making import classifier_of
from workbench.models.predict import predict
from workbench.runs.run import Run, with_device
from workbench.runs.training import fastest_execution

AVX2 = {"avx2": True}
AMX = {"avx2": True, "avx512_bf16": True, "amx_bf16": True}


def measure(monkeypatch: pytest.MonkeyPatch, able: dict[str, bool], slow: str) -> tuple[Classifier, str]:
    """What `fastest_execution` finds on such a processor if one kind of products or images is slow."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    clock = [0.0]
    monkeypatch.setattr(trained.time, "perf_counter", lambda: clock[0])
    module = classifier().module

    def spend(_: object, inputs: tuple[torch.Tensor]) -> None:
        last = inputs[0].is_contiguous(memory_format=torch.channels_last)
        half = torch.is_autocast_enabled("cpu")
        kinds = ("channels_last" if last else "contiguous", "bfloat16" if half else "float32")
        clock[0] += 0.01 + 0.02 * (slow in kinds)

    module.register_forward_pre_hook(spend)
    found, precision = fastest_execution(dataclasses.replace(classifier(), module=module), "auto")
    return found, precision


@pytest.mark.parametrize(
    ("able", "slow", "precision", "last"),
    [
        (AMX, "float32", "bfloat16", True),
        (AMX, "bfloat16", "float32", True),
        (AVX2, "contiguous", "float32", True),
        (AVX2, "channels_last", "float32", False),
    ],
)
def test_auto_is_what_was_fastest(
    monkeypatch: pytest.MonkeyPatch, able: dict[str, bool], slow: str, precision: str, last: bool
) -> None:
    found, chosen = measure(monkeypatch, able, slow)
    assert (chosen, found.channels_last) == (precision, last)
    assert found.prepare(image_set().stack(np.arange(2))).is_contiguous() is not last
    assert not any(parameter.is_inference() for parameter in found.module.parameters())


def test_the_layout_changes_no_more_than_the_last_digits() -> None:
    one, two = classifier(), dataclasses.replace(classifier(), channels_last=False)
    two.module.to(memory_format=torch.contiguous_format)
    rows, targets = np.arange(4), Targets(np.array([0, 1, 2, 0]))
    np.testing.assert_allclose(predict(one, image_set()).probability, predict(two, image_set()).probability, atol=1e-6)
    for method in ("Grad-CAM", "Integrated gradients"):
        maps = [
            next(iter(attribute(each, image_set().stack(rows), rows, targets, method).values())).values
            for each in (one, two)
        ]
        np.testing.assert_allclose(*maps, rtol=1e-3, atol=2e-3 * np.abs(maps[0]).max())


def test_a_named_precision_is_not_measured() -> None:
    model = classifier()
    assert fastest_execution(model, "bfloat16") == (model, "bfloat16")


def test_products_are_of_their_precision() -> None:
    one = torch.rand(4, 4)
    with products(torch.device("cpu"), "bfloat16"):
        assert (one @ one).dtype == torch.bfloat16
        with products(torch.device("cpu"), "float32"):
            assert (one @ one).dtype == torch.float32


def test_a_model_moves_when_it_is_loaded() -> None:
    waiting = OnDemand(lambda: classifier().module)
    moved = on_device(dataclasses.replace(classifier(), module=waiting), torch.device("meta"))  # type: ignore[arg-type]
    assert moved.provenance.device == "meta"
    assert waiting._module is None
    assert moved.device.type == "meta"
    assert on_device(classifier(), "cpu").provenance.device == "cpu"
    elsewhere = on_device(classifier(), torch.device("meta"))
    assert on_device(elsewhere, "auto") is elsewhere


@pytest.mark.parametrize("name", ["tpu", "meta", "cuda:99", "mps"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(DataError, match="device: "):
        device_named(name)


def test_each_process_takes_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_named("auto") == device_named("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DataError, match="only 2 GPUs"):
        device_named("cuda:2")


def test_a_run_is_opened_again_on_its_device() -> None:
    run = Run("r", predictions(), classifier=classifier(), opened="workbench.open_run('r')")
    moved = with_device(run, "cpu")
    assert moved.opened == "workbench.with_device(workbench.open_run('r'), 'cpu')"
    assert moved.classifier is not None
    assert moved.classifier.device.type == "cpu"
    with pytest.raises(DataError, match="predictions alone"):
        with_device(Run("r", predictions()), "cpu")


def test_a_model_that_cannot_be_looked_into_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.jit.trace(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3)), torch.zeros(1, 3, 4, 4))
    scripted = classifier_of(model, ("a", "b", "c"), "half", image_size=4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert on_device(scripted, "auto") is scripted
    with pytest.raises(DataError, match="stays on cpu: omit the device"):
        on_device(scripted, "cuda")


def test_a_model_is_loaded_outside_of_inference_mode_and_can_be_copied() -> None:
    waiting = OnDemand(_made)
    with torch.inference_mode():
        module = dataclasses.replace(classifier(), module=waiting).module  # type: ignore[arg-type]
    assert not any(parameter.is_inference() for parameter in module.parameters())
    copied = copy.deepcopy(waiting).get()
    assert torch.equal(copied.head.weight, module.head.weight)
    assert not hasattr(Classifier, "module")


def _made() -> torch.nn.Module:
    return classifier().module
