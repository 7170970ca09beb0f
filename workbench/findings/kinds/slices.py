"""Slices: kinds of images that fail more often than others of their classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.strata import Excess, Strata, excess
from workbench.core.records import FloatArray, IntArray
from workbench.findings.features import TOLD, Feature, answer_codes, features_of, told_by_answer
from workbench.findings.groups import LEVEL, group_finding, holds_without
from workbench.findings.known import NO_IMAGES, Known
from workbench.findings.record import Finding, Found

LEAST, JUDGED, SPLITS, SHOWN = 20, 40, 10, 12
ACTION = "collect, generate or weight more of these in training, or find out what they have in common"
COLUMNS = "slices of your own columns: add columns to the predictions (camera, site, time, source), of any type"
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Candidate:
    """A slice: a class or none, and codes of one feature or two."""

    terms: tuple[tuple[int, int], ...]
    label: int = -1


def find(known: Known, seed: int = 0) -> Found:
    """Slices of depth one and two, found on a random half of the rows and judged on the other.

    A candidate is a value of a feature (`features.features_of`), two values of two, or a value within one class. It is
    compared within classes with the rows that lack it (`analysis.strata.excess`); two values with the rows that have
    one of them, and the weaker evidence counts (Berger 1982, doi 10.1080/00401706.1982.10487790); a value within a
    class with the other rows of the class. The 40 with the strongest excess on one half are judged on the other,
    once each. Of those that hold the strongest is kept, its rows are set aside, and the others have to hold without
    them, so that "dark" is not reported for what only dark cats do, nor the reverse.

    A feature of which the answer alone tells more than half (`features.told_by_answer`) is refused: its slices would
    repeat the confusion matrix.
    """
    answer = answer_codes(known)
    features, missing = [], []
    for feature in features_of(known):
        share = told_by_answer(feature, known, answer)
        if share > TOLD:
            missing.append(f"slices of {feature.name}: refused, as the answer alone tells {share:.0%} of it")
        else:
            features.append((feature, share))
    if not known.own:
        missing.append(COLUMNS)
    if known.images is None:
        missing.append(f"slices by light, sharpness, colour and texture: {NO_IMAGES}")
    half = np.zeros(len(known.label), bool)
    half[np.random.default_rng(seed).permutation(len(half))[: len(half) // 2]] = True
    names = [feature for feature, _ in features]
    chosen = _candidates(names, known, half)
    judged = [(candidate, _judge(candidate, names, known, ~half)) for candidate in chosen]
    kept = _without_overlap(judged, names, known, ~half)
    told = {feature.name: share for feature, share in features}
    found = [_finding(candidate, result, names, told, known, ~half) for candidate, result in kept[:SHOWN]]
    return Found(found, len(judged), missing)


def _mask(candidate: _Candidate, features: Sequence[Feature], known: Known) -> Mask:
    mask = known.label == candidate.label if candidate.label >= 0 else np.ones(len(known.label), bool)
    for place, code in candidate.terms:
        mask = mask & (features[place].codes == code)
    return np.asarray(mask)


def _candidates(features: Sequence[Feature], known: Known, half: Mask) -> list[_Candidate]:
    """The candidates with the strongest excess on ``half``, strongest first."""
    classes = len(known.predictions.classes)
    label, wrong = known.label[half], known.wrong[half].astype(np.int64)
    total = _counts((), (), label, wrong, classes)
    scored: list[tuple[float, _Candidate]] = []

    def add(z: FloatArray, rows: FloatArray, make: Callable[..., _Candidate]) -> None:
        scored.extend((float(z[tuple(at)]), make(*at.tolist())) for at in np.argwhere((z > 0) & (rows >= LEAST)))

    codes = [feature.codes[half] for feature in features]
    sizes = [len(feature.words) for feature in features]
    singles = [_counts((code,), (size,), label, wrong, classes) for code, size in zip(codes, sizes, strict=True)]
    for f, inside in enumerate(singles):
        add(_z(inside, total - inside), inside[..., 0].sum(-1), lambda v, f=f: _Candidate(((f, v),)))
        within = _z(inside[:, :, None], (total - inside)[:, :, None])
        add(within, inside[..., 0], lambda v, c, f=f: _Candidate(((f, v),), c))
    for f, g in combinations(range(len(features)), 2):
        if features[f].name == features[g].name:  # two ends of one property
            continue
        inside = _counts((codes[f], codes[g]), (sizes[f], sizes[g]), label, wrong, classes)
        z = np.minimum(_z(inside, singles[f][:, None] - inside), _z(inside, singles[g][None] - inside))
        add(z, inside[..., 0].sum(-1), lambda v, u, f=f, g=g: _Candidate(((f, v), (g, u))))
    scored.sort(key=lambda pair: -pair[0])
    return [candidate for _, candidate in scored[:JUDGED]]


def _counts(
    codes: tuple[IntArray, ...], sizes: tuple[int, ...], label: IntArray, wrong: IntArray, classes: int
) -> FloatArray:
    """Rows and errors by value and class, float64 ``(*sizes, K, 2)``; rows without a value are in no cell."""
    has = np.ones(len(label), bool)
    cell = np.zeros(len(label), np.int64)
    for code, size in zip(codes, sizes, strict=True):
        has &= code >= 0
        cell = cell * size + np.maximum(code, 0)
    cell = (cell * classes + label)[has]
    shape = (*sizes, classes)
    rows = np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)
    errors = np.bincount(cell, wrong[has], int(np.prod(shape))).reshape(shape)
    return np.stack([rows, errors], -1).astype(np.float64)


def _z(inside: FloatArray, other: FloatArray) -> FloatArray:
    """The standardised Mantel-Haenszel excess, with continuity correction, of counts ``(..., K, 2)``; 0 if none."""
    n1, a, n0, m = inside[..., 0], inside[..., 1], other[..., 0], inside[..., 1] + other[..., 1]
    n = n1 + n0
    safe = np.maximum(n, 1)
    expected = (n1 * m / safe).sum(-1)
    variance = (n1 * n0 * m * (n - m) / (safe**2 * np.maximum(n - 1, 1))).sum(-1)
    gap = a.sum(-1) - expected - 0.5
    return np.asarray(np.divide(gap, np.sqrt(variance), out=np.zeros_like(gap), where=variance > 0))


def _judge(candidate: _Candidate, features: Sequence[Feature], known: Known, among: Mask) -> Excess:
    """The excess on the rows ``among``, in the comparison that gives the weakest evidence."""
    inside = _mask(candidate, features, known)
    label, wrong = known.label, known.wrong
    if len(candidate.terms) == 1:
        others = [label == candidate.label if candidate.label >= 0 else np.ones(len(label), bool)]
    else:
        others = [features[place].codes == code for place, code in candidate.terms]
    results = []
    for other in others:
        rows = among & (inside | other)
        results.append(excess(Strata.of(inside[rows], wrong[rows], label[rows])))
    return max(results, key=lambda result: result.p_value)


def _without_overlap(
    judged: Sequence[tuple[_Candidate, Excess]], features: Sequence[Feature], known: Known, among: Mask
) -> list[tuple[_Candidate, Excess]]:
    """Those that hold at 5 %, strongest first, each also without the rows of the ones before it."""
    left = among.copy()
    kept: list[tuple[_Candidate, Excess]] = []
    held = sorted((pair for pair in judged if pair[1].p_value <= LEVEL), key=lambda pair: pair[1].p_value)
    for candidate, result in held:
        if not kept or holds_without(result, _judge(candidate, features, known, left), len(held)):
            kept.append((candidate, result))
            left &= ~_mask(candidate, features, known)
    return kept


def _finding(
    candidate: _Candidate,
    result: Excess,
    features: Sequence[Feature],
    told: dict[str, float],
    known: Known,
    held: Mask,
) -> Finding:
    words = ", ".join(features[place].words[code] for place, code in candidate.terms)
    if candidate.label >= 0:
        words = f"{known.predictions.classes[candidate.label]}, {words}"
    share = max(told[features[place].name] for place, _ in candidate.terms)
    again = 0
    generator = np.random.default_rng(1)
    for _ in range(SPLITS):
        among = held & (generator.random(len(known.label)) < 0.5)
        again += _judge(candidate, features, known, among).p_value <= 0.05
    return group_finding(
        known,
        "slices",
        words,
        words,
        _mask(candidate, features, known),
        result,
        ACTION,
        checked="found on one half of the rows, judged on the other: Mantel-Haenszel test within classes; the answer "
        f"alone tells {share:.0%} of the property",
        note=" on the half that it was not found on",
        stable=f"p < .05 in {again} of {SPLITS} random halves of the rows that did not find it",
        among=held,
        where=_where(candidate, features),
    )


def _where(candidate: _Candidate, features: Sequence[Feature]) -> str:
    """The expression that holds of a slice's rows; empty if one of its values has none."""
    parts = [features[place].where[code] if features[place].where else "" for place, code in candidate.terms]
    if candidate.label >= 0:
        parts.append(f'"label" = {candidate.label}')
    return " AND ".join(parts) if all(parts) else ""
