import numpy as np
import polars as pl
import pytest

from workbench.analysis.looks import describe, levels, looks
from workbench.analysis.slices import find_slices, members, slice_table, systematic_failures
from workbench.core.predictions import Predictions
from workbench.errors import DataError


def features(rows: int, seed: int) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    words = {
        "class": ["cat", "dog", "ship", "truck", "frog"],
        "brightness": ["dark", "of middling brightness", "bright"],
        "colour": ["red", "green", "blue", "grey"],
        "cluster": [f"cluster {k}" for k in range(1, 11)],
    }
    return pl.DataFrame({name: generator.choice(values, rows) for name, values in words.items()})


@pytest.mark.parametrize("seed", range(10))
def test_planted_slice_comes_first(seed: int) -> None:
    table = features(6000, seed)
    generator = np.random.default_rng(100 + seed)
    planted = (("class", "cat"), ("brightness", "dark"))
    inside = members(table, planted)
    wrong = generator.random(6000) < np.where(inside, 0.35, 0.1)
    found = find_slices(table, wrong, seed=seed)
    # precision at 10: of ten wrong rows of the slice found first, how many lie in the planted one
    drawn = np.flatnonzero(members(table, found[0].conditions) & wrong)[:10]
    assert inside[drawn].mean() >= 0.8
    assert found[0].words in ("cat, dark", "class cat, dark", "dark, class cat")
    assert found[0].low <= found[0].error_rate <= found[0].high


def test_pure_noise_yields_hardly_any_discovery() -> None:
    trials, judged, discoveries, with_any = 100, 40, 0, 0
    for seed in range(trials):
        found = find_slices(features(1500, seed), np.random.default_rng(1000 + seed).random(1500) < 0.1, seed=seed)
        discoveries += len(found)
        with_any += bool(found)
    assert discoveries <= 0.05 * trials * judged
    assert with_any <= 0.05 * trials + 2 * np.sqrt(trials * 0.05 * 0.95)


def test_a_hard_class_makes_no_slice_of_its_parts() -> None:
    table = features(6000, 0)
    wrong = np.random.default_rng(1).random(6000) < np.where(table["class"] == "cat", 0.4, 0.1)
    found = find_slices(table, wrong)
    assert [s.conditions for s in found] == [(("class", "cat"),)]
    assert found[0].rows == pytest.approx(600, abs=80)  # only the judged half is counted
    assert slice_table(found)["errors"].to_list() == [found[0].errors]


def test_a_sample_of_many_rows_finds_the_failing_class() -> None:
    generator = np.random.default_rng(0)
    label = generator.integers(0, 4, 8000)
    wrong = generator.random(8000) < np.where(label == 2, 0.5, 0.1)
    answer = np.where(wrong, (label + generator.integers(1, 4, 8000)) % 4, label)
    p = Predictions.from_arrays(label, 0.6 * np.eye(4)[answer] + 0.1, tuple("abcd"))
    found = systematic_failures(p, most_rows=4000)
    assert [s.words for s in found] == ["class c"]
    assert found[0].rows == pytest.approx(500, abs=80)  # half of a quarter of the sample


def test_rows_must_fit() -> None:
    with pytest.raises(DataError, match="expected features of at least 40 rows"):
        find_slices(features(30, 0), np.zeros(30, bool))


def test_looks_of_plain_images() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[::2] = 255
    flat, striped = describe(red), describe(stripes)
    assert (flat["colour"], striped["colour"]) == ("red", "grey")
    assert flat["brightness"] == pytest.approx(0.299, abs=1e-3)
    assert (flat["contrast"], flat["sharpness"]) == (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))
    assert striped["contrast"] == pytest.approx(0.5, abs=1e-3)
    for channel, name in ((1, "green"), (2, "blue")):
        image = np.zeros((4, 4, 3), np.uint8)
        image[..., channel] = 200
        assert describe(image)["colour"] == name


def test_levels_are_thirds() -> None:
    images = np.repeat(np.arange(0, 252, 4, dtype=np.uint8)[:, None, None, None], 3, axis=3).repeat(4, 1).repeat(4, 2)
    words = levels(looks(images))["brightness"].to_list()
    assert [words.count(w) for w in ("dark", "of middling brightness", "bright")] == [21, 21, 21]
    assert words[0] == "dark"
