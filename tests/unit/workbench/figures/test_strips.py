from __future__ import annotations

import numpy as np

from tests.factories import image_set, predictions
from workbench.analysis.influence import Influence
from workbench.core.patches import Patch
from workbench.figures import concept_strips, train_strips


def test_a_patch_is_cut_by_its_shares() -> None:
    image = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
    patch = Patch(0, 0.25, 0.5, 0.5, 0.25, np.zeros((4, 4), np.float32))
    np.testing.assert_array_equal(patch.cut(image), image[2:6, 6:9])
    tiny = Patch(0, 0.99, 0.0, 0.01, 0.01, np.zeros((4, 4), np.float32))
    assert tiny.cut(image).shape == (1, 1, 3)


def test_the_strongest_concept_comes_first_with_its_patches() -> None:
    images = image_set(6)
    patches = [[Patch(row, 0.0, 0.0, 0.5, 0.5, np.ones((2, 2), np.float32)) for row in (k, k + 1)] for k in range(3)]
    figure = concept_strips(images, patches, [(0.1, 0.0, 0.2), (-0.5, -0.7, -0.3), (1.0, 0.8, 1.2)], "the lead")
    bars = [ax for ax in figure.axes if ax.get_ylabel()]
    assert [ax.get_ylabel() for ax in bars] == ["concept 3", "concept 1", "concept 2"]
    assert [ax.texts[0].get_text() for ax in bars] == ["+1.00", "+0.10", "−0.50"]
    pictures = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    np.testing.assert_array_equal(pictures[0], images.image(2)[:16, :16])
    assert len(pictures) == 6


def test_train_images_stand_beside_their_error() -> None:
    images, p = image_set(40), predictions(rows=40)
    errors = p.index[~p.correct][:2]
    strongest = np.tile(np.arange(6), (2, 1))
    scores = np.tile(np.linspace(3, 1, 6), (2, 1))
    places = [p.position(int(row)) for row in errors]
    found = Influence(errors, p.predicted[places], p.label[places], strongest, scores, strongest, -scores)
    figure = train_strips(images, p, found, p, images)
    shown = [ax for ax in figure.axes if ax.images]
    assert len(shown) == 2 * 6
    np.testing.assert_array_equal(shown[0].images[0].get_array(), images.image(int(errors[0])))
    assert shown[1].get_xlabel() == f"train: {p.classes[p.label[0]]}\n+3.0"
