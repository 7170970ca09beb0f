import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from tests.factories import classifier, image_set
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.errors import DataError
from workbench.models.classifier import Classifier
from workbench.models.predict import predict
from workbench.robustness.changes import Change, apply, probabilities
from workbench.robustness.fragility import fragility
from workbench.robustness.harmless import harmless_strength
from workbench.robustness.kinds import KINDS, amount_of, kinds_named
from workbench.robustness.search import CLOSE, LEAST, Search, searches

SMOOTH = [kind for kind in KINDS.values() if not kind.is_switch and not kind.whole]


def pictures(count: int, seed: int = 0, side: int = 32) -> list[np.ndarray]:
    """Smooth pictures of middling grey."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(-1, 1, side)
    x, y = np.meshgrid(ramp, ramp)
    parts = random.normal(size=(count, 3))
    waves = [110 + 12 * a * x + 12 * b * y + 12 * c * x * y for a, b, c in parts]
    return [np.repeat(wave[..., None], 3, 2).clip(0, 255).astype(np.uint8) for wave in waves]


def bright(images: np.ndarray, limit: float = 120) -> np.ndarray:
    """A model that sees the mean brightness alone."""
    return (images.mean((1, 2, 3)) > limit).astype(np.int64)


def of_the_middle(images: np.ndarray) -> np.ndarray:
    """A model that compares a disc with the ring around it, which no rotation changes."""
    side = images.shape[1]
    y, x = np.indices((side, side)) - (side - 1) / 2
    radius = np.hypot(x, y)
    grey = images.mean(3)
    return (grey[:, radius < side / 5].mean(1) > grey[:, (radius > side / 4) & (radius < side / 2.2)].mean(1)).astype(
        np.int64
    )


def test_a_model_of_brightness_is_fragile_to_brightness_alone() -> None:
    images = [image.astype(np.uint8) for image in pictures(12)]
    kinds = kinds_named(["flip", "shift", "rotate", "brightness", "blur", "noise"])
    found = searches(images, bright(np.stack(images)), kinds, bright)
    for search in found:
        if search.kind.name == "brightness":
            needed = abs(120 - images[search.place].mean()) / 255
            assert search.strength == pytest.approx(needed, rel=0.15, abs=0.01)
        elif search.kind.name in ("flip", "blur"):
            assert search.strength is None, search


def test_a_model_that_no_rotation_changes_is_fragile_to_none() -> None:
    random = np.random.default_rng(1)
    images = []
    for _ in range(8):
        y, x = np.indices((33, 33)) - 16
        rings = 110 + 40 * np.cos(np.hypot(x, y) / random.uniform(2, 6) + random.uniform(0, 6))
        images.append(np.repeat(rings[..., None], 3, 2).astype(np.uint8))
    found = searches(images, of_the_middle(np.stack(images)), kinds_named(["rotate", "flip"]), of_the_middle)
    assert all(search.strength is None for search in found)


@pytest.mark.parametrize("kind", SMOOTH, ids=lambda kind: kind.name)
def test_what_is_shown_flips_and_nine_tenths_of_it_does_not(kind) -> None:
    random = np.random.default_rng(2)
    images = [random.integers(60, 200, (32, 32, 3)).astype(np.uint8) for _ in range(6)] + pictures(6)
    weights = random.normal(size=(32, 32, 3))
    weights -= weights.mean() * 0.9

    def answers(batch: np.ndarray) -> np.ndarray:
        return ((batch * weights).sum((1, 2, 3)) > 0).astype(np.int64)

    before = answers(np.stack(images))
    flipped = [one for one in searches(images, before, [kind], answers) if one.strength is not None]
    for search in flipped:

        def after(strength: float, search: Search = search) -> int:
            change = kind.variants[search.variant](strength).seeded(search.place)
            return int(answers(apply(images[search.place], change)[None])[0])

        assert after(search.strength) == search.answer != search.before
        if search.strength * CLOSE > kind.grid(32)[0] * LEAST:
            assert after(CLOSE * search.strength) == search.before


def test_bisection_finds_what_a_fine_scan_finds() -> None:
    images, kind = pictures(20, seed=3), KINDS["brightness"]
    before = bright(np.stack(images), 125)
    fine = np.geomspace(kind.weakest, kind.strongest, 400)
    for search in searches(images, before, [kind], lambda batch: bright(batch, 125)):
        flips = [
            strength
            for strength in fine
            for variant in kind.variants
            if bright(apply(images[search.place], variant(strength))[None], 125)[0] != search.before
        ]
        if search.strength is None:
            assert not flips
        elif search.strength >= kind.weakest:
            assert CLOSE * 0.99 * search.strength <= min(flips) <= search.strength * 1.02


def test_whole_strengths_are_the_smallest_that_flip() -> None:
    ramp = np.repeat(np.repeat(np.arange(0, 96, 3, dtype=np.uint8)[None, :, None], 32, 0), 3, 2)

    def moved(batch: np.ndarray) -> np.ndarray:
        return (batch[:, :, 16].mean((1, 2)) < 48 - 3 * 2.5).astype(np.int64)  # by three pixels to the right

    [found] = searches([ramp], moved(ramp[None]), kinds_named(["shift"]), moved)
    assert (found.strength, found.variant) == (3, 0)


def test_harmless_keeps_99_of_100_correct_answers() -> None:
    images, kind = pictures(300, seed=4), KINDS["brightness"]
    before = bright(np.stack(images), 150)
    level = harmless_strength(searches(images, before, [kind], lambda batch: bright(batch, 150)), kind, 32)
    assert level is not None
    changed = [np.stack([apply(image, variant(level)) for image in images]) for variant in kind.variants]
    kept = np.all([bright(batch, 150) == before for batch in changed], axis=0).mean()
    assert kept >= 0.99
    more = np.stack([apply(image, kind.variants[0](level * 1.25)) for image in images])
    assert (bright(more, 150) == before).mean() < 0.99


def test_a_switch_that_breaks_more_is_not_harmless() -> None:
    def left(batch: np.ndarray) -> np.ndarray:
        return (batch[:, :, :16].mean((1, 2, 3)) > batch[:, :, 16:].mean((1, 2, 3))).astype(np.int64)

    images, kind = pictures(100), KINDS["flip"]
    assert harmless_strength(searches(images, left(np.stack(images)), [kind], left), kind, 32) is None


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_changes_images_of_any_size_at_each_strength(kind) -> None:
    for side in (16, 32, 600):
        image = np.random.default_rng(0).integers(0, 255, (side, side, 3)).astype(np.uint8)
        grid = kind.grid(side)
        assert all(first < second for first, second in pairwise(grid))
        for strength in grid:
            for variant in kind.variants:
                assert (apply(image, variant(strength)) != image).any(), (strength, side)


class _Bright(nn.Module):
    """Ant if an image is brighter than a limit, else bee."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        more = 20 * x.mean((1, 2, 3))
        return torch.stack([more, -more, torch.full_like(more, -9.0)], 1)


def bright_run(rows: int, wrong: int) -> tuple[Classifier, ImageSet, Predictions]:
    """A model of brightness on pictures, of which the first are labelled as it does not answer."""
    model = dataclasses.replace(classifier(), module=_Bright(), embedding_layer=None, cam_layers={})
    random = np.random.default_rng(6)
    offsets = random.choice([-1, 1], rows) * random.integers(10, 60, rows)  # away from the limit
    pixels = (np.stack(pictures(rows, seed=5)) + 5 + offsets[:, None, None, None]).clip(0, 255).astype(np.uint8)
    plain = predict(model, ImageSet(pixels, np.zeros(rows, np.int64), model.classes, "test", "0" * 64))
    labels = plain.predicted.copy()
    labels[:wrong] = 1 - labels[:wrong]
    images = ImageSet(pixels, labels, model.classes, "test", "0" * 64)
    return model, images, predict(model, images)


def test_fragility_of_a_models_errors() -> None:
    model, images, predictions = bright_run(420, 20)
    told: list[tuple[int, int]] = []
    found = fragility(
        model, images, predictions, changes=["flip", "brightness"], progress=lambda *both: told.append(both)
    )
    assert found.table["index"].to_list() == list(range(20))
    assert told[-1][0] == told[-1][1]
    for row in found.table.iter_rows(named=True):
        change = found.change(row["index"], "brightness")
        assert (change is None) == (row["brightness_strength"] is None)
        if change is not None:
            changed = probabilities(model, apply(images.image(row["index"]), change)[None]).argmax(1)[0]
            assert changed == row["brightness_answer"] != row["answer"] == predictions.predicted[row["index"]]
        assert row["harmless_corrects"] == row["harmless_flips"] <= found.tried
    flip, brightness = found.harmless
    assert (flip.strength, flip.kept, flip.rows) == (1, 1, 200)
    assert brightness.strength is not None
    assert brightness.low <= brightness.kept <= brightness.high
    assert found.tried == 3
    assert found.reference == 200


def test_harmless_changes_are_counted_on_rows_that_did_not_choose_them() -> None:
    model, images, predictions = bright_run(800, 0)
    kept = []
    for seed in range(12):
        found = fragility(model, images, predictions, changes=["brightness"], seed=seed)
        kept.append(found.harmless[0].kept)
    assert min(kept) < 0.99  # by choice it could not be
    assert np.mean(kept) > 0.975
    assert found.table.is_empty()
    assert found.sentences()


def test_rows_that_are_correct_here_are_left_out() -> None:
    model, images, predictions = bright_run(420, 20)
    moved = predictions.predicted.copy()
    moved[100] = 1 - moved[100]  # as another processor has rounded it
    probability = np.eye(3, dtype=np.float32)[moved]
    stored = Predictions.from_arrays(images.labels, probability, model.classes)
    found = fragility(model, images, stored, changes=["flip"])
    assert len(found.table) == 20
    assert found.omitted == 1
    assert "1 row is correct when predicted here" in found.sentences()[-1]


def test_noise_is_drawn_for_each_row() -> None:
    grey = np.full((32, 32, 3), 128, np.uint8)
    one, other = (apply(grey, Change(noise=0.05).seeded(row)).astype(float) for row in (1, 2))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
    assert Change(hue=3).seeded(7) == Change(hue=3)


@pytest.mark.parametrize(
    ("strength", "words"), [(0.0312, "0.032"), (0.5, "0.50"), (1.0, "1.0"), (9.91, "10.0"), (12.1, "13"), (160, "160")]
)
def test_amounts_are_rounded_up(strength: float, words: str) -> None:
    assert amount_of(strength) == words


def test_bad_input_is_refused() -> None:
    images, model = image_set(60), classifier()
    predictions = predict(model, images)
    with pytest.raises(DataError, match="at least 200 correct rows"):
        fragility(model, images, predictions)
    with pytest.raises(DataError, match="not 'swirl'"):
        fragility(model, images, predictions, changes=["swirl"])
    with pytest.raises(DataError, match="not none"):
        fragility(model, images, predictions, changes=[])
