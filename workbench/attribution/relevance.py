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


def held_relevance(classifier: Classifier, batch: Batch, _: dict[str, Any]) -> tuple[Tensor, None]:
    """Relevance of each input value, ``(n, 3, h, w)``: the input times the gradient under `HeldConstant`.

    For a net of linear layers and ReLUs, relevance propagation with the basic rule, shared at every sum in proportion
    to its terms (Bach et al. 2015), is the input times the gradient (Ancona et al. 2018, arXiv 1711.06104). A
    normalisation divides by the deviation of all its inputs, which spreads relevance wrongly: held constant, it is
    linear, too (the LN-rule of Ali et al. 2022, arXiv 2202.07304), as is attention with its weights held constant
    (their AH-rule). Without biases relevances sum to the explained output; what biases add is no pixel's.
    """
    x = batch.x.detach().requires_grad_()
    with torch.enable_grad(), HeldConstant():
        explained = Scored(classifier.module)(x, *batch.extra)
        if not explained.requires_grad:
            raise AttributionError(
                "LRP-LN holds the weights of a softmax or sigmoid constant, and this model's whole output passes "
                "through one: give a model that returns logits, or take 'Input x gradient'"
            )
        (gradient,) = torch.autograd.grad(explained.sum(), x)
    return (x * gradient).detach(), None


class HeldConstant(TorchFunctionMode):
    """Within it, functions that scale their input by a factor of it have a gradient as if the factor were constant.

    Group, layer and root-mean-square normalisation: their deviation; smooth activations such as GELU: the ratio of
    output to input (the identity rule of Achtibat et al. 2024, arXiv 2402.05602); softmax, dot-product attention and
    sigmoid gates: the weights. Outputs are what they are without it; all else has its own gradient.
    """

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ):
        rule = _RULES.get(getattr(func, "__name__", ""))
        kwargs = kwargs or {}
        return func(*args, **kwargs) if rule is None else rule(func, *args, **kwargs)


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
