from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from tests.factories import classifier, image_set
from tests.unit.workbench.attribution.test_parity import Plain
from workbench.attribution.attribute import attribute
from workbench.attribution.relevance import HeldConstant
from workbench.attribution.targets import Targets
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier
from workbench.models.making import classifier_of


def derivative(of, x: torch.Tensor, step: float = 1e-4) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """By central differences, value by value."""
    found = torch.zeros_like(x)
    for place in np.ndindex(*x.shape):
        moved = torch.zeros_like(x)
        moved[place] = step
        found[place] = (of(x + moved) - of(x - moved)) / (2 * step)
    return found


def held(x: torch.Tensor, module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """The output and the gradient of its weighted sum with what scales held constant."""
    x = x.clone().requires_grad_()
    with HeldConstant():
        y = module(x)
    (gradient,) = torch.autograd.grad((y * torch.arange(y.numel()).reshape(y.shape)).sum(), x)
    return y.detach(), gradient


@pytest.mark.parametrize(
    ("module", "shape", "constant"),
    [
        (
            nn.GroupNorm(2, 4),
            (1, 4, 2, 2),
            lambda x: (
                x.reshape(1, 2, -1).var(2, unbiased=False).add(1e-5).sqrt().repeat_interleave(2, 1)[..., None, None]
            ),
        ),
        (nn.LayerNorm(6), (2, 6), lambda x: x.var(-1, unbiased=False, keepdim=True).add(1e-5).sqrt()),
    ],
)
def test_a_normalisation_is_linear_with_its_deviation_held(module: nn.Module, shape: tuple[int, ...], constant) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    x = torch.randn(shape, dtype=torch.double)
    y, gradient = held(x, module)
    torch.testing.assert_close(y, module(x).detach())
    scale = constant(x)

    def fixed(z: torch.Tensor) -> torch.Tensor:
        """The module at ``x`` with the deviation that it has there, by hand."""
        parts = z.reshape(1, 2, -1) if z.ndim == 4 else z
        centred = (parts - parts.mean(-1, keepdim=True)).reshape(z.shape) / scale
        weight, bias = (p.reshape((1, -1, 1, 1) if z.ndim == 4 else (1, -1)) for p in (module.weight, module.bias))
        out = centred * weight + bias
        return (out * torch.arange(out.numel()).reshape(out.shape)).sum().detach()

    torch.testing.assert_close(gradient, derivative(fixed, x), atol=1e-6, rtol=1e-5)


def test_attention_is_linear_in_its_values() -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True).double().eval()
    x = torch.randn(1, 5, 8, dtype=torch.double)

    class Self(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return attention(z, z, z, need_weights=False)[0]

    y, gradient = held(x, Self())
    torch.testing.assert_close(y, Self()(x).detach())

    def fixed(z: torch.Tensor) -> torch.Tensor:
        out = attention(x, x, z, need_weights=False)[0]
        return (out * torch.arange(out.numel()).reshape(out.shape)).sum().detach()

    torch.testing.assert_close(gradient, derivative(fixed, x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("module", [nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Hardswish()])
def test_relevance_passes_a_smooth_activation_whole(module: nn.Module) -> None:
    x = torch.tensor([-1.5, -0.2, 0.0, 0.7, 2.0], dtype=torch.double, requires_grad=True)
    with HeldConstant():
        y = module(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(y, module(x))
    torch.testing.assert_close(x * gradient, y)


def test_gates_are_held() -> None:
    x = torch.randn(6, requires_grad=True)
    with HeldConstant():
        (gradient,) = torch.autograd.grad((x * x.sigmoid()).sum(), x)
    torch.testing.assert_close(gradient, x.sigmoid())


def net(*, bias: bool) -> nn.Module:
    parts = [
        ("stem", nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=bias), nn.GroupNorm(1, 8), nn.ReLU())),
        ("last", nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, bias=bias), nn.GroupNorm(1, 8), nn.ReLU())),
        ("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())),
        ("head", nn.Linear(8, 3, bias=bias)),
    ]
    return nn.Sequential(OrderedDict(parts)).eval()


def test_relevances_sum_to_the_output_where_nothing_is_added() -> None:
    """Without biases; the input times the plain gradient sums to 0 on this architecture, whatever the output."""
    torch.manual_seed(0)
    module = net(bias=False)  # GroupNorm's own bias is zero at first
    model = classifier_of(module, ("a", "b", "c"), "none", image_size=16)
    images, rows, of = image_set(4).pixels[:, :16, :16], np.arange(4), np.array([0, 1, 2, 0])
    with torch.no_grad():
        logits = module(model.prepare(images))[np.arange(4), of].numpy()
    found = attribute(model, images, rows, Targets(of), "LRP-LN")[""]
    np.testing.assert_allclose(found.values.sum((1, 2)), logits, rtol=1e-3, atol=1e-5)
    plain = attribute(model, images, rows, Targets(of), "Input x gradient")[""]
    np.testing.assert_allclose(plain.values.sum((1, 2)), 0, atol=1e-3)


def test_without_normalisation_it_is_captums_lrp() -> None:
    torch.manual_seed(0)
    model = Classifier(Plain().eval(), ("a", "b", "c"), (0.5,) * 3, (0.25,) * 3, 32, {})
    images, rows, targets = image_set(3).pixels, np.arange(3), Targets(np.array([0, 1, 2]))
    ours, theirs = (attribute(model, images, rows, targets, name)[""].values for name in ("LRP-LN", "LRP"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


def test_contrasts_are_differences_and_the_model_is_as_it_was() -> None:
    model, images, rows = classifier(), image_set(2).pixels, np.arange(2)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    one, other = (attribute(model, images, rows, Targets(np.full(2, k)), "lrp-ln")[""].values for k in (1, 2))
    both = attribute(model, images, rows, Targets(np.full(2, 1), np.full(2, 2)), "lrp-ln")[""].values
    np.testing.assert_allclose(both, one - other, atol=1e-5 * np.abs(one).max())
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert all(parameter.grad is None for parameter in model.module.parameters())


def test_a_vision_transformer_has_relevances() -> None:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    module = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3).eval()
    nn.init.normal_(module.heads.head.weight)  # it begins at zero
    model = classifier_of(module, ("a", "b", "c"), "none", image_size=32)
    images, rows = image_set(2).pixels, np.arange(2)
    found = attribute(model, images, rows, Targets(np.array([0, 1])), "LRP-LN")[""].values
    plain = attribute(model, images, rows, Targets(np.array([0, 1])), "Input x gradient")[""].values
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0
    assert np.abs(found - plain).max() > 0.01 * np.abs(plain).max()


def test_a_model_that_ends_in_a_softmax_is_refused() -> None:
    module = nn.Sequential(*net(bias=True), nn.Softmax(1)).eval()
    model = Classifier(module, ("a", "b", "c"), (0.5,) * 3, (0.25,) * 3, 32, {})
    with pytest.raises(AttributionError, match="give a model that returns logits"):
        attribute(model, image_set(1).pixels, np.arange(1), Targets(np.zeros(1, np.int64)), "LRP-LN")


def by_rule(layer: nn.Linear, x: np.ndarray, relevance: np.ndarray, gamma: float, epsilon: float) -> np.ndarray:
    """Relevance of a linear layer's inputs by the gamma and epsilon rules, written out term by term."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    terms = np.concatenate([weight * x, bias[:, None]], axis=1)  # (out, in + 1)
    found = np.zeros(len(x))
    scale = epsilon * np.sqrt(np.square(terms.sum(1)).mean())
    for row, share in zip(terms, relevance, strict=True):
        own = np.maximum(np.sign(row.sum()) * row, 0) * np.sign(row.sum())
        counted = row + gamma * own
        kept = abs(row.sum()) / (abs(row.sum()) + scale)
        found += share * kept * counted[:-1] / counted.sum()
    return found


@pytest.mark.parametrize(("gamma", "epsilon"), [(0.0, 0.0), (0.25, 0.0), (0.0, 0.1), (0.5, 0.05)])
def test_the_rules_are_those_of_their_papers(gamma: float, epsilon: float) -> None:
    torch.manual_seed(3)
    first, second = nn.Linear(7, 6).double(), nn.Linear(6, 4).double()
    x = torch.randn(1, 7, dtype=torch.double, requires_grad=True)
    with HeldConstant(gamma, epsilon):
        y = second(first(x).relu())
    torch.testing.assert_close(y, second(first(x).relu()))
    (gradient,) = torch.autograd.grad(y[0, 2], x)
    hidden = first(x).relu()[0].detach().numpy()
    start = np.zeros(4)
    start[2] = float(y[0, 2])
    middle = by_rule(second, hidden, start, gamma, epsilon)
    expected = by_rule(first, x[0].detach().numpy(), middle, gamma, epsilon)
    np.testing.assert_allclose((x * gradient)[0].detach().numpy(), expected, rtol=1e-6, atol=1e-9)


def test_the_rules_of_convolutions_are_those_of_the_same_linear_layer() -> None:
    torch.manual_seed(4)
    convolution = nn.Conv2d(2, 3, 3, padding=1, stride=2)
    x = torch.randn(1, 2, 4, 4)
    with torch.no_grad():
        columns = torch.stack([convolution(one.reshape(1, 2, 4, 4)).ravel() for one in torch.eye(32)], 1)
        bias = convolution(torch.zeros(1, 2, 4, 4)).ravel()
    linear = nn.Linear(32, len(bias))
    linear.weight.data, linear.bias.data = columns - bias[:, None], bias
    leaves = [x.clone().requires_grad_(), x.reshape(1, -1).clone().requires_grad_()]
    with HeldConstant(0.3, 0.02):
        sums = [(module(leaf) ** 2).sum() for module, leaf in zip((convolution, linear), leaves, strict=True)]
    one, other = (torch.autograd.grad(value, leaf)[0] for value, leaf in zip(sums, leaves, strict=True))
    torch.testing.assert_close(one.ravel(), other.ravel(), rtol=1e-4, atol=1e-5)


def test_what_biases_take_is_told_and_held_against_no_map() -> None:
    torch.manual_seed(0)
    images, of = image_set().pixels[:3], Targets(np.array([0, 1, 2]))
    for bias in (False, True):
        c = Classifier(net(bias=bias), ("a", "b", "c"), (0.5,) * 3, (0.25,) * 3, 32, {})
        found = attribute(c, images, np.arange(3), of, "LRP-LN")[""]
        assert found.residual is not None
        assert (found.residual.max() < 1e-3) != bias


def test_rules_that_would_not_reach_all_layers_are_refused() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(1, 5, 8)
    with (
        HeldConstant(gamma=0.1),
        pytest.raises(AttributionError, match="inside nn.MultiheadAttention.*leave them at 0"),
    ):
        attention(x, x, x, need_weights=True)
