"""Predictions, maps and evidence on a GPU equal those on a CPU; these run where a GPU is."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from tests.factories import classifier, image_set
from workbench.attribution.attribute import attribute
from workbench.attribution.exact import class_maps
from workbench.attribution.registry import methods
from workbench.attribution.targets import Targets
from workbench.evidence.cells import cell_effects, evidence_grid
from workbench.models.classifier import Classifier
from workbench.models.predict import predict

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
ROWS = np.arange(4)
TARGETS = Targets(np.array([0, 1, 2, 0]))


@pytest.fixture(scope="module")
def pair() -> tuple[Classifier, Classifier]:
    """The same model on both devices."""
    own = classifier()
    return own, dataclasses.replace(own, module=copy.deepcopy(own.module).cuda())


def test_predictions(pair: tuple[Classifier, Classifier]) -> None:
    one, two = (predict(each, image_set()) for each in pair)
    np.testing.assert_allclose(one.probability, two.probability, atol=1e-3)
    np.testing.assert_allclose(one.embedding, two.embedding, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", [name for name, m in methods().items() if m.family != "attention" and name != "LRP"])
def test_maps(pair: tuple[Classifier, Classifier], name: str) -> None:
    pixels = image_set().stack(ROWS)
    models = [dataclasses.replace(each, references=pixels) for each in pair]  # for expected gradients
    one, two = (next(iter(attribute(each, pixels, ROWS, TARGETS, name).values())).values for each in models)
    if name in ("SmoothGrad", "GradientSHAP", "Expected gradients"):  # noise is drawn on the device
        assert np.isfinite(two).all()
    else:
        np.testing.assert_allclose(one, two, rtol=2e-2, atol=2e-3 * np.abs(one).max())


def test_maps_of_all_classes_and_effects_of_cells(pair: tuple[Classifier, Classifier]) -> None:
    pixels = image_set().stack(ROWS)
    one, two = (class_maps(each, pixels).values for each in pair)
    np.testing.assert_allclose(one, two, rtol=2e-2, atol=2e-3 * np.abs(one).max())
    grid = evidence_grid(pair[0])
    assert evidence_grid(pair[1]) == grid
    effects = [cell_effects(each, pixels, ROWS, TARGETS, grid, blocks=2) for each in pair]
    assert (effects[0].shown == effects[1].shown).all()
    for substrate, differences in effects[0].differences.items():
        np.testing.assert_allclose(differences, effects[1].differences[substrate], atol=2e-3)
