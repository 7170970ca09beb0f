"""What each cell of an image does to the model's output, measured by filling in cells at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats
from torch import Tensor

from workbench.attribution import guards
from workbench.attribution.targets import Targets, seeds_of
from workbench.core.records import FloatArray, ImageArray, IntArray, Precision, ProbabilityArray
from workbench.errors import AttributionError
from workbench.evidence import imputation
from workbench.evidence.pixels import logits_of, probability_in, probability_of
from workbench.models.classifier import Classifier

SUBSTRATES = ("blur", "imputation", "inpainting")
USED = SUBSTRATES[:2]
BLOCKS = 2
SIDES = (4, 8)  # the fewest and the most cells a side


@dataclass(frozen=True)
class CellEffects:
    """How the target's probability depends on the cells of ``n`` images, on a grid of rows and columns.

    For each image the cells are split at random into two parts, again and again. ``shown`` bool ``(n, splits, cells)``:
    the cells of the first part; ``differences`` float64 ``(n, splits)`` by substrate: the probability with only the
    first part shown less that with only the second part shown, the other cells being filled. ``whole`` float64
    ``(n,)``: the probability of the image as it is.
    """

    grid: tuple[int, int]
    rows: IntArray
    shown: NDArray[np.bool_]
    differences: Mapping[str, FloatArray]
    whole: FloatArray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def splits(self) -> int:
        """How many splits each image has."""
        return int(self.shown.shape[1])

    def effects(self, substrate: str, image: int) -> FloatArray:
        """The effect of showing each cell, in probability, float64 ``(cells,)``: an unbiased estimate of its mean.

        The mean is over which of the other cells are shown, each with a chance of one half: the Banzhaf value of the
        cell (Banzhaf 1965; for models Wang & Jia 2023, arXiv 2205.15466).
        """
        signs = np.where(self.shown[image], 1.0, -1.0)
        estimated: FloatArray = self.differences[substrate][image] @ signs / self.splits
        return estimated

    def intervals(self, substrate: str, image: int, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Weighted sums of effects for weights ``(m, cells)`` with their 95 % intervals, float64 ``(m,)`` each.

        Student's t with the deviation of the differences from the sum of the effects: as the splits of a block are
        orthogonal, that is least squares, and what cells do jointly is its noise (Box, Hunter & Hunter 2005,
        Statistics for Experimenters, chapter 6).
        """
        effects, signs = self.effects(substrate, image), np.where(self.shown[image], 1.0, -1.0)
        freedom = self.splits - len(effects)
        rest = self.differences[substrate][image] - signs @ effects
        deviation = np.sqrt(np.square(rest).sum() / freedom / self.splits)
        half = stats.t.ppf(0.975, freedom) * deviation * np.linalg.norm(weights, axis=1)
        mean = weights @ effects
        return mean, mean - half, mean + half

    def attainable(self, substrate: str, image: int) -> float:
        """The gain of the cells' own order, found in one block of splits and measured in the others; nan of one block.

        What the best map could gain, from below: an order that is measured with noise is not the best one.
        """
        signs = np.where(self.shown[image], 1.0, -1.0).reshape(-1, block_of(self.shown.shape[2]), self.shown.shape[2])
        if len(signs) < 2:
            return float("nan")
        differences = self.differences[substrate][image].reshape(len(signs), -1)
        by_block = np.einsum("bs,bsc->bc", differences, signs) / signs.shape[1]
        rest = (by_block.sum(0) - by_block) / (len(signs) - 1)
        return float((rank_weights(by_block) * rest).sum(1).mean())

    def part(self, rows: slice) -> CellEffects:
        """The effects of some of the images."""
        kept = {name: values[rows] for name, values in self.differences.items()}
        return CellEffects(self.grid, self.rows[rows], self.shown[rows], kept, self.whole[rows])


def block_of(cells: int) -> int:
    """How many splits make a block in which so many cells do not disturb each other: a power of 2 above their number.

    One column of the matrix is constant, and some splits have to be left to estimate the noise.
    """
    return 1 << (cells + 2).bit_length()


def evidence_grid(classifier: Classifier) -> tuple[int, int]:
    """The one grid on which all maps of a model are compared: that of its last layer, with 4 to 8 cells a side.

    A grid of more than 8 cells a side is halved until it fits, one of fewer than 4 becomes 4; a model without a layer
    has 8 by 8. Maps are pooled to it, so that a method gains nothing by a finer or coarser grid than another's.
    """
    least, most = SIDES
    if classifier.last_layer is None:
        return most, most

    def fitted(side: int) -> int:
        while side > most:
            side = -(-side // 2)
        return max(side, least)

    rows, columns = classifier.last_layer.grid
    return fitted(rows), fitted(columns)


def pooled(maps: ProbabilityArray, grid: tuple[int, int]) -> FloatArray:
    """Maps ``(n, h, w)`` as means over the cells of a grid, float64 ``(n, cells)``; coarser ones bilinearly."""
    rows, columns = grid
    found = []
    for values in np.asarray(maps, np.float64):
        finer = values.shape[0] >= rows and values.shape[1] >= columns
        how = cv2.INTER_AREA if finer else cv2.INTER_LINEAR
        found.append(values if values.shape == grid else cv2.resize(values, (columns, rows), interpolation=how))
    return np.stack(found).reshape(len(maps), -1)


def rank_weights(cells: FloatArray) -> FloatArray:
    """Cell values ``(m, cells)`` by their ranks, evenly from -1 for the lowest to 1 for the highest, ties shared.

    The sum of weight times effect is then, for an output that is a sum over cells, the area between two curves: the
    probability while the highest cells are shown first, and while the lowest are (the symmetric relevance gain of
    Blücher, Vielhaben & Strodthoff 2024, arXiv 2401.06654). All maps without ties have the same weights in another
    order, so that neither scale nor spread of a map's values matters.
    """
    ranks = stats.rankdata(cells, axis=1)
    return np.asarray(2 * (ranks - 1) / (cells.shape[1] - 1) - 1)


def cell_effects(
    classifier: Classifier,
    images: ImageArray,
    rows: IntArray,
    targets: Targets,
    grid: tuple[int, int],
    *,
    blocks: int = BLOCKS,
    substrates: Sequence[str] = USED,
    precision: Precision = "float32",
    known: CellEffects | None = None,
) -> CellEffects:
    """Measure what the cells of ``n`` images do: two passes a split and substrate, shared by all maps of an image.

    The splits are a foldover of a two-level design: blocks of rows of a Hadamard matrix whose columns are given to
    cells at random, with random signs, each row beside its opposite (Box & Wilson 1951; Plackett & Burman 1946, doi
    10.1093/biomet/33.4.305). Each split by itself is uniformly random, as in RISE (Petsiuk et al. 2018, arXiv
    1806.07421); together they estimate the effects with less noise, as cells do not disturb each other, nor what two
    cells do jointly the effect of one.

    Parameters
    ----------
    images : uint8 array (n, H, W, 3)
    rows : int64 array (n,)
        Row ids; they seed the splits, so that an image's figures depend on no other image.
    targets : Targets
        Whose probability is measured; for a contrast the target's among the two classes.
    grid : rows and columns of cells
    blocks : int
        Of splits, each of `block_of` the cells.
    substrates : of `SUBSTRATES`
        What filled cells show: the image under a Gaussian of an eighth of its side, ROAD's noisy linear imputation, or
        OpenCV's inpainting.
    known : CellEffects, optional
        Of the same images, measured alike with fewer blocks, which are not measured again.

    Raises
    ------
    AttributionError
        If a substrate is unknown, there are fewer than two cells or one block, or counts or targets do not fit.
    """
    guards.check_request(classifier, images, rows, targets)
    if unknown := [name for name in substrates if name not in SUBSTRATES]:
        raise AttributionError(f"substrate: expected some of {', '.join(SUBSTRATES)}, not {unknown[0]!r}")
    cells = grid[0] * grid[1]
    if min(grid) < 1 or cells < 2 or blocks < 1 or not substrates:
        raise AttributionError(f"cell effects: expected two cells, a block and a substrate, not {grid} and {blocks}")
    shown = np.stack([_splits(seed, blocks, cells) for seed in seeds_of(rows)])
    begun = 0 if known is None else known.splits
    differences: dict[str, list[FloatArray]] = {name: [] for name in substrates}
    answers: dict[str, Tensor] = {}
    for k, row in enumerate(rows):
        new = shown[k, begun:]
        masks = pixels_of(np.concatenate([new, ~new]), grid, images.shape[1:3])
        one = targets.part(slice(k, k + 1))
        every = Targets(one.of.repeat(len(masks)), None if one.against is None else one.against.repeat(len(masks)))
        same = k > 0 and row == rows[k - 1] and np.array_equal(images[k], images[k - 1])  # for another target
        for name in substrates:
            if not same:
                x = filled(classifier, images[k : k + 1], masks, name, seeds_of(rows[k : k + 1])[0] + begun)
                answers[name] = logits_of(classifier, x, precision)
            first, second = probability_in(answers[name], every).reshape(2, -1)
            differences[name].append(first - second)
    measured = {name: np.stack(values) for name, values in differences.items()}
    if known is not None:
        measured = {name: np.concatenate([known.differences[name], v], axis=1) for name, v in measured.items()}
    whole = probability_of(classifier, classifier.prepare(images), targets, precision)
    return CellEffects(grid, rows, shown, measured, whole)


def _splits(seed: int, blocks: int, cells: int) -> NDArray[np.bool_]:
    """Random blocks of splits, bool ``(blocks * block_of(cells), cells)``."""
    generator, size = np.random.default_rng(seed), block_of(cells)
    matrix = linalg.hadamard(size) > 0
    drawn = []
    for _ in range(blocks):
        columns = generator.permutation(np.arange(1, size))[:cells]
        drawn.append(matrix[:, columns] ^ generator.integers(0, 2, cells).astype(bool))
    return np.concatenate(drawn)


def pixels_of(cells: NDArray[np.bool_], grid: tuple[int, int], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Masks of cells ``(m, cells)`` as masks of pixels ``(m, H, W)``."""
    row, column = (np.arange(side) * count // side for side, count in zip(size, grid, strict=True))
    return np.asarray(cells.reshape(-1, *grid)[:, row[:, None], column[None, :]])


def filled(classifier: Classifier, image: ImageArray, shown: NDArray[np.bool_], substrate: str, seed: int) -> Tensor:
    """An image ``(1, H, W, 3)``, prepared, with the pixels filled that are not shown ``(m, H, W)``."""
    if substrate == "imputation":
        x = classifier.prepare(image)
        drawn = np.random.default_rng(seed).integers(0, 2**31, len(shown))
        return imputation.impute(x.expand(len(shown), -1, -1, -1), ~shown, tuple(int(one) for one in drawn))
    if substrate == "blur":
        return classifier.prepare(np.where(shown[..., None], image, imputation.blur(image)))
    return classifier.prepare(np.stack([imputation.inpaint(image[0], ~mask) for mask in shown]))


def joined(parts: Sequence[CellEffects]) -> CellEffects:
    """The effects of several parts of the images, measured alike, as one."""
    first = parts[0]
    return CellEffects(
        first.grid,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.shown for part in parts]),
        {name: np.concatenate([part.differences[name] for part in parts]) for name in first.differences},
        np.concatenate([part.whole for part in parts]),
    )
