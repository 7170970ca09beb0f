import dataclasses

import numpy as np
import pytest

from tests.factories import CLASSES, classifier, image_set
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.core.records import VERDICTS
from workbench.errors import AttributionError, DataError
from workbench.explorer.explain import explain
from workbench.explorer.judge import Judge
from workbench.models.predict import predict
from workbench.runs.run import Run


@pytest.fixture(scope="module")
def run() -> Run:
    images, model = image_set(60), classifier()
    return Run("tiny", predict(model, images), images, model)


def wrong_row(run: Run) -> int:
    return int(run.predictions.index[~run.predictions.correct][0])


def test_every_method_layer_and_target_has_its_map(run: Run) -> None:
    row = wrong_row(run)
    place = run.predictions.position(row)
    predicted, true = int(run.predictions.predicted[place]), int(run.predictions.label[place])
    found = explain(run, row, ["Grad-CAM", "Saliency"], ["stage3", "stage4"], ["predicted", "true", "contrast"])
    assert [(e.method, e.layer, e.target) for e in found] == [
        *(("Grad-CAM", layer, t) for layer in ("stage3", "stage4") for t in ("predicted", "true", "contrast")),
        *(("Saliency", "", t) for t in ("predicted", "true", "contrast")),
    ]
    assert found[0].title == f"{CLASSES[predicted]} (predicted)"
    assert found[2].title == f"{CLASSES[predicted]} rather than {CLASSES[true]}"
    pixels, rows = run.images.pixels[[row]], np.array([row])  # type: ignore[union-attr]
    model = run.classifier
    lead = Targets(np.array([predicted]), np.array([true]))
    alone = attribute(model, pixels, rows, lead, layers=["stage3"])  # type: ignore[arg-type]
    assert np.allclose(found[2].attribution.values, alone["stage3"].values, atol=1e-6)  # type: ignore[union-attr]


def test_one_class_is_explained_once(run: Run) -> None:
    row = int(run.predictions.index[run.predictions.correct][0])
    found = explain(run, row, ["Grad-CAM"], [], ["predicted", "true", "contrast", CLASSES[0], CLASSES[1], CLASSES[2]])
    assert len(found) == 3
    assert found[0].title.endswith("(predicted and true)")


def test_a_refusal_is_said_in_place_of_the_map(run: Run) -> None:
    found = explain(run, wrong_row(run), ["LRP", "Grad-CAM"], [], ["predicted"])
    assert found[0].attribution is None
    assert found[0].refused
    assert found[1].attribution is not None


def test_what_is_missing_is_named(run: Run) -> None:
    with pytest.raises(DataError, match="images are not on this machine"):
        explain(dataclasses.replace(run, images=None), 0, ["Grad-CAM"], [], ["true"])
    with pytest.raises(DataError, match="model is not on this machine"):
        explain(dataclasses.replace(run, classifier=None), 0, ["Grad-CAM"], [], ["true"])
    with pytest.raises(AttributionError, match="expected one of predicted, true, contrast, "):
        explain(run, 0, ["Grad-CAM"], [], ["unicorn"])


def test_a_judge_gives_verdicts_and_leaves_the_model_alone(run: Run) -> None:
    judge = Judge(run)
    assert judge.classifier.module is not run.classifier.module  # type: ignore[union-attr]
    (explained,) = explain(run, wrong_row(run), ["Grad-CAM"], [], ["predicted"])
    heard: list[tuple[int, str, str]] = []
    judge.verdicts(wrong_row(run), [explained], lambda *said: heard.append(said))
    assert {place for place, _, _ in heard} == {0}
    assert heard[-1][1] in VERDICTS
    assert "sanity check" in heard[-1][2]
    assert judge.seconds(["Grad-CAM"], [], 2) > 0
