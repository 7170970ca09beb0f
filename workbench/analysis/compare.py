"""Two models on the same rows: what got better, what broke, and whether that is more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy

from workbench.analysis.statistics import Z_95, McNemar, benjamini_hochberg, mcnemar, sign_test, wilson_interval
from workbench.core.predictions import Predictions
from workbench.errors import DataError

OUTCOMES = BOTH_CORRECT, FIXED, BROKEN, BOTH_WRONG = ("both correct", "fixed", "broken", "both misclassified")


@dataclass(frozen=True)
class Comparison:
    """A model (``before``) and another (``after``) on the same rows.

    ``both_right``, ``fixed`` (misclassified before, correct after), ``broken`` and ``both_wrong`` count rows;
    ``both_wrong_alike`` counts those that both misclassify as the same class. ``churn`` is the share of rows whose
    predicted class differs. ``difference`` is accuracy after less accuracy before, with its 95 % interval; ``test`` is
    McNemar's. ``classes`` has one row per class: class, support, fixed, broken, difference with its 95 % interval
    low and high (Newcombe, paired; null without rows), p_value and adjusted_p_value (smallest first).
    """

    rows: int
    both_right: int
    fixed: int
    broken: int
    both_wrong: int
    both_wrong_alike: int
    churn: float
    difference: float
    low: float
    high: float
    test: McNemar
    classes: pl.DataFrame


def pair_rows(before: Predictions, after: Predictions) -> pl.LazyFrame:
    """Both models' predictions by row id: index, label, ``before``, ``after`` (predicted classes) and ``outcome``.

    Raises
    ------
    DataError
        If classes, row ids or labels differ.
    """
    if before.classes != after.classes:
        raise DataError(
            f"compare: expected models with the same classes, not other classes ({before.classes[:3]} ... and "
            f"{after.classes[:3]} ...): predict both on the same data"
        )
    if len(before) != len(after):
        raise DataError(f"compare: expected the same rows of both models, not {len(before):,} and {len(after):,}")
    one = before.table.select("index", "label", pl.col("predicted").alias("before"))
    two = after.table.select("index", pl.col("label").alias("other"), pl.col("predicted").alias("after"))
    both = one.join(two, on="index", how="inner", maintain_order="left")
    facts = both.select(rows=pl.len(), moved=(pl.col("label") != pl.col("other")).sum()).collect(engine="streaming")
    rows, moved = facts.row(0)
    if rows != len(before):
        raise DataError(f"compare: only {rows:,} of {len(before):,} row ids are in both tables: predict the same split")
    if moved:
        raise DataError(f"compare: {moved:,} rows have another label in the second table: predict the same data")
    was, now = pl.col("before") == pl.col("label"), pl.col("after") == pl.col("label")
    named = pl.when(was & now).then(pl.lit(BOTH_CORRECT)).when(now).then(pl.lit(FIXED))
    outcome = named.when(was).then(pl.lit(BROKEN)).otherwise(pl.lit(BOTH_WRONG))
    return both.drop("other").with_columns(outcome=outcome)


def compare(before: Predictions, after: Predictions) -> Comparison:
    """The comparison of two models on the same rows.

    The difference of accuracies has Newcombe's interval for paired proportions (1998, doi
    10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C, method 10); classes are compared by the
    exact McNemar test, corrected by Benjamini-Hochberg over the classes.

    Raises
    ------
    DataError
        As `pair_rows`.
    """
    cells = (
        pair_rows(before, after)
        .group_by("label", "outcome")
        .agg(n=pl.len(), alike=(pl.col("before") == pl.col("after")).sum())
        .collect(engine="streaming")
    )
    count = {name: int(cells.filter(pl.col("outcome") == name)["n"].sum()) for name in OUTCOMES}
    alike_wrong = int(cells.filter(pl.col("outcome") == BOTH_WRONG)["alike"].sum())
    rows = len(before)
    low, high = newcombe_paired(*(count[name] for name in OUTCOMES))
    return Comparison(
        rows=rows,
        both_right=count[BOTH_CORRECT],
        fixed=count[FIXED],
        broken=count[BROKEN],
        both_wrong=count[BOTH_WRONG],
        both_wrong_alike=alike_wrong,
        churn=1 - int(cells["alike"].sum()) / rows,
        difference=(count[FIXED] - count[BROKEN]) / rows,
        low=low,
        high=high,
        test=mcnemar(count[BROKEN], count[FIXED]),
        classes=_by_class(cells, before.classes),
    )


def newcombe_paired(both: int, second: int, first: int, neither: int, z: float = Z_95) -> tuple[float, float]:
    """Interval of (second − first) / n for paired proportions, 95 % by default: Newcombe 1998, method 10.

    ``both`` and ``neither`` count concordant rows, ``second`` and ``first`` those correct in only one model.
    """
    n = both + second + first + neither
    p1, p2 = (both + second) / n, (both + first) / n
    (l1, u1), (l2, u2) = (
        (float(v[0]), float(v[1])) for v in (wilson_interval(both + x, n, z) for x in (second, first))
    )
    product = (both + second) * (first + neither) * (both + first) * (second + neither)
    cross = float(both * neither - second * first)
    cross = max(cross - n / 2, 0) if cross > 0 else cross
    phi = cross / math.sqrt(product) if product else 0.0
    gap = p1 - p2
    low = gap - np.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    high = gap + np.sqrt((p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2)
    return float(low), float(high)


def _by_class(cells: pl.DataFrame, classes: tuple[str, ...]) -> pl.DataFrame:
    names = pl.DataFrame({"label": np.arange(len(classes)), "class": classes})
    counts = cells.group_by("label").agg(
        support=pl.col("n").sum(),
        fixed=pl.col("n").filter(pl.col("outcome") == FIXED).sum(),
        broken=pl.col("n").filter(pl.col("outcome") == BROKEN).sum(),
        both=pl.col("n").filter(pl.col("outcome") == BOTH_CORRECT).sum(),
    )
    whole = names.join(counts, on="label", how="left").with_columns(
        # counts are unsigned: differences would wrap
        pl.col("support", "fixed", "broken", "both").fill_null(0).cast(pl.Int64)
    )
    bounds = [
        newcombe_paired(b, f, k, s - b - f - k) if s else (np.nan, np.nan)
        for s, f, k, b in whole.select("support", "fixed", "broken", "both").iter_rows()
    ]
    p_values = [sign_test(f, b) if s else np.nan for s, f, b in whole.select("support", "fixed", "broken").iter_rows()]
    return (
        whole.with_columns(
            difference=(pl.col("fixed") - pl.col("broken")) / pl.col("support"),
            low=pl.Series([low for low, _ in bounds], dtype=pl.Float64).fill_nan(None),
            high=pl.Series([high for _, high in bounds], dtype=pl.Float64).fill_nan(None),
            p_value=pl.Series(p_values, dtype=pl.Float64),
            adjusted_p_value=pl.Series(benjamini_hochberg(p_values), dtype=pl.Float64),
        )
        .sort("p_value", "label", nulls_last=True)
        .select("class", "support", "fixed", "broken", "difference", "low", "high", "p_value", "adjusted_p_value")
    )


@dataclass(frozen=True)
class Churn:
    """Whether a change exceeds what another seed of the same recipe brings.

    ``seed_churn`` and ``seed_differences`` come from every pair of the seeds; ``change`` is the new model's mean
    difference of accuracy to them. ``p_value``: two-sided, if the new model is just one more seed (prediction
    interval of Student's t); nan if the seeds do not differ in accuracy.
    """

    seed_churn: float
    change_churn: float
    seed_deviation: float
    change: float
    p_value: float


def churn_against_seeds(seeds: list[Predictions], after: Predictions) -> Churn:
    """The new model ``after`` compared with models of one recipe that differ only in their seed.

    Under "nothing but another seed" the new accuracy is one more draw of the seeds' normal distribution, so
    that (a − mean) / (s · sqrt(1 + 1/m)) follows Student's t with m − 1 degrees of freedom (Hahn 1970,
    doi 10.1080/00224065.1970.11980423).

    Raises
    ------
    DataError
        If there are fewer than two seeds, or as `pair_rows`.
    """
    if len(seeds) < 2:
        raise DataError(f"churn: expected at least two models of the same recipe, not {len(seeds)}")
    between = [compare(a, b).churn for k, a in enumerate(seeds) for b in seeds[k + 1 :]]
    against = [compare(seed, after).churn for seed in seeds]
    accuracies = np.array([seed.accuracy for seed in seeds])
    deviation = float(accuracies.std(ddof=1))
    change = after.accuracy - float(accuracies.mean())
    spread = deviation * np.sqrt(1 + 1 / len(seeds))
    p_value = float(2 * scipy.stats.t.sf(abs(change) / spread, len(seeds) - 1)) if spread > 0 else float("nan")
    return Churn(float(np.mean(between)), float(np.mean(against)), deviation, change, p_value)


def seeds_alike(changed: pl.DataFrame, seeds: Sequence[Predictions]) -> pl.Series:
    """How many of the seeds change each row as the new model does, in the order of ``changed``.

    ``changed`` has the rows of `pair_rows` that are fixed or broken; a seed changes a fixed row alike if it is correct
    there, and a broken one if it misclassifies it.

    Raises
    ------
    DataError
        If a seed lacks one of the rows.
    """
    count = np.zeros(len(changed), np.int64)
    for seed in seeds:
        answers = seed.table.select("index", answer="predicted")
        found = changed.lazy().join(answers, on="index", how="left", maintain_order="left").collect()
        if found["answer"].null_count():
            raise DataError(
                f"compare: a seed lacks {found['answer'].null_count():,} of the rows: predict the same split"
            )
        correct = found["answer"] == found["label"]
        count += (correct == (found["outcome"] == FIXED)).to_numpy()
    return pl.Series("other_seeds", count)
