"""The smallest strength of a kind of change that flips an answer: a grid, then bisection, for many images at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.core.records import ImageArray, IntArray
from workbench.robustness.changes import Change, apply
from workbench.robustness.kinds import ChangeKind

LEAST = 1 / 8  # of the weakest strength of a grid: none below is looked at
CLOSE = 0.9  # of the smallest change that flips an answer: one that does not
BATCH_BYTES = 2**26  # of changed images held at once
Progress = Callable[[int, int], None]
Answers = Callable[[ImageArray], IntArray]


@dataclass
class Search:
    """The search for the smallest strength of one kind that flips the answer of one image.

    The strengths of the kind's grid are tried in turn, in all directions, until one flips the answer; then the interval
    below it is halved (on a logarithmic scale) in the directions that flipped it, until ``CLOSE`` times the strength
    does not flip the answer in any of them. ``strength`` is None if no strength of the grid flips it, and ``answer`` is
    the class that it is flipped to.
    """

    place: int
    kind: ChangeKind
    grid: tuple[float, ...]
    before: int
    strength: float | None = None
    variant: int = 0
    answer: int = -1
    done: bool = False

    def __post_init__(self) -> None:
        self._open = tuple(range(len(self.kind.variants)))
        self._alone = [0.0]  # strengths that leave the answer alone
        self._level = 0

    def query(self) -> tuple[float, tuple[int, ...]]:
        """The strength to try next, and in which directions."""
        return (self.grid[self._level] if self.strength is None else self._below(self.strength)), self._open

    def _below(self, high: float) -> float:
        """The next strength to try below one that flips the answer."""
        low = max(strength for strength in self._alone if strength < high)
        if self.kind.whole:
            return float((low + high) // 2)
        middle = (low * high) ** 0.5 if low else high / 2
        return CLOSE * high if low >= CLOSE * high else min(middle, CLOSE * high)

    def record(self, strength: float, answers: Mapping[int, int]) -> None:
        """Continue from the class that each direction tried gives at a strength."""
        flipped = [variant for variant, answer in answers.items() if answer != self.before]
        if flipped:
            self.strength, self.variant, self.answer = strength, flipped[0], answers[flipped[0]]
            self._open = tuple(flipped)
        else:
            self._alone.append(strength)
        if self.strength is None:
            self._level += 1
            self.done = self._level == len(self.grid)
        else:
            following = self._below(self.strength)
            least = 1 if self.kind.whole else self.grid[0] * LEAST
            self.done = self.kind.is_switch or following in self._alone or following < least


def searches(
    images: Sequence[ImageArray],
    before: IntArray,
    kinds: Sequence[ChangeKind],
    answers: Answers,
    *,
    ids: IntArray | None = None,
    progress: Progress | None = None,
) -> list[Search]:
    """Finished searches of each kind for each image, uint8 ``(H, W, 3)``, whose answer is ``before`` ``(n,)``.

    ``ids`` ``(n,)`` are row ids, from which noise is drawn; default: the places.

    ``answers`` gives the predicted classes of images ``(m, H, W, 3)``; it is asked for many images and kinds at once.
    """
    rows = np.arange(len(images)) if ids is None else ids
    found = [
        Search(place, kind, kind.grid(min(image.shape[:2])), int(before[place]))
        for place, image in enumerate(images)
        for kind in kinds
    ]
    going, total, size = list(found), len(found), _at_once(images, max(len(kind.variants) for kind in kinds))
    while going:
        for first in range(0, len(going), size):
            part = going[first : first + size]
            asked = [(search, *search.query()) for search in part]
            changed = [
                apply(images[search.place], search.kind.variants[variant](strength).seeded(rows[search.place]))
                for search, strength, variants in asked
                for variant in variants
            ]
            given = iter(answers(np.stack(changed)).tolist())
            for search, strength, variants in asked:
                search.record(strength, {variant: next(given) for variant in variants})
        going = [search for search in going if not search.done]
        if progress is not None:
            progress(total - len(going), total)
    return found


def answers_after(images: Sequence[ImageArray], ids: IntArray, change: Change, answers: Answers) -> IntArray:
    """The predicted class of each image after a change, int64 ``(n,)``; noise is drawn from its row id."""
    size = _at_once(images)
    made = list(zip(images, ids.tolist(), strict=True))
    parts = [made[first : first + size] for first in range(0, len(made), size)]
    found = [answers(np.stack([apply(image, change.seeded(row)) for image, row in part])) for part in parts]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _at_once(images: Sequence[ImageArray], each: int = 1) -> int:
    """Of how many images ``each`` changed copies are held at once."""
    return max(1, BATCH_BYTES // (each * max((image.nbytes for image in images), default=1)))
