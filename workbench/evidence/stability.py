"""Whether a map stays the same under imperceptible noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from workbench.core.records import Attribution, FloatArray, ImageArray, ProbabilityArray

DRAWS = 2
Attribute = Callable[[ImageArray], Attribution]


def stability(images: ImageArray, base: Attribution, compute: Attribute, *, noise: float = 2.0) -> FloatArray:
    """Spearman's correlation of each map of ``base`` with that of the image under tiny noise, float64 ``(n,)``.

    Gaussian noise of ``noise`` grey levels of 255 on every pixel, mean of two draws: under it the picture is the
    same to the eye, and an explanation should be too (the question of Alvarez-Melis & Jaakkola 2018, arXiv
    1806.08049). ``compute`` gives the maps of images as ``base`` was computed. A constant map has no order:
    nan.
    """
    found = []
    for draw in range(DRAWS):
        moved = np.empty_like(images)
        for k, row in enumerate(base.rows):
            drawn = np.random.default_rng((int(row), draw)).normal(0, noise, images[k].shape)
            moved[k] = np.clip(np.rint(images[k] + drawn), 0, 255).astype(np.uint8)
        found.append(rank_correlation(base.values, compute(moved).values))
    return np.asarray(np.mean(found, axis=0))


def rank_correlation(first: ProbabilityArray, second: ProbabilityArray, *, absolute: bool = False) -> FloatArray:
    """Spearman's rank correlation of maps ``(n, h, w)``, pair by pair, float64 ``(n,)``; nan for a map of one value."""
    from scipy import stats

    a, b = (np.abs(v) if absolute else v for v in (first, second))
    ranked = [stats.rankdata(v.reshape(len(v), -1), axis=1) for v in (a, b)]
    centred = [r - r.mean(1, keepdims=True) for r in ranked]
    lengths = [np.linalg.norm(c, axis=1) for c in centred]
    product = lengths[0] * lengths[1]
    dots = (centred[0] * centred[1]).sum(1)
    return np.asarray(np.divide(dots, product, out=np.full(len(dots), np.nan), where=product > 0))
