"""Pairs and blocks of classes that are confused more often than the classes' own rates would bring about."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from workbench.analysis.confusion import asymmetries
from workbench.analysis.quasi import expected_errors
from workbench.core.records import ConfusionMatrix, FloatArray, IntArray
from workbench.findings.known import Known
from workbench.findings.record import Finding, Found

MOST = 5  # pairs that get a finding each; all are in the table of asymmetries
LEAST = 5  # confusions of a pair
TRIED, FEW = 20, 60  # pairs that are each left out in turn, where there are at most that many classes
BLOCKS = 200  # most classes among which blocks are looked for
ACTION = "look at the images of both classes side by side; add examples or labels that tell them apart"
Mask = NDArray[np.bool_]


def find(known: Known) -> Found:
    """Pairs whose confusions exceed the expected ones, and the block of three classes or more that does.

    Expected is what quasi-independence gives: every class keeps its own number of errors and of wrong answers, and
    errors fall on the others in proportion (`analysis.quasi.expected_errors`, fitted to all cells). A pair's count, in
    both directions together and at least five, is compared with it by Poisson's distribution; as the fit takes up a
    part of any excess, that errs towards no finding. The pairs are named one by one; a further one has to exceed, too,
    what follows from a fit without those before it, as a pair that is confused often makes others look rare, and the
    classes apart from it confused with each other. Blocks are branches of the average linkage of the classes by
    confusion; the best one is chosen on a random half of the rows and tested on the other.
    """
    matrix = _errors(known.label, known.predictions.predicted, len(known.predictions.classes))
    if len(matrix) < 3 or not matrix.any():
        return Found()
    uneven = _asymmetric(ConfusionMatrix(_counts(known), known.predictions.classes))
    pairs = [_pair(known, matrix, *pair, uneven) for pair in _excessive(matrix)]
    block = _block(known, matrix)
    return Found([*pairs, *block.candidates], len(matrix) * (len(matrix) - 1) // 2 + block.tests)


def _counts(known: Known) -> IntArray:
    classes = len(known.predictions.classes)
    cells = known.label * classes + known.predictions.predicted
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def _errors(label: IntArray, predicted: IntArray, classes: int) -> IntArray:
    counts = np.bincount(label * classes + predicted, minlength=classes**2).reshape(classes, classes)
    np.fill_diagonal(counts, 0)
    return counts


def _tail(seen: int, awaited: float) -> float:
    """The chance of as many confusions, or more, where so many are expected."""
    return float(scipy.stats.poisson.sf(seen - 1, max(awaited, 1e-12)))


def _excessive(matrix: IntArray) -> list[tuple[int, int, float, float]]:
    """The pairs whose count exceeds the expected one: both classes, what is expected, and the p-value."""
    both, whole = matrix + matrix.T, expected_errors(matrix)
    whole = whole + whole.T
    left_out = np.zeros(matrix.shape, bool)
    found: list[tuple[int, int, float, float]] = []
    while len(found) < MOST and (pairs := _largest(matrix, left_out)):
        a, b = _strongest(matrix, pairs, left_out) if len(matrix) <= FEW else pairs[0]
        rest = expected_errors(matrix, left_out)
        p_value = max(
            _tail(int(both[a, b]), float(whole[a, b])), _tail(int(both[a, b]), float(rest[a, b] + rest[b, a]))
        )
        if p_value > 0.05:
            break
        found.append((a, b, float(whole[a, b]), p_value))
        left_out[a, b] = left_out[b, a] = True
    return found


def _largest(matrix: IntArray, left_out: Mask) -> list[tuple[int, int]]:
    """The pairs with the largest standardised excess over what the cells that are not left out let expect."""
    expected = expected_errors(matrix, left_out)
    first, second = np.triu_indices(len(matrix), 1)
    seen = (matrix + matrix.T)[first, second]
    awaited = (expected + expected.T)[first, second]
    z = np.where(left_out[first, second] | (seen < LEAST), -np.inf, (seen - awaited) / np.sqrt(np.maximum(awaited, 1)))
    order = np.argsort(-z, kind="stable")[:TRIED]
    return [(int(first[k]), int(second[k])) for k in order if z[k] > 0]


def _strongest(matrix: IntArray, pairs: list[tuple[int, int]], left_out: Mask) -> tuple[int, int]:
    """The pair that stands out most from a fit without it; this decides on the order alone, not on the test."""

    def excess(pair: tuple[int, int]) -> float:
        a, b = pair
        without = left_out.copy()
        without[a, b] = without[b, a] = True
        expected = expected_errors(matrix, without)
        awaited = float(expected[a, b] + expected[b, a])
        return float(matrix[a, b] + matrix[b, a] - awaited) / float(np.sqrt(max(awaited, 1.0)))

    return max(pairs, key=excess)


def _asymmetric(matrix: ConfusionMatrix) -> dict[tuple[int, int], tuple[float, float, float]]:
    """The ordered pairs whose first class is predicted as the second more often than the reverse: rates, adjusted p."""
    rows = asymmetries(matrix).select("first", "second", "first_rate", "second_rate", "adjusted_p_value").iter_rows()
    return {(a, b): (one, other, p) for a, b, one, other, p in rows if p is not None and p < 0.05}


def _interval(count: int, awaited: float, errors: int) -> tuple[float, float]:
    """Exact Poisson bounds of a count (Garwood 1936, doi 10.1093/biomet/28.3-4.437), less what is expected."""
    low = scipy.stats.chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return float(low - awaited) / errors, float(scipy.stats.chi2.ppf(0.975, 2 * count + 2) / 2 - awaited) / errors


def _pair(
    known: Known,
    matrix: IntArray,
    a: int,
    b: int,
    awaited: float,
    p_value: float,
    uneven: dict[tuple[int, int], tuple[float, float, float]],
) -> Finding:
    names, predicted = known.predictions.classes, known.predictions.predicted
    inside = ((known.label == a) & (predicted == b)) | ((known.label == b) & (predicted == a))
    count, errors = int(inside.sum()), int(matrix.sum())
    low, high = _interval(count, awaited, errors)
    direction = ""
    for i, j in ((a, b), (b, a)):
        if (i, j) in uneven:
            one, other, p = uneven[i, j]
            direction = (
                f"; {one:.1%} of {names[i]} are predicted as {names[j]}, and {other:.1%} the other way (p = {p:.2g})"
            )
    return Finding(
        "confusions",
        f"{names[a]} and {names[b]}",
        f"{names[a]} and {names[b]} are confused {count} times, where {awaited:.0f} would follow from how often each "
        f"class is misclassified and answered{direction}.",
        known.rows(inside),
        (count - awaited) / errors,
        low,
        high,
        "share of all errors beyond the expected ones",
        "quasi-independence: errors fall on the other classes in proportion to how often they are answered",
        "Poisson test of the count",
        ACTION,
        errors=count,
        cost=count - awaited,
        p_value=p_value,
        explains=False,
    )


def _block(known: Known, matrix: IntArray, seed: int = 0) -> Found:
    classes = len(matrix)
    if not 5 <= classes <= BLOCKS:
        return Found()
    label, predicted = known.label, known.predictions.predicted
    half = np.random.default_rng(seed).random(len(label)) < 0.5
    chosen = _best_block(_errors(label[half], predicted[half], classes))
    if chosen is None:
        return Found()
    held = _errors(label[~half], predicted[~half], classes)
    inside = np.isin(label, chosen) & np.isin(predicted, chosen) & known.wrong
    count = int((inside & ~half).sum())
    awaited = float(expected_errors(held)[np.ix_(chosen, chosen)].sum())
    errors = max(1, int(held.sum()))
    low, high = _interval(count, awaited, errors)
    names = known.predictions.classes
    listed = ", ".join(names[k] for k in chosen[:-1]) + f" and {names[chosen[-1]]}"
    both = np.triu(matrix + matrix.T, 1)[np.ix_(chosen, chosen)]
    a, b = (chosen[int(k)] for k in np.unravel_index(int(both.argmax()), both.shape))
    finding = Finding(
        "confusions",
        listed,
        f"{listed} are confused among themselves: {inside.sum()} of {known.wrong.sum()} errors, most often {names[a]} "
        f"and {names[b]} ({both.max()}); on the half of the rows that did not choose them {count}, where {awaited:.0f} "
        "would follow from how often each class is misclassified and answered.",
        known.rows(inside),
        (count - awaited) / errors,
        low,
        high,
        "share of all errors beyond the expected ones",
        "quasi-independence, on the held-out half of the rows",
        "held-out rows: the block was chosen on one half and tested by Poisson's distribution on the other",
        "a model, features or labels that tell these classes apart help more than any work on the others",
        errors=int(inside.sum()),
        cost=2 * (count - awaited),
        p_value=_tail(count, awaited),
        explains=False,
    )
    return Found([finding], 1)


def _best_block(matrix: IntArray) -> list[int] | None:
    """The branch of the linkage of classes, of 3 to K − 2 of them, with the largest standardised excess."""
    if not matrix.any():
        return None
    expected = expected_errors(matrix)
    both = (matrix + matrix.T).astype(np.float64)
    ratio: FloatArray = both / (both + expected + expected.T + 1.0)
    distance = ratio.max() - ratio
    np.fill_diagonal(distance, 0)
    _, nodes = scipy.cluster.hierarchy.to_tree(
        scipy.cluster.hierarchy.linkage(scipy.spatial.distance.squareform(distance, checks=False), "average"), rd=True
    )
    found: tuple[float, list[int] | None] = (0.0, None)
    for node in nodes:
        members = sorted(node.pre_order())
        if 3 <= len(members) <= len(matrix) - 2:
            awaited = expected[np.ix_(members, members)].sum()
            z = (matrix[np.ix_(members, members)].sum() - awaited) / np.sqrt(awaited + 1)
            found = max(found, (float(z), members), key=lambda pair: pair[0])
    return found[1]
