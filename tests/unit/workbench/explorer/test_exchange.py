"""Files for other tools: what they hold, and that a reader which is not ours opens them."""

import base64
import io
import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tests.factories import classifier, image_set
from workbench.errors import DataError
from workbench.explorer.decisions import Decision
from workbench.explorer.exchange import config_of, label_studio, parquet
from workbench.models.predict import predict
from workbench.runs.run import Run


@pytest.fixture
def run() -> Run:
    images, model = image_set(12), classifier()
    return Run("tiny", predict(model, images), images, model)


def test_tasks_hold_the_picture_the_answer_and_what_was_decided(run: Run) -> None:
    ids = run.predictions.index[:3].tolist()
    classes = run.predictions.classes
    tasks = label_studio(run, ids, {ids[1]: Decision(("wrong label",), 2, "see")})
    picture = tasks[0]["data"]["image"].removeprefix("data:image/png;base64,")
    assert np.array_equal(Image.open(io.BytesIO(base64.b64decode(picture))), run.images.image(ids[0]))
    answer = tasks[0]["predictions"][0]
    place = run.predictions.position(ids[0])
    assert answer["result"][0]["value"]["choices"] == [classes[run.predictions.predicted[place]]]
    assert answer["score"] == pytest.approx(run.predictions.confidence[place])
    assert tasks[0]["annotations"] == []
    assert tasks[1]["annotations"][0]["result"][0]["value"]["choices"] == [classes[2]]
    confirmed = label_studio(run, ids[:1], {ids[0]: Decision(("label confirmed",))})[0]
    assert confirmed["annotations"][0]["result"][0]["value"]["choices"] == [classes[run.predictions.label[place]]]
    assert (tasks[1]["data"]["tags"], tasks[1]["data"]["note"]) == (["wrong label"], "see")
    json.dumps(tasks, allow_nan=False)
    assert config_of(run).count("<Choice value=") == len(classes)


def test_paths_stand_for_pictures_where_there_are_files(run: Run) -> None:
    ids = run.predictions.index
    named = run.predictions.join(pl.DataFrame({"index": ids, "path": [f"a/{k}.png" for k in ids]}))
    tasks = label_studio(Run("files", named), ids[:2], {})
    assert [task["data"]["image"] for task in tasks] == [f"a/{k}.png" for k in ids[:2]]


def test_parquet_has_pictures_and_names_of_classes(run: Run) -> None:
    ids = run.predictions.index[:4].tolist()
    frame = pl.read_parquet(io.BytesIO(parquet(run, ids, {ids[0]: Decision((), 1, "")})))
    classes, places = run.predictions.classes, [run.predictions.position(row) for row in ids]
    assert frame["index"].to_list() == ids
    assert frame["label"].to_list() == [classes[k] for k in run.predictions.label[places]]
    assert frame["corrected_label"].to_list() == [classes[1], None, None, None]
    assert frame.schema["image"] == pl.Struct({"bytes": pl.Binary, "path": pl.String})
    for place, row in enumerate(ids):
        assert np.array_equal(Image.open(io.BytesIO(frame["image"][place]["bytes"])), run.images.image(row))


def test_no_rows_too_many_or_no_images_are_refused(run: Run) -> None:
    for rows in ([], range(20_001)):
        with pytest.raises(DataError, match="1 to 20,000 rows"):
            label_studio(run, rows, {})
    bare = Run("bare", run.predictions)
    assert label_studio(bare, run.predictions.index[:1], {})[0]["data"]["image"] is None
    assert "image" not in pl.read_parquet(io.BytesIO(parquet(bare, run.predictions.index[:1], {}))).columns
