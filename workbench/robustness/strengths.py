"""The five strengths of the corruptions of CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv 1903.12261).

The figures are those of the authors' script for images of 32 pixels. A value named ``radius``, ``sigma``, ``distance``,
``shift``, ``spread`` or ``corner`` is a length in pixels of such an image, and grows with larger images; so do the
squares of ``PIXELATE``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Defocus:
    """A disc's radius, and the deviation of the Gaussian that smooths its edge."""

    radius: float
    sigma: float


@dataclass(frozen=True)
class Glass:
    """The deviation of a Gaussian, how far pixels come from, and how often they are replaced."""

    sigma: float
    distance: int
    passes: int


@dataclass(frozen=True)
class Motion:
    """How far a one-sided Gaussian along a line reaches, and its deviation."""

    radius: float
    sigma: float


@dataclass(frozen=True)
class Snow:
    """Mean and deviation of the flakes, their size, the threshold below which there is none, and their motion.

    ``share`` is the image's in what is whitened.
    """

    mean: float
    deviation: float
    size: float
    threshold: float
    motion: Motion
    share: float


@dataclass(frozen=True)
class Frost:
    """Shares of the image and of the frost."""

    image: float
    frost: float


@dataclass(frozen=True)
class Fog:
    """How dense the fog is, and by how much less each finer scale varies."""

    density: float
    decay: float


@dataclass(frozen=True)
class Elastic:
    """How far pixels move, how smoothly, and how far the corners of a frame move."""

    shift: float
    spread: float
    corner: float


NOISE = (0.04, 0.06, 0.08, 0.09, 0.10)  # standard deviation, as a share of white
SHOTS = (500, 250, 100, 75, 50)  # photons that white stands for
IMPULSES = (0.01, 0.02, 0.03, 0.05, 0.07)  # share of the values that are replaced
DEFOCUS = (Defocus(0.3, 0.4), Defocus(0.4, 0.5), Defocus(0.5, 0.6), Defocus(1, 0.2), Defocus(1.5, 0.1))
GLASS = (Glass(0.05, 1, 1), Glass(0.25, 1, 1), Glass(0.4, 1, 1), Glass(0.25, 1, 2), Glass(0.4, 1, 2))
MOTION = (Motion(6, 1), Motion(6, 1.5), Motion(6, 2), Motion(8, 2), Motion(9, 2.5))
ZOOM = (1.06, 1.11, 1.16, 1.21, 1.26)  # one step of 0.01 above the largest enlargement
SNOW = (
    Snow(0.1, 0.2, 1, 0.6, Motion(8, 3), 0.95),
    Snow(0.1, 0.2, 1, 0.5, Motion(10, 4), 0.9),
    Snow(0.15, 0.3, 1.75, 0.55, Motion(10, 4), 0.9),
    Snow(0.25, 0.3, 2.25, 0.6, Motion(12, 6), 0.85),
    Snow(0.3, 0.3, 1.25, 0.65, Motion(14, 12), 0.8),
)
FROST = (Frost(1, 0.2), Frost(1, 0.3), Frost(0.9, 0.4), Frost(0.85, 0.4), Frost(0.75, 0.45))
FOG = (Fog(0.2, 3), Fog(0.5, 3), Fog(0.75, 2.5), Fog(1, 2), Fog(1.5, 1.75))
BRIGHTNESS = (0.05, 0.1, 0.15, 0.2, 0.3)  # added to the value of HSV
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)  # share of the distance to the mean that is left
ELASTIC = (
    Elastic(0, 0, 2.56),
    Elastic(1.6, 6.4, 2.24),
    Elastic(2.56, 1.92, 1.92),
    Elastic(3.2, 1.28, 1.6),
    Elastic(3.2, 0.96, 0.96),
)
PIXELATE = (0.95, 0.9, 0.85, 0.75, 0.65)  # share of the pixels of a side that are left
JPEG = (80, 65, 58, 50, 40)  # quality
STRENGTHS: Mapping[str, tuple[object, ...]] = {
    "gaussian noise": NOISE,
    "shot noise": SHOTS,
    "impulse noise": IMPULSES,
    "defocus blur": DEFOCUS,
    "glass blur": GLASS,
    "motion blur": MOTION,
    "zoom blur": ZOOM,
    "snow": SNOW,
    "frost": FROST,
    "fog": FOG,
    "brightness": BRIGHTNESS,
    "contrast": CONTRAST,
    "elastic transform": ELASTIC,
    "pixelate": PIXELATE,
    "jpeg": JPEG,
}
