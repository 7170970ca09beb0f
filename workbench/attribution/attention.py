"""Maps from the attention of transformers: which patches the answer's tokens read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from workbench.attribution.batch import Batch
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier


def rollout(classifier: Classifier, batch: Batch, _: dict[str, Any]) -> tuple[Tensor, None]:
    """Attention rollout ``(n, rows, columns)``: attention multiplied from block to block (Abnar & Zuidema 2020).

    Heads are averaged, half of each token is its own (the residual branch), and the rows are those of the tokens that
    the answer is read from. It explains no class.
    """
    weights, slopes = _weights_and_slopes(classifier, batch)
    mixed = torch.eye(weights[0].shape[-1], device=batch.x.device)
    with torch.autocast(batch.x.device.type, enabled=False):
        for weight in weights:
            mean = weight.detach().float().mean(1)
            own = (mean + torch.eye(mean.shape[-1], device=mean.device)) / 2
            mixed = own / own.sum(-1, keepdim=True) @ mixed
        return _of_patches(classifier, mixed, slopes[-1]), None


def gradient_weighted(classifier: Classifier, batch: Batch, _: dict[str, Any]) -> tuple[Tensor, None]:
    """Attention times its gradient, cut off at 0, summed over blocks ``(n, rows, columns)`` (Chefer et al. 2021).

    Equations 5 and 6 of arXiv 2103.15679 for self-attention: the relevance of tokens for tokens begins as the identity,
    and each block adds its heads' mean of attention times gradient, where positive, times the relevance so far.
    """
    weights, slopes = _weights_and_slopes(classifier, batch)
    relevance = torch.eye(weights[0].shape[-1], device=batch.x.device).expand(len(batch.x), -1, -1)
    with torch.autocast(batch.x.device.type, enabled=False):
        for weight, slope in zip(weights, slopes, strict=True):
            gain = (weight.detach().float() * slope.float()).clamp_min(0).mean(1)
            relevance = relevance + gain @ relevance
        return _of_patches(classifier, relevance, slopes[-1]), None


def _weights_and_slopes(classifier: Classifier, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """Attention of each block ``(n, heads, tokens, tokens)``, first to last, and the output's gradients there.

    Raises
    ------
    AttributionError
        If the model has no tokens of patches, or no attention over all of them.
    """
    last = classifier.last_layer
    if last is None or last.extra_tokens is None:
        raise AttributionError(
            "attention maps need a transformer over patches, and this model has none: take 'Grad-CAM'"
        )
    tokens = last.extra_tokens + last.grid[0] * last.grid[1]
    with torch.enable_grad(), Recorded() as recorded:
        # leaves of a graph even where the model's own parameters are frozen
        logits = classifier.module(batch.x.detach().requires_grad_())
    found = [weight for weight in recorded.weights if _heads(weight, len(batch.x)).shape[2:] == (tokens, tokens)]
    if not found:
        raise AttributionError(
            f"attention maps need blocks whose attention is over all {tokens} tokens, and this model has none that "
            "can be seen (attention within windows, or computed by compiled code): take 'Grad-CAM' or 'LRP-LN'"
        )
    slopes = torch.autograd.grad(batch.scored(logits.float()).sum(), found, allow_unused=True)
    pairs = [(w, torch.zeros_like(w) if slope is None else slope) for w, slope in zip(found, slopes, strict=True)]
    heads = [[_heads(one, len(batch.x)) for one in pair] for pair in pairs]
    return [weight for weight, _ in heads], [slope for _, slope in heads]


def _heads(weight: Tensor, count: int) -> Tensor:
    """Attention with its heads apart, ``(n, heads, tokens, tokens)``."""
    return weight if weight.ndim == 4 else weight.reshape(count, -1, *weight.shape[1:])


def _of_patches(classifier: Classifier, relevance: Tensor, slope: Tensor) -> Tensor:
    """What the tokens that the answer is read from take from each patch, ``(n, rows, columns)``.

    Behind the last attention each token goes alone: those read are the rows of that attention with a gradient, the
    class token's or all patches'.
    """
    last = classifier.last_layer
    assert last is not None  # as checked before
    assert last.extra_tokens is not None
    read = (slope.abs().amax((1, 3)) > 0).float()
    share = read / read.sum(1, keepdim=True).clamp_min(1)
    taken = torch.einsum("nt,ntp->np", share, relevance)[:, last.extra_tokens :]
    return taken.reshape(len(taken), *last.grid)


class Recorded(TorchFunctionMode):
    """Within it, attention is computed step by step, and its weights are kept in ``weights`` in the order of blocks.

    Torch's own attention (``scaled_dot_product_attention``, and ``multi_head_attention_forward`` of
    ``nn.MultiheadAttention``), and softmax over square matrices, as models that compute it themselves use.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == functional.scaled_dot_product_attention.__name__:
            return self._dot_product(*args, **kwargs)
        if name == functional.multi_head_attention_forward.__name__:
            return self._multi_head(*args, **kwargs)
        made = func(*args, **kwargs)
        if name == "softmax" and made.ndim in (3, 4) and made.shape[-1] == made.shape[-2]:
            self.weights.append(made)
        return made

    def _dot_product(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **_: Any,
    ) -> Tensor:
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            scores = scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), -torch.inf)
        if attn_mask is not None:
            bias = attn_mask
            scores = scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias
        weights = scores.softmax(-1)
        self.weights.append(weights)
        return weights @ value

    def _multi_head(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        embed_dim_to_check: int,
        num_heads: int,
        in_proj_weight: Tensor | None,
        in_proj_bias: Tensor | None,
        bias_k: Tensor | None,
        bias_v: Tensor | None,
        add_zero_attn: bool,
        dropout_p: float,
        out_proj_weight: Tensor,
        out_proj_bias: Tensor | None,
        training: bool = True,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        **more: Any,
    ) -> tuple[Tensor, Tensor | None]:
        plain = in_proj_weight is not None and bias_k is None and bias_v is None and not add_zero_attn
        if not plain or key_padding_mask is not None or attn_mask is not None or query.ndim != 3:
            raise AttributionError(
                "attention maps know nn.MultiheadAttention with one matrix for queries, keys and values, and without "
                "masks; this model's is another: take 'Grad-CAM' or 'LRP-LN'"
            )
        biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
        matrices = () if in_proj_weight is None else in_proj_weight.chunk(3)
        split: list[Tensor] = []
        for given, matrix, bias in zip((query, key, value), matrices, biases, strict=True):
            length, count = given.shape[:2]
            apart = functional.linear(given, matrix, bias).reshape(length, count, num_heads, -1)
            split.append(apart.permute(1, 2, 0, 3))
        mixed = self._dot_product(split[0], split[1], split[2])
        joined = mixed.permute(2, 0, 1, 3).flatten(2)
        out = functional.linear(joined, out_proj_weight, out_proj_bias)
        return out, (self.weights[-1].mean(1) if need_weights else None)
