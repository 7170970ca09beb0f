"""The smallest region that suffices for an answer, and the smallest without which it is another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.attribution import guards
from workbench.attribution.targets import Targets
from workbench.core.records import FloatArray, ImageArray, IntArray
from workbench.errors import AttributionError
from workbench.evidence.cells import SUBSTRATES, evidence_grid, filled, pixels_of
from workbench.evidence.pixels import logits_of
from workbench.models.classifier import Classifier

Kind = Literal["sufficient", "necessary"]
KINDS: tuple[Kind, ...] = ("sufficient", "necessary")


@dataclass(frozen=True)
class Region:
    """Cells found one after another, until the answer is the class (sufficient) or is it no more (necessary).

    ``cells`` int64 ``(m,)``: their places in the grid, row by row, in the order in which they were found; ``curve``
    float64 ``(m + 1,)``: the class's probability before the first and after each. ``reached``: whether the answer
    became the class, or another, before all cells were used up.
    """

    kind: Kind
    grid: tuple[int, int]
    substrate: str
    cells: IntArray
    curve: FloatArray
    reached: bool

    @property
    def share(self) -> float:
        """The share of the image's area that the region takes."""
        return len(self.cells) / (self.grid[0] * self.grid[1])

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The region on its grid, bool ``grid``."""
        found = np.zeros(self.grid[0] * self.grid[1], bool)
        found[self.cells] = True
        return found.reshape(self.grid)

    def __str__(self) -> str:
        what = (
            "shown alone, the answer is the class" if self.kind == "sufficient" else "filled in, the answer is another"
        )
        if not self.reached:
            return f"no {self.kind} region was found ({self.substrate})"
        return f"{len(self.cells)} of {self.mask.size} cells {what}: {self.curve[0]:.2f} to {self.curve[-1]:.2f}"


def smallest_region(
    classifier: Classifier,
    image: ImageArray,
    target: int,
    kind: Kind = "sufficient",
    *,
    grid: tuple[int, int] | None = None,
    substrate: str = "blur",
    seed: int = 0,
) -> Region:
    """A small region that alone gives the answer ``target``, or without which the answer is another, by greedy search.

    At each step the cell is added that raises, or whose filling lowers, the class's probability most (the question of
    Fong & Vedaldi 2017, arXiv 1704.03296; sufficient input subsets, Carter et al. 2019, arXiv 1810.03805). A greedy
    region is small, not provably the smallest; another filling may give another one.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
    target : int
        The class; for a necessary region it has to be the answer.
    grid : rows and columns of cells; default: `cells.evidence_grid`
    substrate : of `cells.SUBSTRATES`
        What filled cells show.

    Raises
    ------
    AttributionError
        If the target is out of range or is not the answer, or a kind or substrate is unknown.
    """
    guards.check_request(classifier, image[None], np.zeros(1, np.int64), Targets(np.array([target])))
    if kind not in KINDS:
        raise AttributionError(f"region: expected one of {', '.join(KINDS)}, not {kind!r}")
    if substrate not in SUBSTRATES:
        raise AttributionError(f"substrate: expected one of {', '.join(SUBSTRATES)}, not {substrate!r}")
    grid = evidence_grid(classifier) if grid is None else grid
    count = grid[0] * grid[1]
    whole = logits_of(classifier, classifier.prepare(image[None]))[0]
    if kind == "necessary" and int(whole.argmax()) != target:
        answer = classifier.classes[int(whole.argmax())]
        raise AttributionError(f"region: the answer is {answer}, not {classifier.classes[target]}: explain that one")
    shown = np.full(count, kind == "necessary")
    cells: list[int] = []

    def tried(masks: NDArray[np.bool_]) -> tuple[FloatArray, IntArray]:
        x = filled(classifier, image[None], pixels_of(masks, grid, image.shape[:2]), substrate, seed)
        logits = logits_of(classifier, x)
        return np.asarray(logits.softmax(1)[:, target].cpu().numpy()), np.asarray(logits.argmax(1).cpu().numpy())

    (first,), (answer_now,) = tried(shown[None])
    curve, done = [float(first)], _is_done(kind, int(answer_now), target)
    while not done and len(cells) < count:
        left = np.setdiff1d(np.arange(count), cells)
        masks = np.repeat(shown[None], len(left), axis=0)
        masks[np.arange(len(left)), left] = kind == "sufficient"
        probability, answers = tried(masks)
        best = int(probability.argmax() if kind == "sufficient" else probability.argmin())
        cells.append(int(left[best]))
        shown = masks[best]
        curve.append(float(probability[best]))
        done = _is_done(kind, int(answers[best]), target)
    return Region(kind, grid, substrate, np.array(cells, np.int64), np.array(curve), done)


def _is_done(kind: Kind, answer: int, target: int) -> bool:
    return (answer == target) == (kind == "sufficient")
