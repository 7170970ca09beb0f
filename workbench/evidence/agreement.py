"""Whether a map tells what an image's cells do better than maps that can't know: those of other images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.evidence.cells import CellEffects, pooled, rank_weights

PERMUTATIONS = 999
REFERENCES = 99  # maps of other images, at the least, for a p-value that a correction can leave below 0.05
_TIE = 1e-9


@dataclass(frozen=True)
class Agreement:
    """How ``n`` maps agree with the measured effects of cells under one substrate; all float64 ``(n,)``.

    ``gain``: the sum of rank weight times effect, in probability (see `cells.rank_weights`); ``others`` and
    ``mean_map``: the same for maps of other images, on average, and for their mean map. ``effect`` is the gain less
    that of the others, with the 95 % interval ``low`` to ``high`` of `CellEffects.intervals`. ``p_others``: the
    share of maps of other images, the map's own included, that gain at least as much; ``p_permuted``: the same for
    orders of the map's own cells at random; ``p_below``: the larger share of the two that gain at most as much.
    ``attainable``: what the best map could gain over the others, see `CellEffects.attainable`. ``least``: the sum of
    the effects of the quarter of cells that the map ranks lowest, with its 95 % interval ``least_low`` to
    ``least_high``: below 0 they speak against the class, each while half of the other cells are shown.
    """

    gain: FloatArray
    others: FloatArray
    mean_map: FloatArray
    effect: FloatArray
    low: FloatArray
    high: FloatArray
    p_others: FloatArray
    p_permuted: FloatArray
    p_below: FloatArray
    attainable: FloatArray
    least: FloatArray
    least_low: FloatArray
    least_high: FloatArray

    @property
    def p_value(self) -> FloatArray:
        """The larger of ``p_others`` and ``p_permuted``: both kinds of control have to be beaten (n,)."""
        return np.maximum(self.p_others, self.p_permuted)


@dataclass(frozen=True)
class Reference:
    """Rank weights of a method's maps of other images, float64 ``(m, cells)``, and the row ids of these images."""

    weights: FloatArray
    rows: IntArray

    @classmethod
    def of(cls, maps: ProbabilityArray, rows: IntArray, grid: tuple[int, int]) -> Reference:
        """From maps ``(m, h, w)`` of the same method, layer and kind of target."""
        return cls(rank_weights(pooled(maps, grid)), rows)


def agreement(
    effects: CellEffects, maps: ProbabilityArray, reference: Reference, *, permutations: int = PERMUTATIONS
) -> dict[str, Agreement]:
    """How maps ``(n, h, w)`` of the images of ``effects`` agree with them, by substrate.

    Tests by randomisation: if a map knew nothing of its image, it would be exchangeable with the maps of other images,
    which have the method's spectrum and its bias towards the middle, and, less strictly, with its own cells in another
    order. A p-value is then at most u with a probability of at most u (Phipson & Smyth 2010, doi
    10.2202/1544-6115.1585: the map itself is counted), whatever the noise of the measured effects. The image's own row
    is left out of the reference; without a reference p-values against it are 1.
    """
    own = rank_weights(pooled(maps, effects.grid))
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in effects.differences}
    for k, row in enumerate(effects.rows):
        others = reference.weights[reference.rows != row]
        generator = np.random.default_rng(int(row))
        shuffled = generator.permuted(np.tile(own[k], (permutations, 1)), axis=1)
        for name in effects.differences:
            found[name].append(_one(effects, name, k, own[k], others, shuffled))
    return {name: Agreement(*np.array(rows, np.float64).T) for name, rows in found.items()}


def _one(
    effects: CellEffects, substrate: str, image: int, own: FloatArray, others: FloatArray, shuffled: FloatArray
) -> tuple[float, ...]:
    usual = others.mean(0) if len(others) else np.zeros_like(own)
    typical = rank_weights(usual[None])[0] if len(others) else usual
    effects_of_cells = effects.effects(substrate, image)
    gains = np.stack([own, usual, typical]) @ effects_of_cells
    effect = [float(one[0]) for one in effects.intervals(substrate, image, (own - usual)[None])]
    p_values = [_p_values(gains[0], controls @ effects_of_cells) for controls in (others, shuffled)]
    above, below = zip(*p_values, strict=True)
    attainable = effects.attainable(substrate, image) - float(gains[1])
    least = [float(one[0]) for one in effects.intervals(substrate, image, _lowest_quarter(own)[None])]
    return (*gains, *effect, *above, max(below), attainable, *least)


def _lowest_quarter(own: FloatArray) -> FloatArray:
    """Weight 1 for the quarter of cells with the lowest ranks, else 0; ties at the limit share what is left."""
    count = max(1, len(own) // 4)
    limit = np.sort(own)[count - 1]
    below, tied = own < limit, own == limit
    return np.where(below, 1.0, np.where(tied, (count - below.sum()) / tied.sum(), 0.0))


def _p_values(gain: float, controls: FloatArray) -> tuple[float, float]:
    """The shares of gains, the map's own counted among them, at least and at most as large as its own."""
    above, below = ((side >= -_TIE).sum() for side in (controls - gain, gain - controls))
    return (1 + above) / (1 + len(controls)), (1 + below) / (1 + len(controls))
