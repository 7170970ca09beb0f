import colorsys
import io

import numpy as np
import pytest
import scipy
from PIL import Image

from workbench.errors import DataError
from workbench.robustness.corruptions import CORRUPTIONS, corrupt
from workbench.robustness.strengths import STRENGTHS
from workbench.robustness.weather import fog_layer, frost_layer

RANDOM = ("gaussian noise", "shot noise", "impulse noise", "glass blur", "motion blur", "snow", "frost", "fog")


def picture(height: int = 32, width: int = 32) -> np.ndarray:
    """A smooth picture with some texture."""
    random = np.random.default_rng(0)
    y, x = np.indices((height, width)) / 32
    waves = [np.sin(3 * x + k) * np.cos(2 * y - k) for k in range(3)]
    return (127 + 70 * np.stack(waves, 2) + random.normal(0, 8, (height, width, 3))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", [(32, 32), (28, 40), (96, 64)])
def test_every_corruption_keeps_size_and_kind_and_repeats(name: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    for strength in (1, 5):
        found = corrupt(image, name, strength, (1, 2))
        assert found.shape == image.shape
        assert found.dtype == np.uint8
        assert (found != image).any()
        assert (corrupt(image, name, strength, (1, 2)) == found).all()
    if name in RANDOM:
        assert (corrupt(image, name, 5, (1, 3)) != found).any()
    else:
        assert name == "elastic transform" or (corrupt(image, name, 5, (1, 3)) == found).all()


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "elastic transform"])  # whose kind differs
def test_the_strongest_changes_an_image_more_than_the_weakest(name: str) -> None:
    image = picture().astype(float)
    distances = [
        np.mean([np.abs(corrupt(picture(), name, strength, seed) - image).mean() for seed in range(8)])
        for strength in (1, 5)
    ]
    assert distances[1] > distances[0]


def test_noise_has_the_published_size() -> None:
    grey = np.full((128, 128, 3), 128, np.uint8)
    for strength, deviation in enumerate((0.04, 0.06, 0.08, 0.09, 0.10), 1):
        found = corrupt(grey, "gaussian noise", strength) / 255
        assert found.std() == pytest.approx(deviation, rel=0.02)
    for strength, photons in enumerate((500, 250, 100, 75, 50), 1):
        found = corrupt(grey, "shot noise", strength) / 255
        assert found.std() == pytest.approx(np.sqrt(0.502 / photons), rel=0.03)
    for strength, share in enumerate((0.01, 0.02, 0.03, 0.05, 0.07), 1):
        found = corrupt(grey, "impulse noise", strength)
        assert np.isin(found, (0, 255)).mean() == pytest.approx(share, rel=0.1)
        assert (found == 255).sum() == pytest.approx((found == 0).sum(), rel=0.2)


def test_what_is_not_random_is_as_published() -> None:
    image = picture()
    scaled = image / 255
    for strength in range(1, 6):
        c = (0.75, 0.5, 0.4, 0.3, 0.15)[strength - 1]
        mean = scaled.mean((0, 1), keepdims=True)
        assert (corrupt(image, "contrast", strength) == (((scaled - mean) * c + mean) * 255).astype(np.uint8)).all()

        more = (0.05, 0.1, 0.15, 0.2, 0.3)[strength - 1]
        pixels = [colorsys.rgb_to_hsv(*pixel) for pixel in scaled.reshape(-1, 3)]
        lit = [colorsys.hsv_to_rgb(h, s, min(1, v + more)) for h, s, v in pixels]
        expected = np.reshape(lit, image.shape) * 255
        assert np.abs(corrupt(image, "brightness", strength) - expected).max() <= 1.01

        share = (0.95, 0.9, 0.85, 0.75, 0.65)[strength - 1]
        small = Image.fromarray(image).resize((int(32 * share),) * 2, Image.Resampling.BOX)
        assert (corrupt(image, "pixelate", strength) == np.array(small.resize((32, 32), Image.Resampling.BOX))).all()

        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=(80, 65, 58, 50, 40)[strength - 1])
        assert (corrupt(image, "jpeg", strength) == np.array(Image.open(file))).all()


def test_blurs_are_as_a_second_implementation_computes_them() -> None:
    image = picture()
    scaled, offsets = image / 255, np.arange(-8, 9)
    for strength in range(1, 6):
        radius, sigma = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[strength - 1]
        disc = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(float)
        edge = np.exp(-np.array([1, 0, 1]) / (2 * sigma**2))
        kernel = scipy.ndimage.correlate(disc / disc.sum(), np.outer(edge, edge) / edge.sum() ** 2, mode="mirror")
        expected = np.stack([scipy.ndimage.correlate(scaled[..., k], kernel, mode="mirror") for k in range(3)], 2)
        assert np.abs(corrupt(image, "defocus blur", strength) - (expected * 255).astype(int)).max() <= 1

        beyond = (1.06, 1.11, 1.16, 1.21, 1.26)[strength - 1]
        total, factors = scaled.copy(), np.arange(1, beyond, 0.01)
        for factor in factors:
            inner = int(np.ceil(32 / factor))
            first = (32 - inner) // 2
            size = round(inner * factor)
            where = np.linspace(0, inner - 1, size)[(size - 32) // 2 :][:32] + first
            low = np.minimum(where.astype(int), 30)
            share = where - low
            rows = scaled[low] * (1 - share)[:, None, None] + scaled[low + 1] * share[:, None, None]
            total += rows[:, low] * (1 - share)[None, :, None] + rows[:, low + 1] * share[None, :, None]
        expected = (total / (len(factors) + 1)).clip(0, 1)
        assert np.abs(corrupt(image, "zoom blur", strength) - (expected * 255).astype(int)).max() <= 1


def test_blurs_of_a_point_have_the_published_spread() -> None:
    point = np.zeros((32, 32, 3), np.uint8)
    point[16, 16] = 255
    disc = corrupt(point, "defocus blur", 5)[..., 0] > 20  # a radius of 1.5: the nine nearest pixels
    assert disc.sum() == 9
    assert disc[15:18, 15:18].all()
    line = corrupt(point, "motion blur", 3, 5)[..., 0].astype(float)
    y, x = np.nonzero(line)
    assert len(y) >= 4
    steps = np.hypot(y - 16, x - 16)
    assert abs(np.corrcoef(y, x)[0, 1]) > 0.5 or np.ptp(y) <= 1  # on a line
    near, far = line[y, x][steps.argmin()], line[y, x][steps.argmax()]
    assert near == pytest.approx(255 / np.exp(-(np.arange(13) ** 2) / 8).sum(), abs=1)
    assert far < near
    enlarged = corrupt(np.full((32, 32, 3), 200, np.uint8), "zoom blur", 5)
    assert np.abs(enlarged.astype(int) - 200).max() <= 1


def test_glass_takes_pixels_from_one_step_above_or_to_the_left() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0], image[..., 1] = np.indices((32, 32)) * 8
    found = corrupt(image, "glass blur", 1, 3)  # its Gaussian of 0.05 pixels changes nothing
    row, column = found[..., 0] // 8, found[..., 1] // 8
    moved = np.indices((32, 32)) - np.stack([row, column])
    assert set(np.unique(moved[:, 2:32, 2:32])) == {0, 1}
    assert (moved[:, :2] == 0).all()
    assert moved[:, 2:, 2:].mean() == pytest.approx(0.5, abs=0.05)


def test_fog_keeps_the_brightest_value_at_most() -> None:
    image = picture()
    for strength in range(1, 6):
        assert corrupt(image, "fog", strength).max() <= image.max()


@pytest.mark.parametrize("size", [(32, 32), (20, 50), (300, 200)])
def test_layers_fill_an_image_of_any_size(size: tuple[int, int]) -> None:
    for layer in (fog_layer(*size, 2.0, np.random.default_rng(0)), frost_layer(*size, np.random.default_rng(0))):
        assert layer.shape[:2] == size
        assert layer.min() >= 0
        assert 0.5 < layer.max() <= 1
        assert layer.std() > 0.05


def test_lengths_grow_with_the_image() -> None:
    small, large = np.zeros((32, 32, 3), np.uint8), np.zeros((256, 256, 3), np.uint8)
    small[:, 8:], large[:, 64:] = 255, 255
    for name in ("defocus blur", "zoom blur"):
        soft = [
            np.ptp(np.flatnonzero((row > 5) & (row < 250))) + 1
            for row in (corrupt(small, name, 5)[16, :, 0], corrupt(large, name, 5)[128, :, 0])
        ]
        assert soft[1] > 4 * soft[0]


@pytest.mark.parametrize("strength", range(1, 6))
def test_a_disc_has_the_same_share_of_an_image_of_any_size(strength: int) -> None:
    def spread(side: int) -> float:
        scale = side // 32
        image = np.zeros((side, side, 3), np.uint8)
        middle = slice(side // 2 - scale // 2 - scale % 2, side // 2 + scale // 2)
        image[middle, middle] = 255
        line = corrupt(image, "defocus blur", strength)[..., 0].sum(0).astype(float)
        place = np.arange(side)
        mean = (line * place).sum() / line.sum()
        own = (scale**2 - 1) / 12 if scale > 1 else 0.0  # of the square itself
        return float(np.sqrt(max((line * (place - mean) ** 2).sum() / line.sum() - own, 0)) / scale)

    assert spread(256) == pytest.approx(spread(64), rel=0.2, abs=0.06)


def test_squares_grow_with_the_image() -> None:
    small = picture()
    large = np.repeat(np.repeat(small, 8, 0), 8, 1)
    changes = [np.abs(corrupt(image, "pixelate", 5).astype(int) - image).mean() for image in (small, large)]
    assert changes[1] == pytest.approx(changes[0], rel=0.35)


def test_there_are_fifteen_of_five_strengths() -> None:
    assert list(CORRUPTIONS) == list(STRENGTHS)
    assert [len(strengths) for strengths in STRENGTHS.values()] == [5] * 15


@pytest.mark.parametrize(
    ("image", "name", "strength", "message"),
    [
        (picture(), "rain", 1, "not 'rain'"),
        (picture(), "fog", 6, "a strength from 1 to 5, not 6"),
        (picture()[..., 0], "fog", 1, "an image uint8"),
        (picture() / 255, "fog", 1, "not float64"),
    ],
)
def test_bad_input_is_refused(image: np.ndarray, name: str, strength: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        corrupt(image, name, strength)
