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
        (gradient,) = torch.autograd.grad(out.sum(), outputs["0"])
    assert (outputs["0"] < 0).any()
    assert torch.equal(gradient, (outputs["0"] > 0).float())
    assert all(p.requires_grad for p in net.parameters())


class Twice(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 9, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x) + self.net(x.flip(3))


def test_a_layer_that_runs_several_times_has_no_single_output() -> None:
    net = Twice()
    with record(net, ["net.0", "net.2"]) as outputs:
        net(torch.randn(2, 3, 5, 5))
    with pytest.raises(AttributionError, match=r"'net\.0' runs 2 times in a pass"):
        outputs["net.0"]


@pytest.mark.parametrize("method", ["Grad-CAM", "LayerCAM", "Score-CAM", "Ablation-CAM"])
def test_no_map_of_one_of_several_runs(method: str) -> None:
    c = Classifier.from_module(Twice(), ("a", "b"), "none", image_size=5)
    images = np.zeros((1, 5, 5, 3), np.uint8)
    with pytest.raises(AttributionError, match="every layer runs several times in a pass, as under flip averaging"):
        attribute(c, images, np.arange(1), Targets(np.array([1])), method)


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
            gradients += torch.autograd.grad(logits.sum(), outputs[layer])
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)
