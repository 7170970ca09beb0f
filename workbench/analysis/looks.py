"""What an image looks like, in a few numbers and words, without any model."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import polars as pl

from workbench.core.records import ImageArray, ProbabilityArray

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "violet", "pink")
_HUE_ENDS = np.array([20, 45, 70, 160, 200, 260, 300, 340, 360])  # degrees; red is on both sides of 0
GREY_BELOW = 0.12
LEVELS = {
    "brightness": ("dark", "of middling brightness", "bright"),
    "contrast": ("of low contrast", "of middling contrast", "of high contrast"),
    "sharpness": ("blurred", "of middling sharpness", "sharp"),
}


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


def looks(images: Iterable[ImageArray]) -> pl.DataFrame:
    """`describe` of every image ``(H, W, 3)``: a row each."""
    return pl.DataFrame([describe(image) for image in images])


def levels(frame: pl.DataFrame) -> pl.DataFrame:
    """The table with brightness, contrast and sharpness in words: the lowest, middle and highest third of the rows."""
    named = []
    for name, words in LEVELS.items():
        ends = frame[name].quantile(1 / 3, "linear"), frame[name].quantile(2 / 3, "linear")
        low, high = (0.0 if end is None else end for end in ends)
        values = pl.when(pl.col(name) <= low).then(pl.lit(words[0])).when(pl.col(name) > high).then(pl.lit(words[2]))
        named.append(values.otherwise(pl.lit(words[1])).alias(name))
    return frame.with_columns(named)


def clusters(embedding: ProbabilityArray, count: int = 20, seed: int = 0) -> pl.Series:
    """The k-means cluster of each embedding ``(N, D)``, on the unit sphere, as ``cluster 1`` to ``cluster count``."""
    from sklearn.cluster import MiniBatchKMeans

    from workbench.analysis.neighbours import unit

    points = unit(embedding)
    fitted = MiniBatchKMeans(min(count, len(points)), batch_size=4096, n_init=3, random_state=seed).fit(points)
    return pl.Series("cluster", [f"cluster {k + 1}" for k in fitted.labels_])
