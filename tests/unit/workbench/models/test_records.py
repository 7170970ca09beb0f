"""Models as transformers has them: records with named outputs, a configuration, hooks that they install themselves."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.errors import DataError
from workbench.models.hooks import preserve
from workbench.models.making import classifier_of

CLASSES = ("a", "b", "c")


class Named(nn.Module):
    """A small net whose answer is a record."""

    def __init__(self, classes: int = 3, size: int = 24) -> None:
        super().__init__()
        self.config = types.SimpleNamespace(image_size=size)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU())
        self.head = nn.Linear(6, classes)

    def scores(self, pixel_values: Tensor) -> Tensor:
        return self.head(self.body(pixel_values).mean((2, 3)))

    def forward(self, pixel_values: Tensor) -> Any:
        return types.SimpleNamespace(logits=self.scores(pixel_values))


class Zeros(Named):
    def scores(self, pixel_values: Tensor) -> Tensor:
        return super().scores(pixel_values).sigmoid()  # all in 0 to 1, and no probabilities


class Remembering(Named):
    """Registers its hooks at its first run and remembers that it did, as transformers records hidden states."""

    installed = False

    def forward(self, pixel_values: Tensor) -> Any:
        kept: list[Tensor] = []
        self.kept = kept
        if not self.installed:
            self.body[2].register_forward_hook(lambda _, __, output: self.kept.append(output))
            self.installed = True
        self.body(pixel_values)
        return {"logits": self.head(torch.cat(self.kept).relu().mean((2, 3)))}


def test_the_configuration_says_the_size_and_logits_are_logits() -> None:
    model = classifier_of(Zeros(), CLASSES, "half")
    assert model.size == (24, 24)
    x = torch.rand(2, 3, 24, 24)
    torch.testing.assert_close(model.module(x), Zeros.scores(model.module.module, x))


def of_attributes(scores: Tensor) -> Any:
    return types.SimpleNamespace(logits=scores)


def of_keys(scores: Tensor) -> Any:
    return {"logits": scores}


@pytest.mark.parametrize("give", [of_attributes, of_keys])
def test_the_count_of_classes_is_compared(give: Any) -> None:
    class Answering(Named):
        def forward(self, pixel_values: Tensor) -> Any:
            return give(self.scores(pixel_values))

    with pytest.raises(DataError, match=r"gives \(n, 3\) where 2 classes are named"):
        classifier_of(Answering(), CLASSES[:2], "half")


def test_hooks_of_the_model_stay_and_ours_go() -> None:
    module = Remembering().eval()
    x = torch.rand(2, 3, 24, 24)
    model = classifier_of(module, CLASSES, "half")
    wanted = Named.scores(module, x)
    for answer in (module(x)["logits"], model.module(x), module(x)["logits"]):
        torch.testing.assert_close(answer, wanted)
    before = {name: list(part._forward_hooks) for name, part in module.named_modules()}
    with preserve(module):
        module.head.register_forward_hook(lambda *_: None)
        module.head._forward_hooks[10**9] = classifier_of  # as one of this package
    after = {name: list(part._forward_hooks) for name, part in module.named_modules()}
    assert 10**9 not in after["head"]
    assert len(after["head"]) == len(before["head"]) + 1  # what a model, or its user, registers stays


def test_layers_have_the_names_of_the_user() -> None:
    module = Named()
    model = classifier_of(module, CLASSES, "half")
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3)).astype(np.uint8)
    wanted = Targets(np.array([0, 1]))
    own = attribute(model, images, np.arange(2), wanted, "Grad-CAM", layers=["body.2"])
    inside = attribute(model, images, np.arange(2), wanted, "Grad-CAM", layers=["module.body.2"])
    assert (list(own), list(inside)) == (["body.2"], ["module.body.2"])
    np.testing.assert_array_equal(own["body.2"].values, inside["module.body.2"].values)


def test_an_image_processor_is_a_transform() -> None:
    def process(image: Image.Image) -> dict[str, list[np.ndarray]]:
        pixels = np.asarray(image.resize((24, 24), Image.Resampling.BILINEAR), np.float32)
        return {"pixel_values": [(pixels / 255 - 0.5).transpose(2, 0, 1) / 0.5]}

    model = classifier_of(Named(), CLASSES, process)
    image = np.random.default_rng(0).integers(0, 256, (60, 48, 3)).astype(np.uint8)
    assert model.fit is not None
    fed = model.prepare(model.fit(image)[None])[0].numpy()
    np.testing.assert_allclose(fed, process(Image.fromarray(image))["pixel_values"][0], atol=0.01)
