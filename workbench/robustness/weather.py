"""Layers of fog and of frost, grown from random numbers."""

from __future__ import annotations

import cv2
import numpy as np
import scipy
from numpy.typing import NDArray

Layer = NDArray[np.float64]
WIBBLE = 100.0
DRAWN = 64  # pixels of the shorter side at most
FERNS, BRANCH_DEGREES, BRANCH_SHARE, DEPTH = 5, 60.0, 0.45, 3


def fog_layer(height: int, width: int, decay: float, random: np.random.Generator) -> Layer:
    """Clouds from 0 to 1, float64 ``(height, width)``, by the diamond-square algorithm on a torus.

    Fournier, Fussell & Carpenter 1982, doi 10.1145/358523.358553: a grid is refined again and again, each new point the
    mean of its four neighbours and a random number, whose range shrinks by ``decay`` at each step. As in CIFAR-10-C,
    the range of a step is its own square.
    """
    size = 2 ** int(np.ceil(np.log2(max(height, width, 2))))
    found, step, wibble = np.zeros((size, size)), size, WIBBLE
    while step >= 2:
        half, reach = step // 2, wibble**2
        corners = found[::step, ::step]
        total = corners + np.roll(corners, -1, 0)
        total = total + np.roll(total, -1, 1)
        found[half::step, half::step] = total / 4 + random.uniform(-reach, reach, total.shape)
        centres = found[half::step, half::step]
        for axis, place in ((0, np.s_[::step, half::step]), (1, np.s_[half::step, ::step])):
            total = corners + np.roll(corners, -1, 1 - axis) + centres + np.roll(centres, 1, axis)
            found[place] = total / 4 + random.uniform(-reach, reach, total.shape)
        step, wibble = half, wibble / decay
    found -= found.min()
    return np.asarray(found[:height, :width] / found.max())


def frost_layer(height: int, width: int, random: np.random.Generator) -> Layer:
    """Frost from 0 to 1, float64 ``(height, width, 3)``, bluish white: ferns of ice that grow from the edges.

    It stands for the photographs of CIFAR-10-C, whose licence does not let them be handed on; strengths are theirs,
    what is drawn is not, so that figures for frost can't be compared with published ones.
    """
    if (shrunk := DRAWN / min(height, width)) < 1:  # the ferns of a large image are as coarse as those of a small one
        small = frost_layer(round(height * shrunk), round(width * shrunk), random)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1))
    side = min(height, width)
    ice = np.zeros((height, width))
    for _ in range(FERNS):
        start, heading = _from_an_edge(height, width, random)
        _grow(ice, start, heading, side * random.uniform(0.6, 1.1), DEPTH, random)
    scale = max(1.0, side / 32)
    soft, veil = (scipy.ndimage.gaussian_filter(ice, sigma * scale) for sigma in (0.5, 4))
    grain = scipy.ndimage.gaussian_filter(random.random((height, width)), 0.7 * scale)
    layer = 0.55 * _normed(soft) + 0.35 * _normed(veil) + 0.25 * _normed(grain)
    return np.asarray(_normed(layer)[..., None] * [0.88, 0.95, 1.0])


def _from_an_edge(height: int, width: int, random: np.random.Generator) -> tuple[tuple[float, float], float]:
    """A point on the edge, and a direction in radians that leads inside from there."""
    edge, along, turn = int(random.integers(4)), random.random(), np.deg2rad(random.uniform(-35, 35))
    places = ((0.0, along * width), (height - 1.0, along * width), (along * height, 0.0), (along * height, width - 1.0))
    inside = (np.pi / 2, -np.pi / 2, 0.0, np.pi)
    return places[edge], inside[edge] + turn


def _grow(
    ice: Layer, start: tuple[float, float], heading: float, length: float, depth: int, random: np.random.Generator
) -> None:
    """Draw a needle into ``ice``, with shorter needles to both sides of it, down to ``depth``."""
    steps = np.arange(0, max(1.0, length), 0.5)
    y, x = start[0] + steps * np.sin(heading), start[1] + steps * np.cos(heading)
    inside = (y >= 0) & (y < ice.shape[0]) & (x >= 0) & (x < ice.shape[1])
    np.maximum.at(ice, (y[inside].astype(int), x[inside].astype(int)), 0.4 + 0.2 * depth)
    if not depth:
        return
    between = max(2.0, length / 7)
    for place in np.arange(between, length, between):
        root = start[0] + place * np.sin(heading), start[1] + place * np.cos(heading)
        left = (length - place) * BRANCH_SHARE * random.uniform(0.6, 1.2)
        for side in (-1, 1):
            turned = heading + side * np.deg2rad(BRANCH_DEGREES + random.uniform(-8, 8))
            _grow(ice, root, turned, left, depth - 1, random)


def _normed(layer: Layer) -> Layer:
    """From 0 to 1; a layer without any difference is 0."""
    low, high = float(layer.min()), float(layer.max())
    return np.asarray((layer - low) / (high - low)) if high > low else np.zeros_like(layer)
