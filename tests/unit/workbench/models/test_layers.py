import pytest
import torch
import torchvision

from tests.factories import classifier
from workbench.errors import AttributionError
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
