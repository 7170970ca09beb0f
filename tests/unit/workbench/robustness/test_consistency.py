import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from tests.factories import classifier, image_set
from workbench.analysis.compare import compare
from workbench.core.predictions import Predictions
from workbench.errors import DataError
from workbench.models.predict import predict
from workbench.robustness.changes import Change, apply
from workbench.robustness.consistency import consistency, usual_changes


class _Left(nn.Module):
    """Ant where the left half is brighter, bee where the right one is, and surer the larger the difference."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gap = x[..., :16].mean((1, 2, 3)) - x[..., 16:].mean((1, 2, 3))
        return torch.stack([gap, -gap, torch.full_like(gap, -9.0)], 1)


def test_the_mean_is_that_over_the_changed_copies() -> None:
    images, model = image_set(40), classifier()
    predictions = predict(model, images)
    changes = usual_changes(32)
    found = consistency(model, images, predictions, changes=changes)
    copies = [np.stack([apply(images.image(row), change) for row in images.rows]) for change in changes]
    shares = [predict(model, type(images)(copy, images.labels, images.classes, "test", "0")) for copy in copies]
    mean = np.mean([one.probability for one in (predictions, *shares)], 0)
    assert (found.after == mean.argmax(1)).all()
    assert (found.before == predictions.predicted).all()
    after = compare(predictions, Predictions.from_arrays(images.labels, mean, images.classes))
    assert (found.fixed, found.broken) == (after.fixed, after.broken)
    assert found.gain == pytest.approx((after.difference, after.low, after.high))
    assert found.p_value == pytest.approx(after.test.exact)
    alike = np.all([one.predicted == predictions.predicted for one in shares], 0).mean()
    assert found.unanimous.mean() == pytest.approx(alike)
    assert found.passes == 6
    assert "at 6 times the cost" in str(found)
    assert found.to_json()["changes"][0] == "Change(flip=True)"


def test_a_flip_confuses_what_tells_left_from_right() -> None:
    images, model = image_set(30), dataclasses.replace(classifier(), module=_Left(), embedding_layer=None)
    predictions = predict(model, images)
    found = consistency(model, images, predictions, changes=[Change(flip=True)])
    assert not found.unanimous.any()
    assert consistency(model, images, predictions, changes=[Change(hue=1)]).unanimous.mean() > 0.9


def test_shifts_grow_with_the_image() -> None:
    assert usual_changes(32)[1].shift == (2, 0)
    assert usual_changes(224)[4].shift == (0, -14)
    assert usual_changes(8)[1].shift == (1, 0)


@pytest.mark.parametrize(("rows", "changes"), [([], None), ([0], [])])
def test_bad_input_is_refused(rows, changes) -> None:
    images, model = image_set(12), classifier()
    with pytest.raises(DataError, match="expected rows and changes"):
        consistency(model, images, predict(model, images), np.array(rows, np.int64), changes=changes)
