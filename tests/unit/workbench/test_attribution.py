import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from tests.factories import classifier, image_set
from workbench import render
from workbench.attribution import methods
from workbench.classifier import Classifier
from workbench.errors import AttributionError, DataError

ROWS, TARGETS = np.arange(6), np.array([0, 1, 2, 2, 1, 0])
STAGES = ("stage1", "stage2", "stage3", "stage4")


def snapshot(model: torch.nn.Module) -> tuple[object, ...]:
    hooks = [len(m._forward_hooks) + len(m._backward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    flags = [p.requires_grad for p in model.parameters()]
    return hooks, [m.training for m in model.modules()], gradients, flags


@pytest.fixture
def images() -> np.ndarray:
    return image_set().pixels[:6]


def test_equals_captum_at_every_stage(images: np.ndarray) -> None:
    c = classifier()
    ours = methods.grad_cam(c, images, ROWS, TARGETS, STAGES)
    for stage in STAGES:
        theirs = LayerGradCam(c.module, c.module.get_submodule(stage)).attribute(
            c.prepare(images), target=torch.from_numpy(TARGETS)
        )
        expected = theirs[:, 0].detach().numpy()
        np.testing.assert_allclose(ours[stage].values, expected, atol=1e-6 + 1e-5 * np.abs(expected).max())


def test_rendered_map_equals_pytorch_grad_cam(images: np.ndarray) -> None:
    c = classifier()
    raw = methods.grad_cam(c, images, ROWS, TARGETS, ["stage3"])["stage3"].values
    with GradCAM(c.module, [c.module.stage3]) as cam:
        library = cam(c.prepare(images), [ClassifierOutputTarget(int(t)) for t in TARGETS])
    for one, theirs in zip(raw, library, strict=True):
        if one.max() <= 0:
            continue
        ours = np.maximum(one, 0)
        ours = (ours - ours.min()) / (ours.max() - ours.min() + 1e-7)
        large = render.upsample(ours, 32)
        large = (large - large.min()) / (large.max() - large.min() + 1e-7)
        np.testing.assert_allclose(large, theirs, atol=1e-3)


class Toy(torch.nn.Module):
    """Grey mean of the left and of the right half as two channels, pooled and weighed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Conv2d(3, 2, 1, bias=False)
        self.head = torch.nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[2.0, -1.0], [0.0, 1.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3)))


def toy() -> Classifier:
    return Classifier(Toy(), ("a", "b"), (0.0,) * 3, (1.0,) * 3, 4, {"features": (4, 4)})


def test_grad_cam_by_hand() -> None:
    """With a mean pool the weights are the head's over 16 cells: map = (2·red - green) / 16 and green / 16."""
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    maps = methods.grad_cam(toy(), images, np.arange(2), np.array([0, 1]), ["features"])["features"].values
    red, green = images[..., 0] / 255, images[..., 1] / 255
    np.testing.assert_allclose(maps[0], (2 * red[0] - green[0]) / 16, atol=1e-6)
    np.testing.assert_allclose(maps[1], green[1] / 16, atol=1e-6)


def test_integrated_gradients_of_a_linear_model_by_hand() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3)).astype(np.uint8)
    attribution = methods.integrated_gradients(toy(), images, np.zeros(1, int), np.zeros(1, int), steps=4)
    red, green = images[0, ..., 0] / 255, images[0, ..., 1] / 255
    expected = (2 * red - green) / 16
    np.testing.assert_allclose(attribution.values[0], expected, atol=1e-5)
    assert attribution.residual is not None
    assert attribution.residual[0] < 1e-4


@pytest.mark.parametrize("baseline", ["black", "blurred"])
def test_integrated_gradients_nearly_sum_to_the_change(images: np.ndarray, baseline: methods.Baseline) -> None:
    c = classifier()
    a = methods.integrated_gradients(c, images, ROWS, TARGETS, baseline=baseline, steps=128)
    with torch.no_grad():
        x, start = c.prepare(images), methods.baseline_images(c, images, baseline)
        change = (c.module(x) - c.module(start)).numpy()[ROWS, TARGETS]
    assert a.residual is not None
    by_hand = np.abs(a.values.astype(np.float64).sum((1, 2)) - change) / np.abs(change)
    np.testing.assert_allclose(a.residual, by_hand, rtol=0.05, atol=1e-3)
    assert np.median(a.residual) < 0.1


def test_degenerate_baseline_is_refused_with_the_reason(images: np.ndarray) -> None:
    with pytest.raises(AttributionError, match="degenerate baseline.*ignores the scale.*'black' or 'blurred'"):
        methods.integrated_gradients(classifier(), images, ROWS, TARGETS, baseline="mean")


def test_one_image_or_many_give_the_same_map(images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    c = classifier()
    whole = methods.grad_cam(c, images, ROWS, TARGETS, ["stage4"])["stage4"].values
    monkeypatch.setattr(methods, "BATCH", 2)
    np.testing.assert_allclose(
        methods.grad_cam(c, images, ROWS, TARGETS, ["stage4"])["stage4"].values, whole, rtol=1e-4, atol=1e-6
    )


def test_model_is_left_as_it_was(images: np.ndarray) -> None:
    c = classifier()
    c.module.train()
    c.module.stage2.eval()
    next(c.module.parameters()).requires_grad_(False)
    c.module.head.weight.grad = torch.ones_like(c.module.head.weight)
    before = snapshot(c.module)
    for _ in range(20):
        methods.grad_cam(c, images[:1], ROWS[:1], TARGETS[:1], STAGES)
    methods.integrated_gradients(c, images[:2], ROWS[:2], TARGETS[:2], steps=4)
    after = snapshot(c.module)
    assert before[:2] == after[:2]
    assert before[3] == after[3]
    for one, two in zip(before[2], after[2], strict=True):  # type: ignore[call-overload]
        assert (one is None) == (two is None)
        assert one is None or torch.equal(one, two)


def test_model_is_left_as_it_was_after_an_error(images: np.ndarray) -> None:
    c = classifier()
    c.module.train()

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    handle = c.module.stage3.register_forward_hook(fail)
    before = snapshot(c.module)
    for call in (
        lambda: methods.grad_cam(c, images, ROWS, TARGETS, STAGES),
        lambda: methods.integrated_gradients(c, images, ROWS, TARGETS),
    ):
        with pytest.raises(RuntimeError, match="in the middle"):
            call()
    assert before[:2] == snapshot(c.module)[:2]
    handle.remove()


def test_bad_requests(images: np.ndarray) -> None:
    c = classifier()
    with pytest.raises(AttributionError, match="6 targets, one for each image"):
        methods.grad_cam(c, images, ROWS, TARGETS[:3], ["stage4"])
    with pytest.raises(AttributionError, match="targets: expected 0 to 2"):
        methods.grad_cam(c, images, ROWS, TARGETS + 1, ["stage4"])
    with pytest.raises(AttributionError, match="expected a layer of stage1"):
        methods.grad_cam(c, images, ROWS, TARGETS, ["stage9"])
    with pytest.raises(AttributionError, match="at least one"):
        methods.grad_cam(c, images[:0], ROWS[:0], TARGETS[:0], ["stage4"])
    with pytest.raises(DataError, match="resize"):
        methods.grad_cam(c, images[:, :16], ROWS, TARGETS, ["stage4"])
