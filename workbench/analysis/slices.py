"""Systematic failures: groups with more errors than comparable rows, found on one half, tested on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from workbench.analysis.looks import clusters, levels, looks
from workbench.analysis.statistics import benjamini_hochberg, wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.errors import DataError

PLAIN = ("brightness", "contrast", "sharpness", "cluster")  # values that need no column name before them
MOST_ROWS = 200_000
Condition = tuple[str, str]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Slice:
    """Rows that meet all conditions, as judged on the half that they were not found on.

    ``rows`` and ``errors`` count the judged half; ``low`` and ``high`` bound the error rate (Wilson 95 %);
    ``like_rate`` is the error rate of the rows they are compared with: those that meet all conditions but one,
    whichever of these gives the weaker evidence; ``adjusted_p_value`` is corrected over all slices that were
    judged.
    """

    conditions: tuple[Condition, ...]
    words: str
    rows: int
    errors: int
    error_rate: float
    low: float
    high: float
    like_rate: float
    p_value: float
    adjusted_p_value: float


def systematic_failures(
    predictions: Predictions, images: ImageSet | None = None, *, most_rows: int = MOST_ROWS, seed: int = 0
) -> list[Slice]:
    """`find_slices` on the `slice_features` of all rows, or of a random sample of ``most_rows``.

    Raises
    ------
    DataError
        If there are too few rows to halve.
    """
    rows = len(predictions)
    places = np.arange(rows)
    if rows > most_rows:
        places = np.sort(np.random.default_rng(seed).choice(rows, most_rows, replace=False))
    part = predictions.take(places)
    wrong = (part["label"] != part["predicted"]).to_numpy()
    return find_slices(slice_features(part, predictions.classes, images), wrong, seed=seed)


def slice_features(rows: pl.DataFrame, classes: Sequence[str], images: ImageSet | None = None) -> pl.DataFrame:
    """Words for each row: its class; with embeddings its cluster; with images light, contrast, sharpness, colour.

    ``rows`` is a `Predictions` table in memory, whole or in part.
    """
    frame = rows.select(pl.lit(pl.Series(classes, dtype=pl.String)).gather(pl.col("label")).alias("class"))
    if "embedding" in rows.columns:
        frame = frame.with_columns(clusters(rows["embedding"].to_numpy()))
    if images is not None:
        frame = frame.hstack(levels(looks(images.image(row) for row in rows["index"].to_list())))
    return frame


def slice_table(found: list[Slice]) -> pl.DataFrame:
    """The slices as a table, a row each."""
    names = ("words", "rows", "errors", "error_rate", "low", "high", "like_rate", "p_value", "adjusted_p_value")
    kinds = dict(zip(names, (pl.String, pl.Int64, pl.Int64, *(pl.Float64,) * 6), strict=True))
    return pl.DataFrame([[getattr(s, name) for name in names] for s in found], schema=kinds, orient="row")


def find_slices(
    features: pl.DataFrame,
    wrong: Mask,
    *,
    depth: int = 2,
    least_rows: int = 20,
    judged: int = 40,
    rate: float = 0.05,
    seed: int = 0,
) -> list[Slice]:
    """Slices whose excess of errors holds on rows they were not found on, smallest p-value first.

    ``features`` has a column of words for each property (class, brightness, cluster ...) and a row for each of
    ``wrong`` ``(N,)``. Every conjunction of up to ``depth`` values with at least ``least_rows`` rows in a random
    half is a candidate. The ``judged`` candidates with the strongest excess there are tested on the other half,
    once each: a one-sided Fisher test (Fisher 1922, doi 10.2307/2340521) against the rows that meet all but one of
    the conditions, and the largest of these p-values counts (Berger 1982, doi 10.1080/00401706.1982.10487790), so
    that "dark cats" is not a discovery if all cats or all dark images fail as often. Benjamini-Hochberg over the
    candidates keeps the share of false discoveries at most ``rate``.

    Raises
    ------
    DataError
        If lengths differ, or there are too few rows to halve.
    """
    if len(features) != len(wrong) or len(wrong) < 2 * least_rows:
        raise DataError(
            f"slices: expected features of at least {2 * least_rows} rows, not {len(features)} for {len(wrong)} rows"
        )
    half = np.zeros(len(wrong), bool)
    half[np.random.default_rng(seed).permutation(len(wrong))[: len(wrong) // 2]] = True
    masks = _masks(features)
    scored = []
    for conditions in _candidates(masks, half, depth, least_rows):
        p_value, _ = _excess(conditions, masks, wrong, half)
        scored.append((p_value, conditions))
    scored.sort(key=lambda pair: pair[0])
    chosen = [conditions for p_value, conditions in scored[:judged] if p_value < 0.5]
    results = [_excess(conditions, masks, wrong, ~half) for conditions in chosen]
    adjusted = benjamini_hochberg([p_value for p_value, _ in results])
    found = [
        _slice(conditions, masks, wrong, ~half, p_value, like_rate, float(q))
        for conditions, (p_value, like_rate), q in zip(chosen, results, adjusted, strict=True)
        if q <= rate
    ]
    return sorted(found, key=lambda s: (s.p_value, -s.errors))


def members(features: pl.DataFrame, conditions: tuple[Condition, ...]) -> Mask:
    """Which rows meet all conditions, bool ``(N,)``."""
    mask = np.ones(len(features), bool)
    for name, value in conditions:
        mask &= (features[name] == value).fill_null(False).to_numpy()
    return mask


def _masks(features: pl.DataFrame) -> dict[Condition, Mask]:
    return {
        (name, str(value)): members(features, ((name, value),))
        for name in features.columns
        for value in features[name].drop_nulls().unique().sort()
    }


def _meet(conditions: tuple[Condition, ...], masks: dict[Condition, Mask], size: int) -> Mask:
    mask = np.ones(size, bool)
    for condition in conditions:
        mask &= masks[condition]
    return mask


def _candidates(masks: dict[Condition, Mask], half: Mask, depth: int, least_rows: int) -> list[tuple[Condition, ...]]:
    large = [condition for condition, mask in masks.items() if (mask & half).sum() >= least_rows]
    found: list[tuple[Condition, ...]] = []
    for size in range(1, depth + 1):
        for conditions in combinations(large, size):
            names = {name for name, _ in conditions}
            if len(names) == size and (_meet(conditions, masks, len(half)) & half).sum() >= least_rows:
                found.append(conditions)
    return found


def _excess(
    conditions: tuple[Condition, ...], masks: dict[Condition, Mask], wrong: Mask, half: Mask
) -> tuple[float, float]:
    """The largest p-value over the comparisons, and the error rate of the rows of that comparison."""
    inside = _meet(conditions, masks, len(wrong)) & half
    worst, rate = 0.0, float("nan")
    for left_out in range(len(conditions)):
        like = _meet(conditions[:left_out] + conditions[left_out + 1 :], masks, len(wrong)) & half & ~inside
        k, n = int(wrong[inside].sum()), int(inside.sum())
        other_k, other_n = int(wrong[like].sum()), int(like.sum())
        # Fisher's one-sided p-value is a hypergeometric tail
        p_value = float(stats.hypergeom.sf(k - 1, n + other_n, k + other_k, n)) if n and other_n else 1.0
        if p_value >= worst:
            worst, rate = p_value, other_k / other_n if other_n else float("nan")
    return worst, rate


def _slice(
    conditions: tuple[Condition, ...],
    masks: dict[Condition, Mask],
    wrong: Mask,
    half: Mask,
    p_value: float,
    like_rate: float,
    adjusted: float,
) -> Slice:
    inside = _meet(conditions, masks, len(wrong)) & half
    rows, errors = int(inside.sum()), int(wrong[inside].sum())
    low, high = wilson_interval(errors, rows)
    words = ", ".join(value if name in PLAIN else f"{name} {value}" for name, value in conditions)
    return Slice(conditions, words, rows, errors, errors / rows, float(low), float(high), like_rate, p_value, adjusted)
