from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.factories import classifier, data_set
from workbench.analysis.ood import distance
from workbench.core.records import ImageSet
from workbench.errors import DataError
from workbench.models.predict import predict
from workbench.runs.ood import out_of_distribution
from workbench.runs.run import Run


def images_of(seed: int, rows: int = 300) -> ImageSet:
    data = data_set(rows, "test", seed)
    return ImageSet(data.images, data.labels, data.classes, "test", data.fingerprint)


@pytest.fixture(scope="module")
def run() -> Run:
    model, images = classifier(), images_of(1)
    return Run("r", predict(model, images), images, model)


def test_images_alike_are_not_foreign_and_others_are(run: Run, tmp_path: Path) -> None:
    alike = out_of_distribution(run, images_of(2))
    for value, low, high in alike.shares.values():
        assert low <= value <= high
        assert value < 0.12
    for row in range(20):
        Image.fromarray(np.full((32, 32, 3), 12 * row, np.uint8)).save(tmp_path / f"{row:02}.png")
    other = out_of_distribution(run, tmp_path)
    assert other.shares["distance"][1] > 0.12
    assert other.table["path"].n_unique() == 20
    assert other.table["p_distance"].is_sorted()
    assert "more foreign by distance" in str(other)
    assert other.to_json()["reference"] == "the run's other rows"


def test_energy_is_that_of_the_models_logits(run: Run) -> None:
    new, model = images_of(3, 30), run.classifier
    assert model is not None
    found = out_of_distribution(run, new).table.sort("row")
    with torch.inference_mode():
        logits = model.module.eval()(model.prepare(np.asarray(new.pixels)))
    np.testing.assert_allclose(found["energy"], -torch.logsumexp(logits, 1).numpy(), atol=1e-4)


def test_distances_are_to_the_train_rows_where_there_are_some(run: Run) -> None:
    model = run.classifier
    assert model is not None
    train = predict(model, images_of(9))
    found = out_of_distribution(replace(run, train=train), images_of(9))
    np.testing.assert_allclose(
        found.table.sort("row")["distance"],
        distance(predict(model, images_of(9)).embedding, train.embedding),  # type: ignore[arg-type]
        atol=1e-6,
    )
    assert found.reference == "the train rows"


def test_what_is_missing_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a run with its images and a model"):
        out_of_distribution(replace(run, classifier=None), images_of(2))
    with pytest.raises(DataError, match="holds 0 folders"):
        out_of_distribution(run, tmp_path)
