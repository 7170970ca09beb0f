from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories import classifier, image_set
from workbench.attribution import precompute
from workbench.attribution.attribute import attribute
from workbench.attribution.cache import MapCache
from workbench.attribution.cost import expected_cost
from workbench.attribution.precompute import Request, concatenate, maps_of
from workbench.attribution.registry import METHODS
from workbench.attribution.targets import Targets, targets_of
from workbench.core.records import Attribution
from workbench.errors import AttributionError, DataError
from workbench.models.classifier import Classifier
from workbench.models.predict import predict

IMAGES = image_set(12)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precompute, "PART", 5)


def run(c: Classifier, request: Request, cache: MapCache | None = None, **more: int) -> Attribution:
    predictions = predict(c, IMAGES)
    return concatenate(list(maps_of(c, IMAGES, predictions, predictions.index, request, cache, **more)))


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(precompute, "attribute", fail)


def test_maps_come_back_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    c, request = classifier(), Request("Integrated gradients", settings=(("steps", 4),))
    first = run(c, request, MapCache(tmp_path))
    forbid(monkeypatch)
    again = run(c, request, MapCache(tmp_path))
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(first.residual, again.residual)
    assert (again.method, again.layer, again.signed) == (first.method, first.layer, first.signed)


def test_a_changed_weight_never_returns_an_old_map(tmp_path: Path) -> None:
    c, request, cache = classifier(), Request("Saliency"), MapCache(tmp_path)
    first = run(c, request, cache)
    with torch.no_grad():
        c.module.stem_conv.weight.view(-1)[0] += 0.5
    second = run(c, request, cache)
    assert not np.array_equal(first.values, second.values)
    predictions = predict(c, IMAGES)
    expected = attribute(
        c, IMAGES.pixels, predictions.index, targets_of(predictions, predictions.index, "predicted"), "Saliency"
    )
    np.testing.assert_allclose(second.values, expected[""].values, rtol=0.2, atol=1e-3)


@pytest.mark.parametrize("changed", ["mean", "pixels", "target", "steps", "precision"])
def test_everything_that_matters_is_in_the_key(changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    c, cache = classifier(), MapCache(tmp_path)
    predictions, rows = predict(c, IMAGES), np.arange(3)
    request = Request("Integrated gradients", settings=(("steps", 4),))
    list(maps_of(c, IMAGES, predictions, rows, request, cache))
    images = IMAGES
    if changed == "mean":
        c = dataclasses.replace(c, mean=(0.1, 0.1, 0.1))
    elif changed == "pixels":
        images = dataclasses.replace(IMAGES, pixels=np.uint8(255) - np.asarray(IMAGES.pixels))
    elif changed == "target":
        request = dataclasses.replace(request, targets="ant")
    elif changed == "steps":
        request = dataclasses.replace(request, settings=(("steps", 5),))
    else:
        request = dataclasses.replace(request, precision="bfloat16")
    forbid(monkeypatch)
    with pytest.raises(AssertionError, match="computed again"):
        list(maps_of(c, images, predictions, rows, request, cache))


def test_several_processes_share_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    c, request, cache = classifier(), Request(), MapCache(tmp_path)
    whole = run(c, request)
    parts = [run(c, request, cache, rank=rank, world=2) for rank in range(2)]
    assert sorted(np.concatenate([p.rows for p in parts])) == list(range(12))
    forbid(monkeypatch)
    np.testing.assert_allclose(run(c, request, cache).values, whole.values, rtol=1e-4, atol=1e-6)


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    c, request, cache = classifier(), Request("Saliency"), MapCache(tmp_path)
    predictions = predict(c, IMAGES)
    begun = maps_of(c, IMAGES, predictions, predictions.index, request, cache)
    next(begun)
    begun.close()
    done: list[int] = []
    calls: list[int] = []
    real = precompute.attribute

    def count(*arguments: object, **settings: object) -> object:
        calls.append(1)
        return real(*arguments, **settings)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precompute, "attribute", count)
        parts = maps_of(c, IMAGES, predictions, predictions.index, request, cache, progress=lambda n, _: done.append(n))
        assert len(concatenate(list(parts)).rows) == 12
    assert len(calls) == 2  # of three parts
    assert done == [5, 10, 12]


@pytest.mark.parametrize("method", ["Grad-CAM", "LayerCAM", "Input x gradient"])
def test_all_targets_are_each_target_in_turn(method: str) -> None:
    c = classifier()
    both = run(c, Request(method, "all"))
    assert both.rows.tolist() == np.repeat(np.arange(12), 3).tolist()
    assert both.targets.tolist() == [0, 1, 2] * 12
    for k in range(3):
        (one,) = attribute(c, IMAGES.pixels, np.arange(12), Targets(np.full(12, k)), method).values()
        mine = both.values[k::3]
        apart = np.linalg.norm(mine - one.values, axis=(1, 2)) / np.linalg.norm(one.values, axis=(1, 2))
        assert np.median(apart) < 1e-4


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    c = classifier()
    cache = MapCache(tmp_path, limit_bytes=60_000)  # a part of five 32x32 maps takes 20 kB
    for name in ("Saliency", "Input x gradient", "Guided Backprop"):
        run(c, Request(name), cache)
        assert cache.size() <= 60_000
    assert cache.size() > 20_000
    cache.clear()
    assert cache.size() == 0


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    np.savez(tmp_path / "mine" / "results.npz", x=np.zeros(9000))
    cache = MapCache(tmp_path, limit_bytes=1000)
    run(classifier(), Request("Saliency"), cache)
    cache.clear()
    assert (tmp_path / "mine" / "results.npz").is_file()
    assert cache.size() == 0


def test_weights_that_change_between_parts_are_not_mixed_up(tmp_path: Path) -> None:
    c, cache, request = classifier(), MapCache(tmp_path), Request("Saliency")
    predictions, before = predict(c, IMAGES), c.module.stem_conv.weight.detach().clone()
    parts = maps_of(c, IMAGES, predictions, predictions.index, request, cache)
    first = next(parts)
    with torch.no_grad():
        c.module.stem_conv.weight.mul_(torch.rand_like(before) + 0.5)
    list(parts)
    with torch.no_grad():
        c.module.stem_conv.weight.copy_(before)
    fresh = concatenate(list(maps_of(c, IMAGES, predictions, predictions.index, request)))
    kept = concatenate(list(maps_of(c, IMAGES, predictions, predictions.index, request, cache)))
    np.testing.assert_array_equal(kept.values[: len(first.rows)], first.values)
    np.testing.assert_allclose(kept.values, fresh.values, rtol=0.2, atol=1e-3)


def test_equal_weights_of_another_model_have_maps_of_their_own(tmp_path: Path) -> None:
    def net(kind: type) -> Classifier:
        torch.manual_seed(0)
        body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), kind(), torch.nn.Flatten(), torch.nn.Linear(900, 3))
        return Classifier.from_module(body, IMAGES.classes, "half", image_size=32)

    one, other = (run(net(kind), Request("Saliency"), MapCache(tmp_path)) for kind in (torch.nn.ReLU, torch.nn.Tanh))
    assert not np.allclose(one.values, other.values)


def test_names_may_be_written_as_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch)  # the short cut computes no map one by one
    assert run(classifier(), Request("grad-cam", "all")).method == "Grad-CAM"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    c, cache = classifier(), MapCache(tmp_path)
    run(c, Request(), cache)
    path = next(tmp_path.glob("*/*.npz"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=f"{path.name} is damaged.*delete it"):
        run(c, Request(), cache)


def test_contrast_of_a_right_row_is_refused() -> None:
    c = classifier()
    p = predict(c, IMAGES)
    right = p.index[p.correct]
    with pytest.raises(AttributionError, match="no lead over itself"):
        list(maps_of(c, IMAGES, p, right, Request(targets="contrast")))
    with pytest.raises(AttributionError, match="target: expected one of predicted, true, contrast, ant, bee, cow"):
        list(maps_of(c, IMAGES, p, right, Request(targets="dog")))


def test_cost_is_said_before() -> None:
    c = classifier()
    cheap, dear = (expected_cost(c, METHODS[name], 10) for name in ("Grad-CAM", "Score-CAM"))
    assert (cheap.forward_passes, dear.forward_passes) == (1, 65)  # width 8: 64 channels in the last stage
    assert dear.seconds > 5 * cheap.seconds > 0
    assert dear.memory_bytes > cheap.memory_bytes
    many = expected_cost(c, METHODS["Occlusion"], 1)
    assert many.forward_passes == 1 + 7 * 7
    assert "forward and 0 backward passes" in str(many)


def test_a_method_on_the_input_takes_no_layer() -> None:
    c = classifier()
    p = predict(c, IMAGES)
    with pytest.raises(AttributionError, match="takes no layer: omit 'stage4'"):
        next(maps_of(c, IMAGES, p, p.index, Request("Saliency", layer="stage4")))
    with pytest.raises(AttributionError, match="takes no layer"):
        expected_cost(c, METHODS["Saliency"], 4, "stage4")
