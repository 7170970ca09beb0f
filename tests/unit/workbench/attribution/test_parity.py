"""Our one interface against the libraries' own calls."""

from __future__ import annotations

import captum.attr
import numpy as np
import pytest
import pytorch_grad_cam
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST, ClassifierOutputTarget

from tests.factories import classifier, image_set
from workbench.attribution.attribute import attribute
from workbench.attribution.gradient import starting_points
from workbench.attribution.masks import superpixels
from workbench.attribution.registry import METHODS
from workbench.attribution.targets import Targets, seeds_of
from workbench.errors import AttributionError
from workbench.evidence.stability import rank_correlation
from workbench.models.classifier import Classifier
from workbench.models.hooks import record
from workbench.models.references import with_references

ROWS, OF = np.arange(4), np.array([0, 1, 2, 1])
IMAGES = image_set().pixels[:4]


def captum_map(name: str) -> np.ndarray:
    c = classifier()
    x, of = c.prepare(IMAGES), torch.from_numpy(OF)
    black, blurred = (starting_points(c, IMAGES, kind) for kind in ("black", "blurred"))
    window = {"sliding_window_shapes": (3, 8, 8), "strides": (3, 4, 4)}
    calls = {
        "Saliency": lambda: captum.attr.Saliency(c.module).attribute(x, target=of, abs=True).amax(1),
        "Input x gradient": lambda: captum.attr.InputXGradient(c.module).attribute(x, target=of).sum(1),
        "Guided Backprop": lambda: captum.attr.GuidedBackprop(c.module).attribute(x, target=of).sum(1),
        "DeepLIFT": lambda: captum.attr.DeepLift(c.module).attribute(x, black, target=of).sum(1),
        "Integrated gradients": lambda: (
            captum.attr.IntegratedGradients(c.module).attribute(x, black, target=of, n_steps=64).sum(1)
        ),
        "Occlusion": lambda: (
            captum.attr.Occlusion(c.module).attribute(x, baselines=blurred, target=of, **window).mean(1)
        ),
    }
    return calls[name]().detach().numpy()


@pytest.mark.parametrize(
    "name", ["Saliency", "Input x gradient", "Guided Backprop", "DeepLIFT", "Integrated gradients", "Occlusion"]
)
def test_captum_gives_the_same_maps(name: str) -> None:
    ours = attribute(classifier(), IMAGES, ROWS, Targets(OF), name)[""].values
    theirs = captum_map(name)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())


def test_a_contrast_of_captum_methods_is_the_difference() -> None:
    c = classifier()
    against = (OF + 1) % 3
    both = attribute(c, IMAGES, ROWS, Targets(OF, against), "Input x gradient")[""].values
    one, other = (attribute(c, IMAGES, ROWS, Targets(t), "Input x gradient")[""].values for t in (OF, against))
    np.testing.assert_allclose(both, one - other, atol=1e-4 * np.abs(both).max())


def test_occlusion_by_hand() -> None:
    """One window over everything: each pixel carries the whole fall of the output."""
    c = classifier()
    maps = attribute(c, IMAGES, ROWS, Targets(OF), "Occlusion", window=32, stride=32, baseline="black")[""].values
    with torch.no_grad():
        x = c.prepare(IMAGES)
        fall = (c.module(x) - c.module(starting_points(c, IMAGES, "black"))).numpy()[ROWS, OF]
    np.testing.assert_allclose(maps, np.broadcast_to(fall[:, None, None], maps.shape), rtol=1e-4, atol=1e-5)


def test_kpca_cam_is_the_librarys_up_to_its_sign() -> None:
    c = classifier()
    ours = attribute(c, IMAGES, ROWS, Targets(OF), "KPCA-CAM", layers=["stage3"])["stage3"].values
    with record(c.module, ["stage3"]) as outputs, torch.no_grad():
        c.module(c.prepare(IMAGES))
        activation = outputs.runs("stage3")[0].numpy()
    cam = pytorch_grad_cam.KPCA_CAM(c.module, [c.module.stage3])
    theirs = cam.get_cam_image(None, None, None, activation, None, False)
    for one, other in zip(ours, theirs, strict=True):
        sign = np.sign((one * other).sum())
        np.testing.assert_allclose(one, sign * other, atol=1e-4 * np.abs(other).max())
    size = np.linalg.norm(activation, axis=1)
    assert all(np.corrcoef(one.ravel(), norm.ravel())[0, 1] >= 0 for one, norm in zip(ours, size, strict=True))


@pytest.mark.parametrize("stage", ["stage2", "stage4"])
def test_shapley_cam_is_the_librarys(stage: str) -> None:
    c = classifier()
    each = [slice(k, k + 1) for k in range(4)]  # rounding may carry a unit of a larger batch over its kink
    ours = np.concatenate(
        [attribute(c, IMAGES[k], ROWS[k], Targets(OF[k]), "ShapleyCAM", layers=[stage])[stage].values for k in each]
    )
    cam = pytorch_grad_cam.ShapleyCAM(c.module, [c.module.get_submodule(stage)])
    found: list[np.ndarray] = []
    plain = cam.get_cam_image
    cam.get_cam_image = lambda *a, **k: found.append(plain(*a, **k)) or found[-1]
    for place, of in enumerate(OF):
        cam(c.prepare(IMAGES[place : place + 1]), [ClassifierOutputReST(int(of))])
    theirs = np.concatenate([np.asarray(one.detach() if isinstance(one, torch.Tensor) else one) for one in found])
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_refine_cam_is_the_librarys_over_the_layers_up_to_one() -> None:
    c = classifier()
    stages = ["stage1", "stage2", "stage3", "stage4"]
    assert list(c.cam_layers) == stages
    for last in (1, 3):
        ours = attribute(c, IMAGES, ROWS, Targets(OF), "RefineCAM", layers=[stages[last]])[stages[last]].values
        layers = [c.module.get_submodule(name) for name in stages[: last + 1]]
        theirs = pytorch_grad_cam.RefineCAM(c.module, layers)(
            c.prepare(IMAGES), [ClassifierOutputTarget(int(of)) for of in OF]
        )
        low, high = (edge(ours, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
        np.testing.assert_allclose((ours - low) / (high - low), theirs, atol=1e-3)
    with pytest.raises(AttributionError, match="none before 'stage1' is finer: take 'Grad-CAM"):
        attribute(c, IMAGES, ROWS, Targets(OF), "RefineCAM", layers=["stage1"])


def test_expected_gradients_of_a_linear_model_are_exact() -> None:
    """Weight times the distance from the mean reference, to the error of 4000 draws; and they sum to the change."""
    torch.manual_seed(0)
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 3)).eval()
    c = Classifier(linear, ("a", "b", "c"), (0.5,) * 3, (0.25,) * 3, 32, {})
    with pytest.raises(AttributionError, match="start from reference images.*--references"):
        attribute(c, IMAGES, ROWS, Targets(OF), "Expected gradients")
    c = with_references(c, image_set(20).pixels, 16)
    assert c.references is not None
    assert c.references.shape == (16, 32, 32, 3)
    found = attribute(c, IMAGES, ROWS, Targets(OF), "Expected gradients", samples=4000)[""]
    mean = c.prepare(c.references).mean(0)
    weight = linear[1].weight.detach().reshape(3, 3, 32, 32)
    expected = ((c.prepare(IMAGES) - mean) * weight[torch.from_numpy(OF)]).sum(1).numpy()
    np.testing.assert_allclose(found.values, expected, atol=0.1 * np.abs(expected).max())
    assert found.residual is not None
    assert np.median(found.residual) < 0.1


@pytest.mark.parametrize("name", ["KernelSHAP", "Expected gradients", "GradientSHAP"])
def test_captum_draws_the_same_with_the_same_seed(name: str) -> None:
    c = with_references(classifier(), image_set(20).pixels, 16)
    settings = {"KernelSHAP": {"masks": 60, "segments": 9}, "GradientSHAP": {"samples": 6}}.get(name, {"samples": 6})
    ours = attribute(c, IMAGES, ROWS, Targets(OF), name, **settings)[""].values
    x, of = c.prepare(IMAGES), torch.from_numpy(OF)
    black, blurred = (starting_points(c, IMAGES, kind) for kind in ("black", "blurred"))
    for k, seed in enumerate(seeds_of(ROWS)):
        parts = torch.from_numpy(superpixels(IMAGES[k], 9))
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        one = x[k : k + 1]
        if name == "KernelSHAP":
            theirs = captum.attr.KernelShap(c.module).attribute(
                one, blurred[k : k + 1], target=of[k], feature_mask=parts[None, None], n_samples=60
            )
            expected = (theirs[0, 0] / torch.bincount(parts.ravel())[parts]).numpy()
        else:
            starts = torch.cat([black[k : k + 1], blurred[k : k + 1]])
            starts, noise = (c.prepare(c.references), 0.0) if name == "Expected gradients" else (starts, 0.05)
            theirs = captum.attr.GradientShap(c.module).attribute(one, starts, n_samples=6, stdevs=noise, target=of[k])
            expected = theirs[0].sum(0).detach().numpy()
        np.testing.assert_allclose(ours[k], expected, atol=2e-3 * np.abs(expected).max())


def test_finer_cam_is_the_librarys() -> None:
    c = classifier()
    with torch.no_grad():
        predicted = c.module(c.prepare(IMAGES)).argmax(1).numpy()
    ours = attribute(c, IMAGES, ROWS, Targets(predicted), "Finer-CAM", layers=["stage3"])["stage3"].values
    cam = pytorch_grad_cam.FinerCAM(c.module, [c.module.stage3])
    found: list[np.ndarray] = []
    plain = cam.base_cam.get_cam_image
    cam.base_cam.get_cam_image = lambda *a, **k: found.append(plain(*a, **k)) or found[-1]
    cam(c.prepare(IMAGES))
    np.testing.assert_allclose(ours, found[0], atol=1e-4 * np.abs(found[0]).max())


def test_relevance_leaves_a_rule_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from captum.attr._utils.lrp_rules import GammaRule

    torch.manual_seed(0)
    c = Classifier(Plain().eval(), ("a", "b", "c"), (0.5,) * 3, (0.25,) * 3, 32, {})
    c.module.body.rule = GammaRule()
    first, second = (attribute(c, IMAGES, ROWS, Targets(OF), "LRP")[""].values for _ in range(2))
    assert isinstance(c.module.body.rule, GammaRule)
    np.testing.assert_array_equal(first, second)


def test_eight_images_with_three_targets_are_refused_where_the_library_draws_blanks() -> None:
    with pytest.raises(AttributionError, match="expected 4 targets, one for each image"):
        attribute(classifier(), IMAGES, ROWS, Targets(OF[:3]))


class Plain(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.relu, self.head = torch.nn.Conv2d(3, 4, 3, stride=4), torch.nn.ReLU(), torch.nn.Linear(256, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.relu(self.body(x)).flatten(1))


def test_relevance_propagation_where_every_layer_has_a_rule() -> None:
    torch.manual_seed(0)
    c = Classifier(Plain().eval(), ("a", "b", "c"), (0.5,) * 3, (0.25,) * 3, 32, {})
    ours = attribute(c, IMAGES, ROWS, Targets(OF), "LRP")[""].values
    theirs = captum.attr.LRP(c.module).attribute(c.prepare(IMAGES), target=torch.from_numpy(OF)).sum(1)
    np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", [name for name, one in METHODS.items() if name != "LRP" and one.family != "attention"])
def test_bfloat16_is_near(name: str) -> None:
    c = with_references(classifier(), image_set(20).pixels)
    (exact,), (near,) = (
        attribute(c, IMAGES, ROWS, Targets(OF), name, precision=precision).values()
        for precision in ("float32", "bfloat16")
    )
    assert near.values.dtype == np.float32
    correlation = rank_correlation(exact.values, near.values)
    assert np.nanmedian(correlation) > 0.9
