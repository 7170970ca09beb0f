from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.factories import classifier, image_set
from workbench.attribution.attention import Recorded
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier
from workbench.models.making import classifier_of

IMAGES, ROWS, OF = image_set().pixels[:2], np.arange(2), np.array([0, 2])
NAMES = ("a", "b", "c")


class Block(nn.Module):
    """Attention written out, with its softmax in sight."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm1 = heads, nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.seen: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (parts[0] @ parts[1].transpose(-2, -1) * parts.shape[-1] ** -0.5).softmax(-1)
        self.seen = weights
        return x + self.proj((weights @ parts[2]).transpose(1, 2).reshape(n, tokens, width))


class Small(nn.Module):
    """A vision transformer of two blocks over 4x4 patches, read from a class token or from the mean of patches."""

    def __init__(self, *, token: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 16)) if token else None
        self.blocks = nn.ModuleList([Block(16, 2), Block(16, 2), Block(16, 2)])
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.patch(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            z = torch.cat([self.token.expand(len(z), -1, -1), z], 1)
        for block in self.blocks:
            z = block(z)
        return self.head(z[:, 0] if self.token is not None else z.mean(1))


def small(*, token: bool) -> Classifier:
    return classifier_of(Small(token=token).eval(), NAMES, "half", image_size=32)


def by_hand(c: Classifier, place: int, of: int) -> tuple[np.ndarray, np.ndarray]:
    """Rollout and gradient-weighted attention of one image, written out block by block in float64."""
    model = c.module.get_submodule("module") if hasattr(c.module, "module") else c.module
    logits = c.module(c.prepare(IMAGES[place : place + 1]))
    weights = [block.seen for block in model.blocks]
    slopes = torch.autograd.grad(logits[0, of], weights)
    tokens = weights[0].shape[-1]
    rolled, relevance = np.eye(tokens), np.eye(tokens)
    for weight, slope in zip(weights, slopes, strict=True):
        heads, slope_of = weight[0].detach().double().numpy(), slope[0].double().numpy()
        rolled = (0.5 * heads.mean(0) + 0.5 * np.eye(tokens)) @ rolled
        relevance = relevance + np.maximum(heads * slope_of, 0).mean(0) @ relevance
    if tokens == 17:
        return rolled[0, 1:].reshape(4, 4), relevance[0, 1:].reshape(4, 4)
    return rolled.mean(0).reshape(4, 4), relevance.mean(0).reshape(4, 4)


@pytest.mark.parametrize("token", [True, False])
def test_both_are_what_their_papers_define(token: bool) -> None:
    c = small(token=token)
    rolled = attribute(c, IMAGES, ROWS, Targets(OF), "Attention rollout")[""].values
    weighted = attribute(c, IMAGES, ROWS, Targets(OF), "Gradient-weighted attention")[""].values
    for place, of in enumerate(OF):
        expected = by_hand(c, place, int(of))
        np.testing.assert_allclose(rolled[place], expected[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(weighted[place], expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("needs", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_torchs_attention_gives_what_it_gave(needs: bool, first: bool) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=first).eval()
    x = torch.randn(3, 5, 8)
    plain, known = attention(x, x, x, need_weights=True)
    with Recorded() as recorded:
        made, weights = attention(x, x, x, need_weights=needs)
    torch.testing.assert_close(made, plain)
    torch.testing.assert_close(recorded.weights[0].mean(1), known)
    assert (weights is not None) == needs


def test_dot_product_attention_gives_what_it_gave() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 2, 6, 4) for _ in range(3))
    mask = torch.rand(6, 6) > 0.3
    mask |= torch.eye(6, dtype=torch.bool)
    for options in ({}, {"is_causal": True}, {"attn_mask": mask}, {"attn_mask": torch.randn(6, 6)}, {"scale": 0.1}):
        plain = nn.functional.scaled_dot_product_attention(query, key, value, **options)
        with Recorded():
            made = nn.functional.scaled_dot_product_attention(query, key, value, **options)
        torch.testing.assert_close(made, plain, atol=1e-5, rtol=1e-4)


def test_models_of_two_libraries_have_both() -> None:
    import timm
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    theirs = VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=3).eval()
    with torch.no_grad():
        theirs.heads.head.weight.normal_()  # zero in a new model
    names = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 3}
    models = [theirs, timm.models.VisionTransformer(**names).eval()]
    models.append(timm.models.VisionTransformer(**names, global_pool="avg", class_token=False).eval())
    for model in models:
        c = classifier_of(model, NAMES, "half", image_size=32)
        for name in ("Attention rollout", "Gradient-weighted attention"):
            maps = attribute(c, IMAGES, ROWS, Targets(OF), name)[""].values
            assert maps.shape == (2, 4, 4)
            assert np.ptp(maps, axis=(1, 2)).min() > 0


def test_a_model_without_such_attention_is_refused_with_the_remedy() -> None:
    with pytest.raises(AttributionError, match="need a transformer over patches.*take 'Grad-CAM'"):
        attribute(classifier(), IMAGES, ROWS, Targets(OF), "Attention rollout")
    with pytest.raises(AttributionError, match="takes no contrast"):
        attribute(small(token=True), IMAGES, ROWS, Targets(OF, 1 - OF // 2), "Attention rollout")
