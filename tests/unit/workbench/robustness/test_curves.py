import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.factories import classifier, image_set
from workbench.core.predictions import Predictions
from workbench.core.records import Provenance
from workbench.errors import DataError
from workbench.models.predict import predict
from workbench.robustness.changes import probabilities
from workbench.robustness.corruptions import CORRUPTIONS, corrupt
from workbench.robustness.curves import ANSWERS, ORIGIN, Corruptions, accuracy_curves, mean_corruption_error

NAMES = ("fog", "jpeg")


def measured(folder: Path, **options) -> Corruptions:
    images = image_set(60)
    rows = options.pop("rows", images.rows[::2])
    return Corruptions(classifier(), images, rows, folder, **{"names": NAMES, **options})


def test_answers_are_those_of_each_corrupted_image(tmp_path: Path) -> None:
    parts, images = measured(tmp_path), image_set(60)
    parts.measure()
    assert parts.missing == 0
    table = parts.answers()
    assert len(table) == 30 * (1 + 2 * 5)
    clean = table.filter(pl.col("corruption") == "none")
    assert (clean["predicted"].to_numpy() == predict(classifier(), images).predicted[::2]).all()
    seed = (0, list(CORRUPTIONS).index("fog"), 4)
    one = corrupt(images.image(4), "fog", 3, seed)
    [answer] = probabilities(classifier(), one[None]).argmax(1)
    row = table.filter(pl.col("corruption") == "fog", pl.col("strength") == 3, pl.col("index") == 4)
    assert row["predicted"].item() == answer


def test_parts_resume_and_processes_share_them(tmp_path: Path) -> None:
    whole = measured(tmp_path / "whole")
    whole.measure()
    shared = measured(tmp_path / "shared")
    told: list[tuple[int, int]] = []
    shared.measure(rank=0, world=2, progress=lambda *both: told.append(both))
    assert told[-1] == (6, 6)
    assert shared.missing == 5
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "shared" / ANSWERS).glob("*.parquet")}
    shared.measure(rank=1, world=2)
    assert shared.missing == 0
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert shared.answers().equals(whole.answers())


def test_parts_of_another_model_are_refused(tmp_path: Path) -> None:
    measured(tmp_path).measure()
    with pytest.raises(DataError, match="answers of another seed"):
        measured(tmp_path, seed=1).measure()
    assert (tmp_path / ANSWERS / ORIGIN).is_file()
    with pytest.raises(DataError, match="answers of another checkpoint"):
        named = dataclasses.replace(classifier(), provenance=Provenance(checkpoint="a" * 64))
        dataclasses.replace(measured(tmp_path), classifier=named).measure()


def test_photos_are_read_once_for_all_corruptions(tmp_path: Path) -> None:
    images, read = image_set(60), []

    class Photos:
        def __len__(self) -> int:
            return 60

        def __getitem__(self, place: int) -> np.ndarray:
            read.append(place)
            return images.pixels[place]

    parts = dataclasses.replace(measured(tmp_path), images=dataclasses.replace(images, pixels=Photos()))
    parts.measure()
    assert sorted(read) == list(range(0, 60, 2))
    plain = measured(tmp_path / "plain")
    plain.measure()
    assert parts.answers().equals(plain.answers())


def answers(predicted: np.ndarray) -> pl.DataFrame:
    """Two corruptions whose answers get worse with the strength; ``predicted`` are the clean ones."""
    rows = range(len(predicted))
    parts = [pl.DataFrame({"corruption": "none", "strength": 0, "index": rows, "predicted": predicted})]
    for name, share in (("fog", 0.1), ("jpeg", 0.02)):
        for strength in range(1, 6):
            wrong = predicted.copy()
            wrong[: round(share * strength * len(wrong))] = 3
            parts.append(pl.DataFrame({"corruption": name, "strength": strength, "index": rows, "predicted": wrong}))
    return pl.concat(parts)


def test_curves_count_all_classes_and_groups() -> None:
    label = np.random.default_rng(0).permutation(np.arange(200) % 3)
    predictions = Predictions.from_arrays(label, np.eye(4)[label], ("a", "b", "c", "d"))
    group = np.arange(30)
    frame = accuracy_curves(answers(label), predictions, {"first": group, "few": np.arange(5)})
    assert set(frame["group"]) == {"all", "a", "b", "c", "first"}
    fog = frame.filter(pl.col("corruption") == "fog", pl.col("strength") == 2)
    of = dict(fog.select("group", "accuracy").iter_rows())
    assert of["all"] == pytest.approx(1 - 40 / 200)
    assert of["first"] == 0
    assert of["a"] == pytest.approx((label[40:] == 0).sum() / (label == 0).sum())
    assert (frame["low"] <= frame["accuracy"]).all()
    assert (frame["accuracy"] <= frame["high"]).all()


def test_mean_corruption_error_is_the_mean_over_all_cells() -> None:
    label = np.arange(200) % 3
    predicted = label.copy()
    predicted[-10:] = 3  # 5 % are misclassified anyway
    predictions = Predictions.from_arrays(label, np.eye(4)[predicted], ("a", "b", "c", "d"))
    error = mean_corruption_error(answers(predicted), predictions)
    rates = [0.05 + share * strength for share in (0.1, 0.02) for strength in range(1, 6)]
    assert error.value[0] == pytest.approx(np.mean(rates))
    assert error.excess[0] == pytest.approx(np.mean(rates) - 0.05)
    assert error.value[1] < error.value[0] < error.value[2]
    assert "over 2 corruptions and 200 images" in str(error)
    with pytest.raises(DataError, match="clean and of corrupted"):
        mean_corruption_error(answers(predicted).filter(pl.col("strength") == 0), predictions)


def test_the_interval_of_the_mean_error_covers() -> None:
    random, covered, tries = np.random.default_rng(0), 0, 300
    for _ in range(tries):
        hard = random.beta(0.5, 1.5, 150)  # the chance that a copy of each image is misclassified; its mean is 0.25
        label = np.zeros(150, np.int64)
        parts = [pl.DataFrame({"corruption": "none", "strength": 0, "index": range(150), "predicted": label})]
        for strength in range(1, 6):
            wrong = (random.random(150) < hard).astype(np.int64)
            parts.append(
                pl.DataFrame({"corruption": "fog", "strength": strength, "index": range(150), "predicted": wrong})
            )
        predictions = Predictions.from_arrays(label, np.eye(2)[label], ("a", "b"))
        _, low, high = mean_corruption_error(pl.concat(parts), predictions).value
        covered += low <= 0.25 <= high
    assert covered / tries > 0.92


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ("rain",)}, "not 'rain'"),
        ({"names": ()}, "at least 20 rows and one corruption"),
        ({"rows": np.arange(9)}, "not 9 rows"),
        ({"seed": -1}, "seed: expected 0 or more"),
    ],
)
def test_bad_input_is_refused(options, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        measured(tmp_path, **options)
