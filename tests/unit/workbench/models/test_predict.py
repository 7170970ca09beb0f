from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories import classifier, image_set
from workbench import store
from workbench.errors import DataError, OutputError
from workbench.models import predict, sharding


def test_probabilities_equal_a_plain_forward_pass() -> None:
    c, images = classifier(), image_set()
    p = predict.predict(c, images, batch=5)
    x = torch.from_numpy(images.pixels / 255.0).permute(0, 3, 1, 2)
    x = (x - torch.tensor(c.mean)[:, None, None]) / torch.tensor(c.std)[:, None, None]
    with torch.no_grad():
        expected = c.module(x.float()).softmax(1).numpy()
        embedding = c.module.embed(x.float()).numpy()
    np.testing.assert_allclose(p.probability, expected, atol=1e-5)
    np.testing.assert_allclose(p.embedding, embedding, atol=1e-4)
    np.testing.assert_array_equal(p.predicted, expected.argmax(1))
    assert p.provenance.data == images.fingerprint


def test_bfloat16_is_near_and_says_so(tmp_path: Path) -> None:
    c, images = classifier(), image_set()
    exact, near = predict.predict(c, images), predict.predict(c, images, precision="bfloat16")
    assert (exact.provenance.precision, near.provenance.precision) == ("float32", "bfloat16")
    assert 0 < np.abs(exact.probability - near.probability).max() < 0.02
    sharding.predict_into(c, images, tmp_path, precision="bfloat16")
    np.testing.assert_array_equal(store.read(tmp_path).probability, near.probability)
    with pytest.raises(OutputError, match="--force"):
        sharding.predict_into(c, images, tmp_path)


def test_other_classes_are_refused() -> None:
    images = dataclasses.replace(image_set(), classes=("ant", "bee", "dodo"))
    with pytest.raises(DataError, match="2 of 3 of the images' names are the model's: 'dodo' is not"):
        predict.predict(classifier(), images)


def test_damaged_weights_are_noticed() -> None:
    c = classifier()
    with torch.no_grad():
        c.module.head.bias.fill_(torch.nan)
    with pytest.raises(DataError, match="not finite"):
        predict.predict(c, image_set())
