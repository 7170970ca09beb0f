"""Concepts: directions of a layer's features, of which each cell is a sum of non-negative parts."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from workbench.concepts.cells import Cells, Features
from workbench.core.records import FloatArray
from workbench.errors import DataError

COUNT, SEEDS = 6, 5
MOST_CELLS = 20_000  # that the directions are fitted on
ITERATIONS = 200
NEGATIVE = -1e-5  # below it an activation is no rounding error


@dataclass(frozen=True)
class Concepts:
    """``k`` directions of a layer's ``C`` channels.

    ``parts``, float32, non-negative, each of length 1, is ``(k, C)``, or ``(k, 2C)`` for a layer with negative
    activations: there what is above and what is below zero are parts by themselves, ``C`` of each. ``stability``
    float64 ``(k,)``: the mean cosine of a direction and its match when the factorisation begins from another seed, 0 to
    1; one that is found every time has 1. ``explained`` is the share of the activations' squares that the concepts
    account for, 0 to 1.
    """

    parts: Features
    stability: FloatArray
    explained: float
    both_signs: bool = False

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def directions(self) -> Features:
        """What a concept of strength 1 adds to a cell's channels, float32 ``(k, C)``."""
        if not self.both_signs:
            return self.parts
        above, below = np.split(self.parts, 2, axis=1)
        return above - below

    def strengths(self, values: Features) -> Features:
        """How strong each concept is in each cell of ``values`` ``(n, h, w, C)``: ``(n, h, w, k)``, at least 0.

        The non-negative least squares solution for the given directions.
        """
        from sklearn.decomposition import non_negative_factorization

        flat = _parts(values, both_signs=self.both_signs)
        with _quiet():
            found, _, _ = non_negative_factorization(
                flat, H=self.parts, n_components=len(self), init="custom", update_H=False, max_iter=ITERATIONS
            )
        return np.asarray(found, np.float32).reshape(*values.shape[:-1], len(self))


def _parts(values: Features, *, both_signs: bool) -> Features:
    """Cells ``(n * h * w, C)`` of at least 0, or with ``both_signs`` what is above zero beside what is below, 2C."""
    flat = values.reshape(-1, values.shape[-1])
    return np.concatenate([np.maximum(flat, 0), np.maximum(-flat, 0)], axis=1) if both_signs else np.maximum(flat, 0)


def factorise(cells: Cells, count: int = COUNT, *, seeds: int = SEEDS, seed: int = 0) -> Concepts:
    """Find ``count`` concepts of some images by non-negative matrix factorisation of their cells.

    Lee & Seung 1999 (doi 10.1038/44565), by scikit-learn's coordinate descent; for the activations of a network CRAFT
    (Fel et al. 2023, arXiv 2211.10154). A layer with negative activations, as of a transformer, is split into what is
    above and what is below zero first. Of ``seeds`` beginnings the one with the least error is kept, and `stability`
    compares it with the others (matched one to one by the cosine).

    Raises
    ------
    DataError
        If there are fewer cells or channels than concepts, ``count`` or ``seeds`` is too small, or all is 0.
    """
    from sklearn.decomposition import NMF

    both_signs = bool(cells.values.min() < NEGATIVE)
    flat = _parts(cells.values, both_signs=both_signs)
    if not 1 <= count <= min(flat.shape) or seeds < 2:
        raise DataError(
            f"concepts: expected 1 to {min(flat.shape)} concepts and at least 2 seeds, not {count} and {seeds}"
        )
    if not flat.any():
        raise DataError("concepts: every activation is 0: name another layer")
    chosen = np.random.default_rng(seed).permutation(len(flat))[:MOST_CELLS]
    fits = []
    for one in range(seeds):
        model = NMF(count, init="random", random_state=seed + one, max_iter=ITERATIONS)
        with _quiet():
            model.fit(flat[chosen])
        fits.append((float(model.reconstruction_err_), _unit(model.components_)))
    fits.sort(key=lambda fit: fit[0])
    error, best = fits[0]
    stability = np.mean([_matched(best, other) for _, other in fits[1:]], axis=0)
    explained = 1 - error**2 / float((flat[chosen].astype(np.float64) ** 2).sum())
    return Concepts(best.astype(np.float32), stability, explained, both_signs)


def _unit(directions: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(directions / np.maximum(lengths, np.finfo(np.float64).tiny), np.float64)


def _matched(directions: FloatArray, others: FloatArray) -> FloatArray:
    """The cosine of each direction with the one matched to it, the sum of all being the largest."""
    from scipy.optimize import linear_sum_assignment

    cosine = directions @ others.T
    rows, columns = linear_sum_assignment(-cosine)
    found = np.empty(len(directions))
    found[rows] = cosine[rows, columns]
    return found


class _quiet(warnings.catch_warnings):  # noqa: N801  a context manager, used like a function
    """Without the warning that the limit of iterations was reached: the directions are compared over seeds instead."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", message="Maximum number of iterations")
