import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from tests.factories import classifier, image_set
from workbench.attribution import attribute as driver
from workbench.attribution.attribute import attribute
from workbench.attribution.gradient import Baseline, starting_points
from workbench.attribution.registry import METHODS, method_of
from workbench.attribution.targets import Targets
from workbench.errors import AttributionError, DataError
from workbench.images import render
from workbench.models.classifier import Classifier
from workbench.models.layer import Layer
from workbench.models.references import with_references

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


def test_rendered_map_equals_pytorch_grad_cam(images: np.ndarray) -> None:
    c = classifier()
    raw = attribute(c, images, ROWS, Targets(TARGETS), layers=["stage3"])["stage3"].values
    with GradCAM(c.module, [c.module.stage3]) as cam:
        library = cam(c.prepare(images), [ClassifierOutputTarget(int(t)) for t in TARGETS])
    for one, theirs in zip(raw, library, strict=True):
        if one.max() <= 0:
            continue
        ours = np.maximum(one, 0)
        ours = (ours - ours.min()) / (ours.max() - ours.min() + 1e-7)
        large = render.upsample(ours, 32, 32)
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
    return Classifier(Toy(), ("a", "b"), (0.0,) * 3, (1.0,) * 3, 4, {"features": Layer("features", (4, 4))})


def test_grad_cam_by_hand() -> None:
    """With a mean pool the weights are the head's over 16 cells: map = (2·red - green) / 16 and green / 16."""
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    maps = attribute(toy(), images, np.arange(2), Targets(np.array([0, 1])), layers=["features"])["features"].values
    red, green = images[..., 0] / 255, images[..., 1] / 255
    np.testing.assert_allclose(maps[0], (2 * red[0] - green[0]) / 16, atol=1e-6)
    np.testing.assert_allclose(maps[1], green[1] / 16, atol=1e-6)


def test_integrated_gradients_of_a_linear_model_by_hand() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3)).astype(np.uint8)
    attribution = attribute(
        toy(), images, np.zeros(1, int), Targets(np.zeros(1, int)), "Integrated gradients", steps=4
    )[""]
    red, green = images[0, ..., 0] / 255, images[0, ..., 1] / 255
    expected = (2 * red - green) / 16
    np.testing.assert_allclose(attribution.values[0], expected, atol=1e-5)
    assert attribution.residual is not None
    assert attribution.residual[0] < 1e-4


@pytest.mark.parametrize("baseline", ["black", "blurred"])
def test_integrated_gradients_nearly_sum_to_the_change(images: np.ndarray, baseline: Baseline) -> None:
    c = classifier()
    a = attribute(c, images, ROWS, Targets(TARGETS), "Integrated gradients", baseline=baseline, steps=128)[""]
    with torch.no_grad():
        x, start = c.prepare(images), starting_points(c, images, baseline)
        change = (c.module(x) - c.module(start)).numpy()[ROWS, TARGETS]
    assert a.residual is not None
    by_hand = np.abs(a.values.astype(np.float64).sum((1, 2)) - change) / np.abs(change)
    np.testing.assert_allclose(a.residual, by_hand, rtol=0.05, atol=1e-3)
    assert np.median(a.residual) < 0.1


def test_degenerate_baseline_is_refused_with_the_reason(images: np.ndarray) -> None:
    with pytest.raises(AttributionError, match="degenerate baseline.*ignores the scale.*'black' or 'blurred'"):
        attribute(classifier(), images, ROWS, Targets(TARGETS), "Integrated gradients", baseline="mean")


def test_a_baseline_is_judged_on_the_model_and_not_on_the_batch(images: np.ndarray) -> None:
    c = classifier()
    flat = np.broadcast_to(np.rint(255 * np.array(c.mean)).astype(np.uint8), (1, 32, 32, 3))
    mixed = np.concatenate([images[:3], flat])
    for precision in ("float32", "bfloat16"):
        with pytest.raises(AttributionError, match="degenerate baseline"):
            attribute(
                c, mixed, ROWS[:4], Targets(TARGETS[:4]), "Integrated gradients", baseline="mean", precision=precision
            )
    for kind, image in (("black", np.zeros((1, 32, 32, 3), np.uint8)), ("blurred", flat.copy())):
        found = attribute(c, image, ROWS[:1], Targets(TARGETS[:1]), "Integrated gradients", baseline=kind, steps=4)[""]
        assert np.isfinite(found.values).all()


@pytest.mark.parametrize("name", ["Grad-CAM", "LayerCAM", "Saliency", "Integrated gradients", "SmoothGrad"])
def test_one_image_or_64_give_the_same_map(name: str) -> None:
    c, many = classifier(), image_set(64).pixels
    settings = {"steps": 4} if name == "Integrated gradients" else {}
    rows, targets = np.arange(64), Targets(np.arange(64) % 3)
    (whole,) = attribute(c, many, rows, targets, name, **settings).values()
    apart = []
    for row in (0, 31, 63):
        part = slice(row, row + 1)
        (alone,) = attribute(c, many[part], rows[part], targets.part(part), name, **settings).values()
        apart.append(np.linalg.norm(alone.values[0] - whole.values[row]) / np.linalg.norm(whole.values[row]))
    assert np.median(apart) < 1e-3


# normalisation has no rule of Captum's, and the net has no attention
APPLY = [name for name, method in METHODS.items() if name != "LRP" and method.family != "attention"]


def referenced() -> Classifier:
    return with_references(classifier(), image_set(20).pixels)


@pytest.mark.parametrize("name", APPLY)
def test_batch_and_order_change_nothing(name: str, images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    c = referenced()

    def maps(order: list[int]) -> np.ndarray:
        (found,) = attribute(c, images[order], ROWS[order], Targets(TARGETS[order]), name).values()
        return found.values

    whole = maps([0, 1, 2])
    monkeypatch.setattr(driver, "BATCH", 1)
    alone = maps([2, 0, 1])[[1, 2, 0]]
    apart = np.linalg.norm(alone - whole, axis=(1, 2)) / np.linalg.norm(whole, axis=(1, 2))
    assert np.median(apart) < 1e-4
    assert apart.max() < 0.1  # rounding may carry one unit of a batch over its kink, and with it a gradient


@pytest.mark.parametrize("name", APPLY)
def test_a_constant_image_has_a_finite_map(name: str) -> None:
    flat = np.full((1, 32, 32, 3), 90, np.uint8)
    (found,) = attribute(referenced(), flat, ROWS[:1], Targets(TARGETS[:1]), name).values()
    assert np.isfinite(found.values).all()


def test_model_is_left_as_it_was(images: np.ndarray) -> None:
    c = classifier()
    c.module.train()
    c.module.stage2.eval()
    next(c.module.parameters()).requires_grad_(False)
    c.module.head.weight.grad = torch.ones_like(c.module.head.weight)
    before = snapshot(c.module)
    for _ in range(20):
        attribute(c, images[:1], ROWS[:1], Targets(TARGETS[:1]), layers=STAGES)
    attribute(c, images[:2], ROWS[:2], Targets(TARGETS[:2]), "Integrated gradients", steps=4)
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
        lambda: attribute(c, images, ROWS, Targets(TARGETS), layers=STAGES),
        lambda: attribute(c, images, ROWS, Targets(TARGETS), "Integrated gradients"),
    ):
        with pytest.raises(RuntimeError, match="in the middle"):
            call()
    assert before[:2] == snapshot(c.module)[:2]
    handle.remove()


@pytest.mark.parametrize("name", ["Grad-CAM", "Saliency", "Integrated gradients"])
def test_out_of_memory_halves_the_batch_and_says_so(name: str, images: np.ndarray, monkeypatch) -> None:
    c = classifier()
    settings = {"steps": 4} if name == "Integrated gradients" else {}
    (expected,) = attribute(c, images, ROWS, Targets(TARGETS), name, **settings).values()
    plain = driver._of_batch

    def scarce(classifier, batch, *rest):  # type: ignore[no-untyped-def]
        if len(batch.x) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB")
        return plain(classifier, batch, *rest)

    monkeypatch.setattr(driver, "_of_batch", scarce)
    with pytest.warns(ResourceWarning, match="out of memory: 3 images at a time"):
        (found,) = attribute(c, images, ROWS, Targets(TARGETS), name, **settings).values()
    apart = np.linalg.norm(found.values - expected.values, axis=(1, 2)) / np.linalg.norm(expected.values, axis=(1, 2))
    assert np.median(apart) < 1e-3
    assert len(found.values) == 6


def test_bad_requests(images: np.ndarray) -> None:
    c = classifier()
    with pytest.raises(AttributionError, match="6 targets, one for each image"):
        attribute(c, images, ROWS, Targets(TARGETS[:3]), layers=["stage4"])
    with pytest.raises(AttributionError, match="targets: expected 0 to 2"):
        attribute(c, images, ROWS, Targets(TARGETS + 1), layers=["stage4"])
    with pytest.raises(AttributionError, match="expected a layer of stage1"):
        attribute(c, images, ROWS, Targets(TARGETS), layers=["stage9"])
    with pytest.raises(AttributionError, match="at least one"):
        attribute(c, images[:0], ROWS[:0], Targets(TARGETS[:0]), layers=["stage4"])
    with pytest.raises(DataError, match="the model's size"):
        attribute(c, images[:, :16], ROWS, Targets(TARGETS), layers=["stage4"])


def test_a_name_with_settings_is_a_variant_everywhere(images: np.ndarray) -> None:
    c, targets = classifier(), Targets(TARGETS)
    name = "integrated-gradients:steps=8:baseline=blurred"
    variant = method_of(name)
    assert variant.name == "Integrated gradients:baseline=blurred:steps=8"
    assert method_of(variant.name) == variant
    found = attribute(c, images, ROWS, targets, name)[""]
    same = attribute(c, images, ROWS, targets, "Integrated gradients", steps=8, baseline="blurred")[""]
    np.testing.assert_array_equal(found.values, same.values)
    assert found.title == same.title == "Integrated gradients (blurred, steps 8)"
    assert method_of("Integrated gradients:steps=64") == METHODS["Integrated gradients"]  # the default
    again = attribute(c, images, ROWS, targets, name, baseline="black")[""]
    assert again.title == "Integrated gradients (black, steps 8)"
    assert method_of("lrp-ln:gamma=0.25").settings == {"gamma": 0.25, "epsilon": 0.0}
    assert method_of("lrp-ln:gamma=0.25").variant({"gamma": 0.0}) == METHODS["LRP-LN"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("saliency:steps=3", "no setting 'steps'; it has none"),
        ("integrated-gradients:steps", "expected SETTING=VALUE"),
        ("integrated-gradients:steps=many", "steps: expected int, not 'many'"),
        ("integrated-gradients:steps=0", "steps: expected a positive int"),
        ("integrated-gradients:steps=2.5", "steps: expected int, not '2.5'"),
        ("lrp-ln:gamma=nan", "gamma: expected a positive float"),
        ("lrp-ln:gamma=inf", "gamma: expected a positive float"),
        ("occlusion:baseline=red", "baseline: expected black, blurred, mean"),
        ("nonsense:steps=3", "expected one of Grad-CAM"),
    ],
)
def test_settings_in_a_name_that_can_not_be_are_refused(name: str, said: str) -> None:
    with pytest.raises(AttributionError, match=said):
        method_of(name)
