"""Images in numbers that no model had a part in: light, contrast, sharpness, size, compression, colour and texture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import polars as pl

from workbench.analysis.looks import describe
from workbench.core.records import FloatArray, ImageArray, ProbabilityArray

GRID, TURNS = 4, 8
BLANK = 0.01  # standard deviation of luma below which an image holds nothing
BLOCK = 8  # of JPEG


@dataclass(frozen=True)
class Pictures:
    """Properties of images: ``table``, a row each, and ``descriptor`` float32 ``(n, 176)`` of colour and texture."""

    table: pl.DataFrame
    descriptor: ProbabilityArray


def pictures(images: Iterable[ImageArray]) -> Pictures:
    """The properties of images, uint8 ``(H, W, 3)`` each.

    Columns: those of `looks.describe`; ``width`` and ``height`` in pixels; ``blockiness``, see `blockiness`.
    """
    rows, descriptors = [], []
    for image in images:
        rows.append(
            {
                **describe(image),
                "width": image.shape[1],
                "height": image.shape[0],
                "blockiness": blockiness(image),
            }
        )
        descriptors.append(descriptor(image))
    return Pictures(pl.DataFrame(rows), np.array(descriptors, np.float32))


def blockiness(image: ImageArray) -> float:
    """Steps across the edges of JPEG's 8×8 blocks over those within them, less 1: 0 without a trace of blocks.

    The mean absolute difference of neighbouring luma at every eighth column and row, over that at the others (the
    blocking measure of Wang, Sheikh & Bovik 2002, doi 10.1109/ICIP.2002.1038064, as a ratio). 0 for images of fewer
    than 64 pixels a side, which have too few edges.
    """
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if min(luma.shape) < 8 * BLOCK:
        return 0.0
    at, between = 0.0, 0.0
    for steps in (np.abs(np.diff(luma, axis=1)).mean(0), np.abs(np.diff(luma, axis=0)).mean(1)):
        edge = np.arange(1, len(steps) + 1) % BLOCK == 0
        at, between = at + float(steps[edge].mean()), between + float(steps[~edge].mean())
    return at / between - 1 if between > 0 else 0.0


def descriptor(image: ImageArray) -> FloatArray:
    """Colour and texture in a 4×4 grid, ``(176,)``: mean of each channel, and gradients by direction.

    A histogram of oriented gradients in 8 directions, each cell of length 1 (Dalal & Triggs 2005, doi
    10.1109/CVPR.2005.177), beside the mean colours (0 to 1).
    """
    small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    colour = small.reshape(GRID, 8, GRID, 8, 3).mean((1, 3)).ravel()
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    across, down = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    size, turn = cv2.cartToPolar(across, down)
    place = np.minimum((turn / (2 * np.pi) * TURNS).astype(int), TURNS - 1)
    cell = np.arange(32) // 8
    bins = ((cell[:, None] * GRID + cell[None, :]) * TURNS + place).ravel()
    counts = np.bincount(bins, size.ravel(), GRID * GRID * TURNS).reshape(-1, TURNS)
    texture = counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 0.1)
    return np.concatenate([colour, texture.ravel()])
