from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision
from torch.utils.checkpoint import checkpoint

from tests.factories import classifier
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier
from workbench.models.hooks import record
from workbench.models.layers import find_layers


def test_the_four_stages_of_a_residual_net() -> None:
    c = classifier()
    found = find_layers(c.module, torch.zeros(1, 3, 32, 32))
    assert found == dict(c.cam_layers)


def test_the_last_of_each_resolution_of_a_foreign_net() -> None:
    net = torchvision.models.mobilenet_v3_small(weights=None, num_classes=5).eval()
    found = find_layers(net, torch.zeros(1, 3, 96, 96))
    assert list(found)[-1] == "features"
    assert [layer.grid for layer in found.values()] == [(24, 24), (12, 12), (6, 6), (3, 3)]


def test_a_transformer_over_patches() -> None:
    net = torchvision.models.VisionTransformer(32, 8, 3, 4, 24, 48, num_classes=5).eval()
    found = find_layers(net, torch.zeros(1, 3, 32, 32))
    assert list(found) == [f"encoder.layers.encoder_layer_{k}.ln_1" for k in range(3)]
    layer = found["encoder.layers.encoder_layer_2.ln_1"]
    assert (layer.grid, layer.extra_tokens) == ((4, 4), 1)
    tokens = torch.arange(17.0)[None, :, None].expand(1, 17, 24)
    assert layer.spatial(tokens)[0, 0].tolist() == torch.arange(1.0, 17).reshape(4, 4).tolist()


def test_nothing_spatial_is_refused() -> None:
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    with pytest.raises(AttributionError, match="no layer has a spatial output"):
        find_layers(flat, torch.zeros(1, 3, 4, 4))


def test_an_in_place_module_behind_a_layer_changes_nothing() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(inplace=True), torch.nn.Flatten())
    with record(net, ["0"]) as outputs:
        out = net(torch.randn(2, 3, 5, 5))
        (value,) = outputs.runs("0")
        (gradient,) = torch.autograd.grad(out.sum(), value)
    assert (value < 0).any()
    assert torch.equal(gradient, (value > 0).float())
    assert all(p.requires_grad for p in net.parameters())


class Runs(torch.nn.Module):
    """A net whose answer is the mean over views of the image."""

    def __init__(self, *views: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.views = views
        first, second = torch.nn.Conv2d(3, 6, 3, 2, 1), torch.nn.Conv2d(6, 8, 3, 1, 1)
        self.net = torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.ReLU(), torch.nn.Flatten())
        self.net.append(torch.nn.Linear(512, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.net(view(x)) for view in self.views]).mean(0)


def mirror(*axes: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: x.flip(axes) if axes else x


def shifted(x: torch.Tensor) -> torch.Tensor:
    return x.roll(3, 2)


IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
ROWS, TARGETS = np.arange(3), Targets(np.array([0, 1, 1]))


def test_a_layer_that_runs_several_times_has_no_single_output() -> None:
    net = Runs(mirror(), shifted)
    with record(net, ["net.0"]) as outputs:
        net(torch.randn(2, 3, 16, 16))
    with pytest.raises(AttributionError, match=r"'net\.0' runs 2 times in a pass"):
        outputs.runs("net.0")


@pytest.mark.parametrize("views", [((), (3,)), ((), (3,), (2,), (2, 3)), ((), ()), ((2,), (3,))])
@pytest.mark.parametrize("method", ["Grad-CAM", "HiResCAM", "LayerCAM"])
def test_maps_of_mirrored_runs_are_brought_together(views: tuple[tuple[int, ...], ...], method: str) -> None:
    whole = Runs(*(mirror(*axes) for axes in views))
    model = Classifier.from_module(whole, ("a", "b"), "none", image_size=16, outputs="logits")
    assert model.last_layer is not None
    assert (model.last_layer.name, model.last_layer.turns) == ("net.3", views)
    (found,) = attribute(model, IMAGES, ROWS, TARGETS, method).values()
    alone = Classifier.from_module(whole.net, ("a", "b"), "none", image_size=16, outputs="logits")
    wanted = np.zeros_like(found.values)
    for axes in views:  # (n, rows, columns) of pictures; the net's axes 2 and 3 are 1 and 2 here
        there = tuple(axis - 1 for axis in axes)
        (one,) = attribute(alone, np.flip(IMAGES, there).copy(), ROWS, TARGETS, method, layers=["3"]).values()
        wanted += np.flip(one.values, there) / len(views)
    np.testing.assert_allclose(found.values, wanted, atol=1e-6)
    (named,) = attribute(model, IMAGES, ROWS, TARGETS, method, layers=["net.1"]).values()
    assert named.values.any()


def test_other_methods_of_mirrored_runs() -> None:
    model = Classifier.from_module(Runs(mirror(), mirror(3)), ("a", "b"), "none", image_size=16, outputs="logits")
    for method in ("Score-CAM", "Eigen-CAM", "Grad-CAM++"):
        (found,) = attribute(model, IMAGES, ROWS, TARGETS, method).values()
        assert found.values.shape == (3, 8, 8)
    with pytest.raises(AttributionError, match="runs 2 times in a pass: take Grad-CAM"):
        attribute(model, IMAGES, ROWS, TARGETS, "Ablation-CAM")
    assert model.embedding_layer is None  # what its head reads is not of the image alone


@pytest.mark.parametrize("method", ["Grad-CAM", "LayerCAM", "Score-CAM", "Ablation-CAM"])
def test_no_map_of_runs_whose_geometry_is_not_known(method: str) -> None:
    model = Classifier.from_module(Runs(mirror(), shifted), ("a", "b"), "none", image_size=16, outputs="logits")
    with pytest.raises(AttributionError, match="every layer runs several times in a pass on images of other geometry"):
        attribute(model, IMAGES, ROWS, TARGETS, method)


class Beside(Runs):
    """Mirrored runs, and a second path past them."""

    def __init__(self) -> None:
        super().__init__(mirror(), mirror(3))
        self.other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 256, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.other(x)


def test_mirrored_runs_that_are_a_part_of_the_answer_are_named() -> None:
    model = Classifier.from_module(Beside(), ("a", "b"), "none", image_size=16, outputs="logits")
    assert model.last_layer is None
    assert all(layer.partial for layer in model.cam_layers.values())


class Checkpointed(torch.nn.Module):
    """Computes its convolutions again in the backward pass, to save memory."""

    def __init__(self, *, again: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.again = again
        self.features = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3))
        self.head = torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = checkpoint(self.features, x, use_reentrant=False) if self.again else self.features(x)
        return self.head(found.relu().mean((2, 3)))


@pytest.mark.parametrize("layer", ["features.0", "features.2"])
def test_a_second_run_in_the_backward_pass_is_none(layer: str) -> None:
    x = torch.randn(2, 3, 9, 9)
    gradients = []
    for again in (False, True):
        net = Checkpointed(again=again)
        with record(net, [layer]) as outputs:
            logits = net(x)
            gradients += torch.autograd.grad(logits.sum(), outputs.runs(layer)[0])
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


def test_maps_of_a_model_that_computes_again_in_the_backward_pass() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3)).astype(np.uint8)
    maps = []
    for again in (True, False):
        model = Classifier.from_module(Checkpointed(again=again), ("a", "b"), "none", image_size=9, outputs="logits")
        (found,) = attribute(model, images, np.arange(2), Targets(np.array([0, 1])), "Grad-CAM").values()
        maps.append(found.values)
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)
