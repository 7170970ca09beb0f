import numpy as np
import pytest

from tests.factories import classifier, image_set
from workbench.errors import DataError
from workbench.models.predict import predict
from workbench.robustness.changes import Change, apply, probabilities
from workbench.runs.run import Run


@pytest.fixture(scope="module")
def run() -> Run:
    images, model = image_set(60), classifier()
    return Run("tiny", predict(model, images), images, model)


def test_no_change_leaves_the_image_as_it_is(run: Run) -> None:
    image = run.images.image(0)  # type: ignore[union-attr]
    assert (apply(image, Change()) == image).all()
    assert probabilities(run.classifier, image[None])[0] == pytest.approx(run.predictions.probability[0], abs=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"crop": 0.4},
        {"scale": -0.3},
        {"shift": [3, -2]},
        {"rotate": 25},
        {"blur": 2},
        {"sharpness": 0.5},
        {"brightness": 0.2},
        {"contrast": -0.3},
        {"saturation": 0.8},
        {"hue": 40},
        {"grey": True},
        {"noise": 0.1},
        {"jpeg": 60},
        {"flip": True},
    ],
)
def test_changes_are_repeatable_and_keep_the_size(run: Run, change) -> None:
    image = run.images.image(0)  # type: ignore[union-attr]
    made = Change.from_json(change)
    first = apply(image, made)
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert (first != image).any()
    assert (apply(image, made) == first).all()
    assert eval(made.code(), {"Change": Change}) == made


def test_changes_do_what_they_are_called() -> None:
    image = np.full((32, 32, 3), 100, np.uint8)
    image[:16] = 60
    brighter = apply(image, Change(brightness=0.2)).astype(int) - image
    assert brighter.mean() == pytest.approx(0.2 * 255, abs=1)
    grey = apply(image, Change(cutout=(0.5, 0.25, 0.25, 0.5)))
    assert (grey[8:24, 16:24] == 128).all()
    assert (grey != image).any(2).sum() == 16 * 8
    turned = apply(image, Change(rotate=180))
    assert (turned[0] == 100).all()
    assert (turned[-1] == 60).all()


def test_shift_flip_and_scale_move_what_they_are_said_to() -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    moved = apply(image, Change(shift=(3, -2)))
    assert (moved[:-2, 3:] == image[2:, :-3]).all()
    assert (apply(image, Change(flip=True)) == image[:, ::-1]).all()
    square = np.zeros((32, 32, 3), np.uint8)
    square[12:20, 12:20] = 255
    for scale in (1.0, -0.2):  # shrunk further, mirrored squares come into view
        side = 8 * (1 + scale)
        assert (apply(square, Change(scale=scale)) / 255).sum() / 3 == pytest.approx(side**2, rel=0.15)


def test_colours_turn_and_fade() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[...] = (200, 40, 40)
    assert apply(red, Change(hue=120))[0, 0] == pytest.approx([40, 200, 40], abs=4)
    assert np.ptp(apply(red, Change(saturation=-1))[0, 0]) <= 1
    assert np.ptp(apply(red, Change(grey=True))[0, 0]) == 0


def test_a_rectangle_stays_on_what_it_was_drawn_over() -> None:
    image = np.random.default_rng(0).integers(0, 100, (32, 32, 3)).astype(np.uint8)
    corner = (0.0, 0.0, 0.25, 0.25)
    turned = apply(image, Change(cutout=corner, rotate=180))
    assert (turned[-7:, -7:] == 128).all()
    assert (turned[:8, :8] != 128).any(2).all()
    assert (apply(image, Change(cutout=corner, crop=0.5)) < 128).all()  # it lay in what is cut away


def test_rotation_is_anticlockwise() -> None:
    image = np.zeros((33, 33, 3), np.uint8)
    image[16, 24:] = 255  # a line from the middle to the right
    turned = apply(image, Change(rotate=90))
    assert turned[:9, 16].min() > 128
    assert turned[24:, 16].max() < 128


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 0.9}, "crop: expected 0 to 0.7"),
        ({"cutout": [0, 0, 2, 1]}, "expected four shares"),
        ({"swirl": 1}, "not 'swirl'"),
        ({"shift": [0.5, 0]}, "shift: expected whole numbers"),
        ({"shift": [1, 2, 3]}, "shift: expected pixels to the right and down"),
        ({"jpeg": 100}, "jpeg: expected 0 to 99"),
    ],
)
def test_impossible_changes_are_refused(change, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Change.from_json(change)
