"""Whether a map stays the same under noise that nobody sees and that leaves the answer alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.core.records import Attribution, FloatArray, ImageArray, IntArray, ProbabilityArray
from workbench.models.classifier import Classifier
from workbench.models.execution import products
from workbench.models.hooks import preserve

DRAWS, CANDIDATES = 2, 4
Attribute = Callable[[ImageArray], Attribution]


def stability(
    classifier: Classifier, images: ImageArray, base: Attribution, compute: Attribute, *, noise: float = 2.0
) -> FloatArray:
    """Spearman's correlation of each map of ``base`` with that of the image under tiny noise, float64 ``(n,)``.

    Gaussian noise of ``noise`` grey levels of 255 on every pixel: the picture is the same to the eye, and where the
    answer stays an explanation should, too (Alvarez-Melis & Jaakkola 2018, arXiv 1806.08049). Mean of the first two of
    four draws that leave the predicted class as it is; nan where none does, as then the answer itself is not stable,
    and for a constant map, which has no order. ``compute`` gives the maps of images as ``base`` was computed.
    """
    answers = _answers(classifier, images)
    kept: list[list[ImageArray]] = [[] for _ in images]
    for draw in range(CANDIDATES):
        moved = _noisy(images, base.rows, draw, noise)
        for place in np.flatnonzero(_answers(classifier, moved) == answers):
            if len(kept[place]) < DRAWS:
                kept[place].append(moved[place])
    found = np.full((DRAWS, len(images)), np.nan)
    for draw in range(DRAWS):
        stays = np.array([len(one) > draw for one in kept])
        moved = np.stack([one[draw] if there else image for one, there, image in zip(kept, stays, images, strict=True)])
        found[draw, stays] = rank_correlation(base.values, compute(moved).values)[stays]
    counts = np.isfinite(found).sum(0)
    total = np.nansum(found, axis=0)
    return np.asarray(np.divide(total, counts, out=np.full(len(images), np.nan), where=counts > 0))


def _noisy(images: ImageArray, rows: IntArray, draw: int, noise: float) -> ImageArray:
    moved = np.empty_like(images)
    for k, row in enumerate(rows):
        drawn = np.random.default_rng((int(row), draw)).normal(0, noise, images[k].shape)
        moved[k] = np.clip(np.rint(images[k] + drawn), 0, 255).astype(np.uint8)
    return moved


def _answers(classifier: Classifier, images: ImageArray) -> NDArray[np.int64]:
    with preserve(classifier.module), torch.no_grad(), products(classifier.device, "float32"):
        parts = [classifier.module(part).argmax(1) for part in torch.split(classifier.prepare(images), 128)]
    return np.asarray(torch.cat(parts).cpu().numpy())


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
