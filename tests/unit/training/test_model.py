import dataclasses

import torch
from torch import nn

from tests.factories import TINY
from training.architectures import build_for, cam_layers
from training.checkpoint import parameter_count
from training.model import ResNet18LN, format_summary, summary


def test_parameter_count_is_the_published_one() -> None:
    assert parameter_count(ResNet18LN()) == 11_173_962


def test_summary_adds_up_and_names_each_layer() -> None:
    rows = summary(ResNet18LN())
    assert sum(row.parameters for row in rows) == 11_173_962
    assert {row.layer: row.output_shape for row in rows}["stage4.1.relu2"] == (1, 512, 4, 4)
    assert "11,173,962" in format_summary(rows)


def test_norms_are_layer_norms_and_named_so() -> None:
    norms = [(name, m) for name, m in ResNet18LN().named_modules() if isinstance(m, nn.GroupNorm)]
    assert len(norms) == 20
    assert all(m.num_groups == 1 for _, m in norms)
    assert not any("bn" in name for name, _ in norms)


def test_group_norm_with_one_group_is_layer_norm() -> None:
    x = torch.randn(3, 8, 5, 5)
    ours = nn.GroupNorm(1, 8)(x)
    torch.testing.assert_close(ours, nn.functional.layer_norm(x, x.shape[1:]))


def test_each_relu_is_used_once() -> None:
    model, uses = ResNet18LN(width=4), {}
    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            assert not module.inplace
            uses[name] = 0
            module.register_forward_hook(lambda *_, name=name: uses.__setitem__(name, uses[name] + 1))
    model(torch.zeros(1, 3, 32, 32))
    assert set(uses.values()) == {1}
    assert len(uses) == 17


def test_zero_init_makes_blocks_their_shortcut() -> None:
    model = build_for(dataclasses.replace(TINY, zero_init_residual=True), 3)
    x = torch.rand(2, 8, 8, 8)
    torch.testing.assert_close(model.get_submodule("stage1.0")(x), x)


def test_cam_layers_have_their_grids() -> None:
    grids = [entry["grid"] for entry in cam_layers(ResNet18LN(width=4), 32)]
    assert grids == [[32, 32], [16, 16], [8, 8], [4, 4]]


def test_output_ignores_the_scale_of_the_input() -> None:
    """The trap of this model: the zero tensor is no baseline."""
    torch.manual_seed(0)
    model = ResNet18LN(width=4).eval()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(3 * x), model(x), atol=2e-4, rtol=2e-4)
