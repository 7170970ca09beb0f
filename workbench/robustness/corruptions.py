"""The 15 corruptions of CIFAR-10-C, made from images of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import scipy
from numpy.typing import NDArray

from workbench.core.records import ImageArray
from workbench.errors import DataError
from workbench.robustness.strengths import STRENGTHS, Defocus, Elastic, Fog, Frost, Glass, Motion, Snow
from workbench.robustness.weather import fog_layer, frost_layer

Image = NDArray[np.float64]
Made = Callable[[Image, Any, np.random.Generator], Image]
SIDE = 32


def corrupt(image: ImageArray, corruption: str, strength: int, seed: int | tuple[int, ...] = 0) -> ImageArray:
    """An image uint8 ``(H, W, 3)`` after a corruption of CIFAR-10-C, of the same size.

    Definitions and strengths are those of Hendrycks & Dietterich 2019 (arXiv 1903.12261) for images of 32 pixels;
    lengths grow with the shorter side of larger ones, noise stays one of single pixels, so that their figures at other
    sizes can't be compared with published ones. The frost is grown (`weather.frost_layer`), where theirs is cut from
    photographs. All random numbers come from ``seed``.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
    corruption : str
        One of `CORRUPTIONS`.
    strength : int
        1 to 5.
    seed : int or tuple of int

    Raises
    ------
    DataError
        If there is no such corruption or strength, or the image is not of that kind.
    """
    if corruption not in CORRUPTIONS:
        raise DataError(f"corruption: expected one of {', '.join(CORRUPTIONS)}, not {corruption!r}")
    if strength not in range(1, 6):
        raise DataError(f"corruption: expected a strength from 1 to 5, not {strength}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"corruption: expected an image uint8 (H, W, 3), not {image.dtype} {image.shape}")
    made = CORRUPTIONS[corruption](image / 255, STRENGTHS[corruption][strength - 1], np.random.default_rng(seed))
    return (made.clip(0, 1) * 255).astype(np.uint8)  # rounded down, as theirs


def _grown(image: Image) -> float:
    """How many times larger lengths are than in an image of 32 pixels; they do not shrink in smaller ones."""
    return max(1.0, float(min(image.shape[:2])) / SIDE)


def gaussian_noise(image: Image, deviation: float, random: np.random.Generator) -> Image:
    """Normal noise of a standard deviation as a share of white."""
    return np.asarray(image + random.normal(scale=deviation, size=image.shape))


def shot_noise(image: Image, photons: float, random: np.random.Generator) -> Image:
    """Poisson noise, where white stands for a number of photons."""
    return np.asarray(random.poisson(image * photons) / photons)


def impulse_noise(image: Image, share: float, random: np.random.Generator) -> Image:
    """A share of the values replaced, each by black or by white."""
    drawn, found = random.random(image.shape), image.copy()
    found[drawn < share] = (random.random(image.shape) < 0.5)[drawn < share]
    return found


def defocus_blur(image: Image, by: Defocus, random: np.random.Generator) -> Image:
    """The mean over a disc with a smooth edge."""
    scale = _grown(image)
    reach = int(np.ceil(8 * scale))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x**2 + y**2 <= (by.radius * scale) ** 2).astype(np.float64)
    size = 2 * int(np.ceil(scale)) + 1
    kernel = cv2.GaussianBlur(disc / disc.sum(), (size, size), by.sigma * scale)
    return np.asarray(cv2.filter2D(image, -1, kernel))


def glass_blur(image: Image, by: Glass, random: np.random.Generator) -> Image:
    """Each pixel replaced by a near one, from the lower right on, between two Gaussian blurs.

    As in the authors' script, whose exchange of two pixels keeps the value of one of them.
    """
    scale = _grown(image)
    sigma, far = by.sigma * scale, max(1, round(by.distance * scale))
    found = (_gaussian(image, sigma) * 255).astype(np.uint8)
    height, width = found.shape[:2]
    rows, columns = range(height - far, far, -1), range(width - far, far, -1)
    for _ in range(by.passes):
        steps = random.integers(-far, far, (max(0, len(rows)), max(0, len(columns)), 2)).tolist()
        for row, of_row in zip(rows, steps, strict=True):
            for column, (right, below) in zip(columns, of_row, strict=True):
                found[row, column] = found[row + below, column + right]
    return _gaussian(found / 255, sigma)


def _gaussian(image: Image, sigma: float) -> Image:
    """A Gaussian blur that reaches four deviations, the edge repeated."""
    return np.asarray(scipy.ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4))


def motion_blur(image: Image, by: Motion, random: np.random.Generator) -> Image:
    """A one-sided Gaussian along a line at up to 45 degrees from the horizontal."""
    return _moved(image, by, random.uniform(-45, 45))


def _moved(image: Image, by: Motion, degrees: float) -> Image:
    """The weighted mean of the pixels along a line that begins at each pixel, the edge repeated.

    As ImageMagick's motion blur: a Gaussian's weights for one step a pixel, each step rounded to whole pixels.
    """
    scale, (height, width) = _grown(image), image.shape[:2]
    reach = 2 * int(np.ceil(by.radius * scale)) + 1
    steps = np.arange(reach)
    weights = np.exp(-(steps**2) / (2 * (by.sigma * scale) ** 2))
    angle = np.deg2rad(degrees)
    across, down = (np.ceil(steps * part - 0.5).astype(int) for part in (np.cos(angle), np.sin(angle)))
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    found = np.zeros_like(image)
    for weight, x, y in zip((weights / weights.sum()).tolist(), across + reach, down + reach, strict=True):
        found += weight * padded[y : y + height, x : x + width]
    return found


def zoom_blur(image: Image, beyond: float, random: np.random.Generator) -> Image:
    """The mean of the image and of its enlargements in steps of a hundredth."""
    factors = np.arange(1, beyond, 0.01)
    enlarged = np.sum([_enlarged(image, factor) for factor in factors.tolist()], axis=0)
    return np.asarray((image + enlarged) / (len(factors) + 1))


def _enlarged(image: Image, factor: float) -> Image:
    """The middle of an image enlarged to its size, linearly."""
    height, width = image.shape[:2]
    inner = [int(np.ceil(side / factor)) for side in (height, width)]
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    part = image[top : top + inner[0], left : left + inner[1]]
    whole = scipy.ndimage.zoom(part, (factor, factor, 1), order=1)
    top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
    return np.asarray(whole[top : top + height, left : left + width])


def snow(image: Image, by: Snow, random: np.random.Generator) -> Image:
    """Flakes in motion, once more turned by half a circle, on a whitened image."""
    flakes = random.normal(by.mean, by.deviation, image.shape[:2])[..., None]
    flakes = _enlarged(flakes, by.size * _grown(image))
    flakes[flakes < by.threshold] = 0
    flakes = _moved(flakes.clip(0, 1), by.motion, random.uniform(-135, -45))
    grey = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)[..., None]
    whitened = by.share * image + (1 - by.share) * np.maximum(image, grey * 1.5 + 0.5)
    return np.asarray(whitened + flakes + np.rot90(flakes, 2))


def frost(image: Image, by: Frost, random: np.random.Generator) -> Image:
    """Frost on a pane before the image."""
    return by.image * image + by.frost * frost_layer(image.shape[0], image.shape[1], random)


def fog(image: Image, by: Fog, random: np.random.Generator) -> Image:
    """Clouds before the image, which stays as bright as it was."""
    brightest = image.max()
    layer = fog_layer(image.shape[0], image.shape[1], by.decay, random)
    return np.asarray((image + by.density * layer[..., None]) * brightest / (brightest + by.density))


def brightness(image: Image, more: float, random: np.random.Generator) -> Image:
    """The value of HSV raised."""
    hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 2] = (hsv[..., 2] + more).clip(0, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float64)


def contrast(image: Image, share: float, random: np.random.Generator) -> Image:
    """The distance of each value from its channel's mean reduced."""
    mean = image.mean((0, 1), keepdims=True)
    return np.asarray((image - mean) * share + mean)


def elastic_transform(image: Image, by: Elastic, random: np.random.Generator) -> Image:
    """A random affine map, then pixels moved by smooth random distances."""
    scale, (height, width) = _grown(image), image.shape[:2]
    (first, second), third = (height // 2, width // 2), min(height, width) // 3
    corners = [[first + third, second + third], [first + third, second - third], [first - third, second - third]]
    frame = np.array(corners, np.float32)
    corner = by.corner * scale
    moved = frame + random.uniform(-corner, corner, frame.shape).astype(np.float32)
    matrix = cv2.getAffineTransform(frame, moved)
    found = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    far, spread = by.shift * scale, by.spread * scale
    across, down = (
        scipy.ndimage.gaussian_filter(random.uniform(-1, 1, (height, width)), spread, mode="reflect", truncate=3) * far
        for _ in range(2)
    )
    y, x = np.indices((height, width))
    places = np.stack([y + down, x + across])
    channels = [scipy.ndimage.map_coordinates(found[..., k], places, order=1, mode="reflect") for k in range(3)]
    return np.stack(channels, 2)


def pixelate(image: Image, share: float, random: np.random.Generator) -> Image:
    """Fewer pixels, each the mean of those it covers, then as many as before."""
    from PIL import Image as Pillow

    share = share / _grown(image)

    whole = Pillow.fromarray((image * 255).round().astype(np.uint8))
    few = whole.resize((max(1, int(whole.width * share)), max(1, int(whole.height * share))), Pillow.Resampling.BOX)
    return np.asarray(few.resize(whole.size, Pillow.Resampling.BOX)) / 255


def jpeg(image: Image, quality: int, random: np.random.Generator) -> Image:
    """What a JPEG file of a quality keeps."""
    import io

    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray((image * 255).round().astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Pillow.open(file)) / 255


CORRUPTIONS: Mapping[str, Made] = {
    "gaussian noise": gaussian_noise,
    "shot noise": shot_noise,
    "impulse noise": impulse_noise,
    "defocus blur": defocus_blur,
    "glass blur": glass_blur,
    "motion blur": motion_blur,
    "zoom blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg": jpeg,
}
