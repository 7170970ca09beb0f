from itertools import pairwise

import numpy as np
import pytest

from tests.factories import classifier, image_set
from workbench.errors import DataError
from workbench.models.predict import predict
from workbench.robustness.changes import apply
from workbench.robustness.fragility import fragility, harmless
from workbench.robustness.kinds import KINDS, kinds_named
from workbench.robustness.search import CLOSE, LEAST, searches

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
        change = kind.variants[search.variant]
        assert answers(apply(images[search.place], change(search.strength))[None])[0] == search.answer != search.before
        if search.strength * CLOSE > kind.grid(32)[0] * LEAST:
            assert answers(apply(images[search.place], change(CLOSE * search.strength))[None])[0] == search.before


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
    level = harmless(searches(images, before, [kind], lambda batch: bright(batch, 150)), kind, 32)
    assert level.strength is not None
    assert level.kept >= 0.99
    assert level.low < level.kept <= level.high
    changed = [np.stack([apply(image, variant(level.strength)) for image in images]) for variant in kind.variants]
    kept = np.all([bright(batch, 150) == before for batch in changed], axis=0).mean()
    assert kept >= 0.99
    more = np.stack([apply(image, kind.variants[0](level.strength * 1.25)) for image in images])
    assert (bright(more, 150) == before).mean() < 0.99


def test_a_switch_that_breaks_more_is_not_harmless() -> None:
    def left(batch: np.ndarray) -> np.ndarray:
        return (batch[:, :, :16].mean((1, 2, 3)) > batch[:, :, 16:].mean((1, 2, 3))).astype(np.int64)

    images, kind = pictures(100), KINDS["flip"]
    level = harmless(searches(images, left(np.stack(images)), [kind], left), kind, 32)
    assert level.strength is None
    assert level.kept < 0.5


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_changes_images_of_any_size_at_each_strength(kind) -> None:
    for side in (16, 32, 224):
        image = np.random.default_rng(0).integers(0, 255, (side, side, 3)).astype(np.uint8)
        grid = kind.grid(side)
        assert all(first < second for first, second in pairwise(grid))
        for strength in grid:
            for variant in kind.variants:
                assert (apply(image, variant(strength)) != image).any(), (strength, side)


def test_fragility_of_a_models_errors() -> None:
    images, model = image_set(400), classifier()
    predictions = predict(model, images)
    told: list[tuple[int, int]] = []
    if predictions.correct.sum() < 100:  # so that there is something to keep
        images = type(images)(images.pixels, predictions.predicted, images.classes, images.split, images.fingerprint)
        predictions = predict(model, images)
    rows = predictions.index[:20]
    found = fragility(
        model, images, predictions, rows, changes=["flip", "brightness"], progress=lambda *both: told.append(both)
    )
    assert found.table["index"].to_list() == rows.tolist()
    assert told[-1][0] == told[-1][1]
    for row in found.table.iter_rows(named=True):
        change = found.change(row["index"], "brightness")
        assert (change is None) == (row["brightness_strength"] is None)
        assert row["harmless_corrects"] <= row["harmless_flips"] <= found.tried
    assert [level.kind for level in found.harmless] == ["flip", "brightness"]
    assert found.reference >= 100
    assert found.broken <= 0.01 * found.tried * found.reference


def test_bad_input_is_refused() -> None:
    images, model = image_set(60), classifier()
    predictions = predict(model, images)
    with pytest.raises(DataError, match="at least 100 correct rows"):
        fragility(model, images, predictions)
    with pytest.raises(DataError, match="not 'swirl'"):
        fragility(model, images, predictions, changes=["swirl"])
    with pytest.raises(DataError, match="not none"):
        fragility(model, images, predictions, changes=[])
