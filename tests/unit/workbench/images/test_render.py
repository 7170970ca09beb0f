import cv2
import numpy as np
import pytest

from workbench.images import render


def lightness(colours: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(colours[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0, :, 0]


def seen(hexes: tuple[str, ...], deficiency: str) -> np.ndarray:
    """CIE Lab of colours as seen with a colour vision deficiency (Machado et al. 2009, severity 1)."""
    colours = np.array([[int(one[k : k + 2], 16) / 255 for k in (1, 3, 5)] for one in hexes])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4) @ MACHADO[deficiency].T
    linear = np.clip(linear, 0, 1)
    display = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(display[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]


MACHADO = {
    "none": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}


@pytest.mark.parametrize(("deficiency", "least"), [("none", 19), ("deuteranopia", 14), ("protanopia", 14)])
def test_twenty_classes_are_told_apart(deficiency: str, least: float) -> None:
    lab = seen(render.PALETTE, deficiency)
    assert len(lab) == 20
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)[~np.eye(20, dtype=bool)]
    assert apart.min() > least


def test_stronger_is_never_darker() -> None:
    assert (np.diff(lightness(render.colour_ramp(signed=False))) > 0).all()


def test_signed_ramp_is_lightest_at_zero_and_darkens_to_both_sides() -> None:
    ramp = lightness(render.colour_ramp(signed=True))
    middle = int(ramp.argmax())
    assert middle in (127, 128)
    places = np.array([[0.0, np.nan, -1.0, 1.0]], np.float32)
    drawn = render.colour(places, 1.0, signed=True)[0]
    assert (drawn[0] == drawn[1]).all()
    assert len({*drawn[0]}) == 1  # zero is neither red nor blue
    assert (np.diff(ramp[:128]) > 0).all()
    assert (np.diff(ramp[128:]) < 0).all()


def test_ramp_steps_are_even_to_the_eye() -> None:
    lab = cv2.cvtColor(render.colour_ramp(signed=False)[None], cv2.COLOR_RGB2LAB)[0]
    steps = np.linalg.norm(np.diff(lab[::8], axis=0), axis=1)  # OpenCV's Lab is good to half a unit
    assert steps.max() < 1.5 * steps.min()


def test_overlay_never_wraps_and_keeps_the_order() -> None:
    image = np.full((8, 8, 3), 200, np.uint8)
    sums = [int(render.overlay(image, np.full((2, 2), v, np.float32), 1.0).sum()) for v in np.linspace(0, 1, 9)]
    assert sums == sorted(sums)


@pytest.mark.parametrize("signed", [True, False])
def test_empty_map_is_even_and_finite(signed: bool) -> None:
    places = render.normalise(np.zeros((3, 3), np.float32), 0.0, signed=signed)
    assert len(np.unique(places)) == 1


def test_shared_scale_keeps_ratios() -> None:
    maps = np.array([[[1.0]], [[4.0]]], np.float32)
    top = render.scale_of(maps, signed=False)
    assert render.normalise(maps, top, signed=False).ravel().tolist() == [0.25, 1.0]


def test_negative_values_count_as_nothing_when_unsigned() -> None:
    assert render.scale_of(np.array([[-3.0, -1.0]], np.float32), signed=False) == 0.0
    assert render.normalise(np.array([[-3.0]], np.float32), 2.0, signed=False)[0, 0] == 0.0


def test_enlarge_keeps_pixels_crisp() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large = render.enlarge(image, 3)
    assert large.shape == (6, 6, 3)
    np.testing.assert_array_equal(large[::3, ::3], image)


def test_a_sprite_lays_tiles_out_row_by_row() -> None:
    tiles = [np.full((2, 2, 3), 10 * k, np.uint8) for k in range(3)]
    sheet = render.sprite(tiles, 2)
    assert sheet.shape == (4, 4, 3)
    np.testing.assert_array_equal(sheet[2:, :2], tiles[2])
    assert (sheet[2:, 2:] == 0).all()


@pytest.mark.parametrize(("height", "width"), [(6, 10), (10, 6), (8, 8)])
def test_an_overlay_has_the_shape_of_its_image(height: int, width: int) -> None:
    image = np.full((height, width, 3), 128, np.uint8)
    made = render.overlay(image, np.array([[0.0, 1.0], [0.0, 1.0]], np.float32), 1.0)
    assert made.shape == image.shape
    assert (made[0, -1] != made[0, 0]).any()  # the map's right side lies on the image's right side
    np.testing.assert_array_equal(made[0], made[-1])
