import numpy as np
import pytest
import torch

from tests.factories import classifier, image_set
from workbench.errors import AttributionError, DataError
from workbench.models.features import pooled_features


def test_features_are_the_layers_means_and_the_pass_stops_behind_it() -> None:
    model, images = classifier(), image_set(9)
    layer = next(iter(model.cam_layers))
    outputs, later = [], []
    handle = model.module.get_submodule(layer).register_forward_hook(lambda *a: outputs.append(a[2]))
    with torch.inference_mode():
        model.module(model.prepare(np.asarray(images.pixels)))
    handle.remove()
    handle = model.module.get_submodule("head").register_forward_hook(lambda *a: later.append(a))
    rows = np.array([4, 1, 8])
    found = pooled_features(model, images, layer, rows)
    handle.remove()
    np.testing.assert_allclose(found, outputs[0].mean((2, 3)).numpy()[rows], atol=1e-5)
    assert all(len(one[1][0]) != len(rows) for one in later)  # what it costs was measured with one image
    with pytest.raises(AttributionError, match="expected a layer of"):
        pooled_features(model, images, "layer9")


def test_features_that_are_not_finite_are_refused() -> None:
    model = classifier()
    with torch.no_grad():
        next(model.module.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        pooled_features(model, image_set(4), next(iter(model.cam_layers)))
