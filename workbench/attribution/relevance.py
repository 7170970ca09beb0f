"""Layer-wise relevance propagation through normalised nets and transformers: what only scales is held constant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from workbench.attribution.batch import Batch, Scored
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier

_SMALL = 1e-6
_LINEAR = ("conv1d", "conv2d", "conv3d", "linear")


def held_relevance(classifier: Classifier, batch: Batch, settings: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Relevance of each input value, ``(n, 3, h, w)``: the input times the gradient under `HeldConstant`; the output.

    For a net of linear layers and ReLUs, relevance propagation with the basic rule, shared at every sum in proportion
    to its terms (Bach et al. 2015), is the input times the gradient (Ancona et al. 2018, arXiv 1711.06104). A
    normalisation divides by the deviation of all its inputs, which spreads relevance wrongly: held constant, it is
    linear, too (the LN-rule of Ali et al. 2022, arXiv 2202.07304), as is attention with its weights held constant
    (their AH-rule). Without biases, and with an epsilon of 0, relevances sum to the explained output; what biases add
    and epsilon takes is no pixel's, and the completeness error tells how much that is.
    """
    x = batch.x.detach().requires_grad_()
    with torch.enable_grad(), HeldConstant(settings["gamma"], settings["epsilon"]):
        explained = Scored(classifier.module)(x, *batch.extra)
        if not explained.requires_grad:
            raise AttributionError(
                "LRP-LN holds the weights of a softmax or sigmoid constant, and this model's whole output passes "
                "through one: give a model that returns logits, or take 'Input x gradient'"
            )
        (gradient,) = torch.autograd.grad(explained.sum(), x)
    return (x * gradient).detach(), explained.detach()


class HeldConstant(TorchFunctionMode):
    """Within it, functions that scale their input by a factor of it have a gradient as if the factor were constant.

    Group, layer and root-mean-square normalisation: their deviation; smooth activations such as GELU: the ratio of
    output to input (the identity rule of Achtibat et al. 2024, arXiv 2402.05602); softmax, dot-product attention and
    sigmoid gates: the weights. Outputs are what they are without it; all else has its own gradient.

    Parameters
    ----------
    gamma : float, 0 or more
        Convolutions and linear layers favour, by the share ``1 + gamma``, terms of the sign of their sum (the gamma
        rule of Montavon et al. 2019, doi 10.1007/978-3-030-28954-6_10, generalised to inputs and sums of either sign);
        0 is the basic rule.
    epsilon : float, 0 or more
        Sums that are small against ``epsilon`` times the root mean square of their layer's output keep their relevance
        (the epsilon rule of Bach et al. 2015, with its constant relative to the layer); 0 passes all of it on.
    """

    def __init__(self, gamma: float = 0.0, epsilon: float = 0.0) -> None:
        super().__init__()
        self.gamma, self.epsilon = gamma, epsilon

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ):
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in _LINEAR:
            made = func(*args, **kwargs)
            made = _favoured(func, made, self.gamma, *args, **kwargs) if self.gamma else made
            return _stabilised(made, self.epsilon) if self.epsilon else made
        if name == functional.multi_head_attention_forward.__name__ and (self.gamma or self.epsilon):
            raise AttributionError(
                "LRP-LN: gamma and epsilon do not reach the projections inside nn.MultiheadAttention, which this model "
                "has: leave them at 0"
            )
        rule = _RULES.get(name)
        return func(*args, **kwargs) if rule is None else rule(func, *args, **kwargs)


def _favoured(
    func: Callable[..., Tensor],
    sums: Tensor,
    gamma: float,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """The sums of a linear layer, with the gradient of sums in which terms of their own sign count ``1 + gamma``."""

    def with_more(of_up: Tensor, of_down: Tensor, offset: Tensor | None) -> Tensor:
        up = func(x.clamp_min(0), weight + gamma * of_up, None, *args, **kwargs)
        down = func(x.clamp_max(0), weight + gamma * of_down, None, *args, **kwargs)
        if offset is None:
            return up + down
        return up + down + offset.reshape(-1, *(1,) * (up.ndim - 2 if func.__name__ != "linear" else 0))

    high, low = weight.clamp_min(0), weight.clamp_max(0)
    offsets = (None, None) if bias is None else (bias + gamma * bias.clamp_min(0), bias + gamma * bias.clamp_max(0))
    whole = torch.where(sums > 0, with_more(high, low, offsets[0]), with_more(low, high, offsets[1]))
    far = whole.abs() > _SMALL
    ratio = (sums / torch.where(far, whole, torch.ones_like(whole))).detach()
    return torch.where(far, whole * ratio, sums)


def _stabilised(sums: Tensor, epsilon: float) -> Tensor:
    """The same values; the gradient is less where they are small."""
    size = sums.detach().abs()
    scale = epsilon * size.square().flatten(1).mean(1).sqrt().reshape(-1, *(1,) * (sums.ndim - 1))
    share = size / (size + scale).clamp_min(torch.finfo(sums.dtype).tiny)
    return sums * share + (sums * (1 - share)).detach()


def _group_norm(
    _: Any,
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *__: Any,
) -> Tensor:
    parts = x.reshape(len(x), num_groups, -1)
    scaled = _over_deviation(parts, (2,), eps).reshape(x.shape)
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return _affine(scaled, *(one if one is None else one.reshape(shape) for one in (weight, bias)))


def _layer_norm(
    _: Any,
    x: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *__: Any,
) -> Tensor:
    return _affine(_over_deviation(x, tuple(range(-len(normalized_shape), 0)), eps), weight, bias)


def _rms_norm(
    _: Any, x: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    size = x.square().mean(tuple(range(-len(normalized_shape), 0)), keepdim=True).add(eps).sqrt().detach()
    return _affine(x / size, weight, None)


def _over_deviation(x: Tensor, over: tuple[int, ...], eps: float) -> Tensor:
    deviation = x.var(over, unbiased=False, keepdim=True).add(eps).sqrt().detach()
    return (x - x.mean(over, keepdim=True)) / deviation


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _ratio(func: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Output as input times their ratio, which is held constant; near 0 the function's own gradient stays."""
    kwargs.pop("inplace", None)
    y = func(x, *args, **kwargs)
    far = x.abs() > _SMALL
    ratio = (y / torch.where(far, x, torch.ones_like(x))).detach()
    return torch.where(far, x * ratio, y)


def _weights(func: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    return func(*args, **kwargs).detach()


def _attention(func: Callable[..., Tensor], query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return func(query.detach(), key.detach(), *args, **kwargs)


_RULES: Mapping[str, Callable[..., Tensor]] = {
    functional.group_norm.__name__: _group_norm,
    functional.layer_norm.__name__: _layer_norm,
    "rms_norm": _rms_norm,
    functional.scaled_dot_product_attention.__name__: _attention,
    functional.multi_head_attention_forward.__name__: _attention,
    **dict.fromkeys(("gelu", "silu", "mish", "hardswish", "elu", "tanh"), _ratio),
    **dict.fromkeys(("softmax", "sigmoid", "hardsigmoid"), _weights),
}
