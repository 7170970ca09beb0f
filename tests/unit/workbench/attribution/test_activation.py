from __future__ import annotations

import dataclasses
import gc

import numpy as np
import psutil
import pytest
import pytorch_grad_cam
import torch
import torchvision
from captum.attr import LayerGradCam
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from tests.factories import CLASSES, classifier, image_set
from workbench.attribution.attribute import attribute
from workbench.attribution.exact import class_maps, pooled_head
from workbench.attribution.targets import Targets
from workbench.errors import AttributionError, DataError
from workbench.models.classifier import Classifier
from workbench.models.layer import Layer

ROWS, OF = np.arange(6), np.array([0, 1, 2, 2, 1, 0])
STAGES = ("stage1", "stage2", "stage3", "stage4")
NAMES = {
    "Grad-CAM": pytorch_grad_cam.GradCAM,
    "Grad-CAM++": pytorch_grad_cam.GradCAMPlusPlus,
    "HiResCAM": pytorch_grad_cam.HiResCAM,
    "LayerCAM": pytorch_grad_cam.LayerCAM,
    "XGrad-CAM": pytorch_grad_cam.XGradCAM,
    "Eigen-CAM": pytorch_grad_cam.EigenCAM,
    "Score-CAM": pytorch_grad_cam.ScoreCAM,
    "Ablation-CAM": pytorch_grad_cam.AblationCAM,
}


@pytest.fixture
def images() -> np.ndarray:
    return image_set().pixels[:6]


def raw_of_library(kind: type, c, images: np.ndarray, layer: str) -> np.ndarray:
    """The library's map before its ReLU and scaling."""
    targets = [ClassifierOutputTarget(int(t)) for t in OF]
    cam = kind(c.module, [c.module.get_submodule(layer)])
    x = c.prepare(images)
    found: list[np.ndarray] = []
    plain = cam.get_cam_image
    cam.get_cam_image = lambda *a, **k: found.append(plain(*a, **k)) or found[-1]
    cam(x, targets)
    return found[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layer", ["stage2", "stage4"])
def test_maps_are_the_librarys_before_it_scales(name: str, layer: str, images: np.ndarray) -> None:
    c = classifier()
    ours = attribute(c, images, ROWS, Targets(OF), name, layers=[layer])[layer]
    theirs = raw_of_library(NAMES[name], c, images, layer)
    if name == "Ablation-CAM":  # the library divides by the output, and so inverts maps of negative ones
        with torch.no_grad():
            theirs = theirs * np.sign(c.module(c.prepare(images)).numpy()[ROWS, OF])[:, None, None]
    if name == "Eigen-CAM":  # where a component points is chance
        theirs = theirs * np.sign((theirs * ours.values).sum((1, 2)))[:, None, None]
    np.testing.assert_allclose(ours.values, theirs, atol=1e-4 * np.abs(theirs).max() + 1e-7)


def test_equals_captum_at_every_stage(images: np.ndarray) -> None:
    c = classifier()
    ours = attribute(c, images, ROWS, Targets(OF), layers=STAGES)
    for stage in STAGES:
        theirs = LayerGradCam(c.module, c.module.get_submodule(stage)).attribute(
            c.prepare(images), target=torch.from_numpy(OF)
        )
        expected = theirs[:, 0].detach().numpy()
        np.testing.assert_allclose(ours[stage].values, expected, atol=1e-6 + 1e-5 * np.abs(expected).max())


def test_a_contrast_is_the_difference_of_its_classes(images: np.ndarray) -> None:
    c, against = classifier(), (OF + 1) % 3
    one, other = (attribute(c, images, ROWS, Targets(t))["stage4"].values for t in (OF, against))
    both = attribute(c, images, ROWS, Targets(OF, against))["stage4"].values
    np.testing.assert_allclose(both, one - other, atol=1e-6)


def test_class_maps_add_up_to_every_margin(images: np.ndarray) -> None:
    c = classifier()
    maps = class_maps(c, images)
    for a in range(3):
        cam = attribute(c, images, ROWS, Targets(np.full(6, a)))["stage4"].values
        np.testing.assert_allclose(maps.values[:, a], cam, atol=1e-6)
        for b in range(3):
            for image in range(6):
                cells, bias = maps.margin(image, a, b)
                expected = maps.logits[image, a] - maps.logits[image, b]
                assert float(cells.astype(np.float64).sum()) + bias == pytest.approx(expected, abs=1e-5)


def test_frozen_models_are_explained_too(images: np.ndarray) -> None:
    c = classifier()
    expected = attribute(c, images, ROWS, Targets(OF))["stage4"].values
    c.module.requires_grad_(False)
    np.testing.assert_allclose(attribute(c, images, ROWS, Targets(OF))["stage4"].values, expected)
    assert not any(p.requires_grad for p in c.module.parameters())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "Heatmap"}, "method: expected one of"),
        ({"layers": ["stage9"]}, "expected a layer of"),
        ({"targets": Targets(OF[:3])}, "expected 6 targets"),
        ({"targets": Targets(OF + 1)}, "expected 0 to 2"),
        ({"steps": 3}, "no setting 'steps'"),
        ({"method": "Saliency", "layers": ["stage1"]}, "takes no layer"),
        ({"method": "Integrated gradients", "steps": 0}, "positive int"),
        ({"method": "Integrated gradients", "baseline": "white"}, "baseline: expected"),
        ({"method": "Integrated gradients", "baseline": "mean"}, "degenerate baseline"),
        ({"method": "LRP"}, "no rule for"),
    ],
)
def test_bad_requests_are_refused(changes: dict, words: str, images: np.ndarray) -> None:
    c = classifier()
    request = {"targets": Targets(OF), **changes}
    with pytest.raises(AttributionError, match=words):
        attribute(c, images, ROWS, request.pop("targets"), request.pop("method", "Grad-CAM"), **request)


def transformer() -> Classifier:
    torch.manual_seed(0)
    net = torchvision.models.VisionTransformer(32, 8, 3, 4, 24, 48, num_classes=3).eval()
    torch.nn.init.normal_(net.heads.head.weight)  # torchvision starts it at zero
    return Classifier.from_module(net, CLASSES, "half", image_size=32)


def test_a_foreign_net_is_wrapped(images: np.ndarray) -> None:
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None, num_classes=3)
    c = Classifier.from_module(net, CLASSES, "half", image_size=32)
    assert net.training
    assert c.embedding_layer == "fc"
    (last,) = list(c.cam_layers)[-1:]
    cam, score = (
        attribute(c, images, ROWS, Targets(OF), name, layers=[last])[last] for name in ("Grad-CAM", "Eigen-CAM")
    )
    assert cam.values.shape == score.values.shape == (6, *c.cam_layers[last].grid)
    with pytest.raises(DataError, match=r"gives \(n, 3\) where 2 classes are named"):
        Classifier.from_module(net, ("a", "b"), "half", image_size=32)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Ablation-CAM"])  # its layers are for pictures
def test_transformers_are_reshaped_as_the_library_does(name: str, images: np.ndarray) -> None:
    c = transformer()
    (layer,) = list(c.cam_layers)[-1:]
    few = images[:2]
    ours = attribute(c, few, ROWS[:2], Targets(OF[:2]), name)[layer]

    def reshape(values: torch.Tensor) -> torch.Tensor:
        return values[:, 1:].reshape(len(values), 4, 4, -1).permute(0, 3, 1, 2)

    found: list[np.ndarray] = []
    cam = NAMES[name](c.module, [c.module.get_submodule(layer)], reshape_transform=reshape)
    plain = cam.get_cam_image
    cam.get_cam_image = lambda *a, **k: found.append(plain(*a, **k)) or found[-1]
    cam(c.prepare(few), [ClassifierOutputTarget(int(t)) for t in OF[:2]])
    assert ours.values.shape == (2, 4, 4)
    if name == "Eigen-CAM":
        found[0] = found[0] * np.sign((found[0] * ours.values).sum((1, 2)))[:, None, None]
    np.testing.assert_allclose(ours.values, found[0], atol=1e-4 * np.abs(found[0]).max() + 1e-7)


def test_ablation_of_a_contrast_turns_around_with_it(images: np.ndarray) -> None:
    c, against = classifier(), (OF + 1) % 3
    one, other = (
        attribute(c, images, ROWS, Targets(*pair), "Ablation-CAM")["stage4"].values
        for pair in ((OF, against), (against, OF))
    )
    np.testing.assert_allclose(one, -other, atol=1e-4 * np.abs(one).max())


@pytest.mark.parametrize("name", ["Eigen-CAM", "Finer-CAM"])
def test_methods_without_a_contrast_say_so(name: str, images: np.ndarray) -> None:
    with pytest.raises(AttributionError, match="takes no contrast"):
        attribute(classifier(), images, ROWS, Targets(OF, (OF + 1) % 3), name)


def test_eigen_cam_is_high_where_activations_are_large(images: np.ndarray) -> None:
    from workbench.attribution.activation import eigen_cam

    activation = torch.rand(5, 8, 4, 4)
    maps = eigen_cam(classifier().module, activation, torch.zeros(()))
    size = activation.norm(dim=1).numpy()
    for one, other in zip(maps.numpy(), size, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] >= 0


def test_a_head_whose_output_is_changed_has_no_short_cut(images: np.ndarray) -> None:
    class Turned(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = torch.nn.Conv2d(3, 6, 3, 2), torch.nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -10 * self.head(self.body(x).mean((2, 3)))

    torch.manual_seed(0)
    c = Classifier.from_module(Turned(), CLASSES, "half", image_size=32)
    assert pooled_head(c) is None
    ours = attribute(c, images, ROWS, Targets(OF))["body"].values
    theirs = LayerGradCam(c.module, c.module.body).attribute(c.prepare(images), target=torch.from_numpy(OF))
    np.testing.assert_allclose(ours, theirs[:, 0].detach().numpy(), rtol=1e-4, atol=1e-6)


def test_pixels_are_left_alone_and_floats_refused(images: np.ndarray) -> None:
    floats = images.astype(np.float32)
    with pytest.raises(DataError, match="expected pixels uint8 from 0 to 255, not float32"):
        attribute(classifier(), floats, ROWS, Targets(OF))
    assert (floats == images).all()


def test_a_dead_image_has_an_empty_map_alone_and_in_company(images: np.ndarray) -> None:
    class Dead(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.relu, self.head = torch.nn.Conv2d(3, 4, 1), torch.nn.ReLU(), torch.nn.Linear(4, 3)
            torch.nn.init.constant_(self.body.bias, -1.0)
            torch.nn.init.ones_(self.body.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.relu(self.body(x)).mean((2, 3)) ** 2)

    torch.manual_seed(0)
    c = Classifier(Dead(), CLASSES, (0.0,) * 3, (1.0,) * 3, 32, {"body": Layer("body", (32, 32))})
    black = np.zeros((1, 32, 32, 3), np.uint8)
    alone = attribute(c, black, ROWS[:1], Targets(OF[:1]), layers=["body"])["body"].values
    both = attribute(c, np.concatenate([black, images[:1]]), ROWS[:2], Targets(OF[:2]), layers=["body"])["body"].values
    assert not alone.any()
    np.testing.assert_array_equal(alone[0], both[0])


def test_occlusion_windows_that_do_not_fit_are_refused(images: np.ndarray) -> None:
    for settings in ({"window": 40}, {"window": 4, "stride": 8}):
        with pytest.raises(AttributionError, match="expected stride <= window <= 32"):
            attribute(classifier(), images, ROWS, Targets(OF), "Occlusion", **settings)


def test_guided_backprop_and_relevance_need_what_they_change(images: np.ndarray) -> None:
    parts = torch.nn.Conv2d(3, 4, 3), torch.nn.GELU(), torch.nn.Flatten(), torch.nn.Linear(3600, 3)
    smooth = torch.nn.Sequential(*parts)
    c = Classifier.from_module(smooth, CLASSES, "half", image_size=32)
    with pytest.raises(AttributionError, match="the model has none"):
        attribute(c, images, ROWS, Targets(OF), "Guided Backprop")
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None, num_classes=3)
    with pytest.raises(AttributionError, match="runs 2 times|in place"):
        attribute(Classifier.from_module(net, CLASSES, "half", image_size=32), images, ROWS, Targets(OF), "LRP")


def test_a_layer_without_influence_is_refused(images: np.ndarray) -> None:
    c = transformer()
    behind = "encoder.ln"  # only its class token is read
    late = dataclasses.replace(c, cam_layers={behind: Layer(behind, (4, 4), extra_tokens=1)})
    with pytest.raises(AttributionError, match="has no gradient.*earlier layer"):
        attribute(late, images, ROWS, Targets(OF))


def test_models_and_images_that_do_not_fit(images: np.ndarray) -> None:
    c = classifier()
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 3))
    with pytest.raises(AttributionError, match="this model has none"):
        attribute(Classifier(flat, CLASSES, (0.5,) * 3, (0.25,) * 3, 32, {}), images, ROWS, Targets(OF))
    with pytest.raises(DataError, match=r"expected images \(n, 32, 32, 3\)"):
        attribute(c, images[..., :1], ROWS, Targets(OF))
    with pytest.raises(AttributionError, match="not finite"):
        attribute(dataclasses.replace(c, std=(float("nan"), 1.0, 1.0)), images, ROWS, Targets(OF))


class Shared(torch.nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.relu = kind, torch.nn.ReLU(inplace=kind == "in place")
        self.body, self.head = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.body(x)) if self.kind == "function" else self.relu(self.body(x))
        x = self.relu(x) if self.kind == "twice" else x
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("method", ["DeepLIFT", "Guided Backprop"])
@pytest.mark.parametrize(
    ("kind", "words"), [("twice", "runs 2 times"), ("in place", "in place"), ("function", "by function calls")]
)
def test_relus_that_break_the_rules_are_refused(method: str, kind: str, words: str, images: np.ndarray) -> None:
    c = Classifier(Shared(kind), CLASSES, (0.5,) * 3, (0.25,) * 3, 32, {})
    with pytest.raises(AttributionError, match=words):
        attribute(c, images, ROWS, Targets(OF), method)


def test_a_thousand_calls_leave_nothing_behind(images: np.ndarray) -> None:
    c = classifier()

    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())

    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._backward_hooks) for m in c.module.modules())

    attribute(c, images[:1], ROWS[:1], Targets(OF[:1]), layers=["stage3"])
    for _ in range(100):  # what is kept for the next time is kept now
        attribute(c, images[:1], ROWS[:1], Targets(OF[:1]), layers=["stage3"])
    before, memory = (alive(), hooks()), psutil.Process().memory_info().rss
    for _ in range(1000):
        attribute(c, images[:1], ROWS[:1], Targets(OF[:1]), layers=["stage3"])
    assert (alive(), hooks()) == before
    assert psutil.Process().memory_info().rss - memory < 20e6
