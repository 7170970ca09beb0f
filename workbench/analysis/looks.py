"""What an image looks like, in a few numbers and words, without any model."""

from __future__ import annotations

import cv2
import numpy as np
import polars as pl

from workbench.core.predictions import Predictions
from workbench.core.records import ImageArray, ImageSet

LOOKS = ("brightness", "contrast", "sharpness", "colour")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "violet", "pink")
_HUE_ENDS = np.array([20, 45, 70, 160, 200, 260, 300, 340, 360])  # degrees; red is on both sides of 0
GREY_BELOW = 0.12


def describe(image: ImageArray) -> dict[str, float | str]:
    """Brightness, contrast, sharpness and dominant colour of one image, uint8 ``(H, W, 3)`` RGB.

    ``brightness``: mean luma, 0 to 1 (ITU-R BT.601); ``contrast``: its standard deviation; ``sharpness``: the
    logarithm of the variance of its Laplacian (Pech-Pacheco et al. 2000, doi 10.1109/ICPR.2000.903548), 0 being no
    edge; ``colour``: the hue name that holds the most chroma, or ``grey`` if mean chroma is under 0.12.
    """
    share = image.astype(np.float32) / 255
    luma = cv2.cvtColor(share, cv2.COLOR_RGB2GRAY)
    edges = float(cv2.Laplacian(luma, cv2.CV_32F).var())
    hue, saturation, value = cv2.split(cv2.cvtColor(share, cv2.COLOR_RGB2HSV))
    chroma = saturation * value
    place = np.searchsorted(_HUE_ENDS, hue, side="right") % len(COLOURS)
    weights = np.bincount(place.ravel(), chroma.ravel(), len(COLOURS))
    grey = float(chroma.mean()) < GREY_BELOW
    return {
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "sharpness": float(np.log1p(1e4 * edges)),
        "colour": "grey" if grey else COLOURS[int(weights.argmax())],
    }


def with_looks(predictions: Predictions, images: ImageSet) -> Predictions:
    """The predictions with those columns of `describe` that they lack, of the images of their rows."""
    lacked = [name for name in LOOKS if name not in predictions.table.collect_schema()]
    if not lacked:
        return predictions
    rows = predictions.index
    looks = pl.DataFrame([describe(images.image(int(row))) for row in rows]).select(lacked)
    return predictions.join(looks.with_columns(index=pl.Series(rows)))
