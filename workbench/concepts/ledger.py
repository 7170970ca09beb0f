"""What each concept adds to a margin: an account that adds up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from workbench.analysis.statistics import benjamini_hochberg, paired_interval
from workbench.concepts.cells import Cells, Features
from workbench.concepts.factorise import Concepts
from workbench.core.records import FloatArray


@dataclass(frozen=True)
class Ledger:
    """The margin of ``n`` images as a sum: ``contributions.sum(1) + rest + constant == margin``, to rounding.

    ``contributions`` float64 ``(n, k)``: what each concept adds; ``rest`` ``(n,)``: what the part of the activations
    adds that no concept accounts for; ``constant`` ``(n,)``: the rest of the margin. All in logits. ``exact``: the
    constant is what depends on no activation; otherwise the parts are first-order, and it holds what they leave open.
    """

    contributions: FloatArray
    rest: FloatArray
    constant: FloatArray
    margin: FloatArray
    exact: bool = False


def ledger(cells: Cells, concepts: Concepts, strengths: Features) -> Ledger:
    """Split the margin of each image into what its concepts add; ``strengths`` are `Concepts.strengths` of the cells.

    A concept adds, summed over the cells, its strength times the product of its direction and the gradient. Where the
    head is linear and reads the mean over the cells, this is exact: the logits are linear in the activations, and
    ``constant`` is the difference of the biases of the two classes. For other heads the products are first-order
    (gradient times activation), and ``constant`` is what they leave open, different for each image.
    """
    strength, gradient = strengths.astype(np.float64), cells.gradient.astype(np.float64)
    directions = concepts.directions.astype(np.float64)
    contributions = np.einsum("nhwk,nhwc,kc->nk", strength, gradient, directions, optimize=True)
    whole = np.einsum("nhwc,nhwc->n", gradient, cells.values.astype(np.float64))
    return Ledger(contributions, whole - contributions.sum(1), cells.margin - whole, cells.margin, cells.exact)


def compared(one: Ledger, other: Ledger) -> pl.DataFrame:
    """What the concepts add in one group of images and in another.

    Returns
    -------
    polars.DataFrame
        A row for each concept: concept (its number), mean and other_mean (logits), difference (the first less the
        second) with its 95 % interval (Welch 1947, doi 10.1093/biomet/34.1-2.28), p_value, and adjusted_p_value
        (Benjamini-Hochberg over the concepts). Groups that were chosen by their answer differ in the sum of it all by
        choice: the table says which parts carry that difference.
    """
    a, b = one.contributions, other.contributions
    test = stats.ttest_ind(a, b, axis=0, equal_var=False)
    between = test.confidence_interval(0.95)
    p = np.nan_to_num(np.asarray(test.pvalue, np.float64), nan=1.0)  # of a concept that neither group has
    return pl.DataFrame(
        {
            "concept": np.arange(a.shape[1]),
            "mean": a.mean(0),
            "other_mean": b.mean(0),
            "difference": a.mean(0) - b.mean(0),
            "low": between.low,
            "high": between.high,
            "p_value": p,
            "adjusted_p_value": benjamini_hochberg(p),
        }
    ).with_columns(pl.col(pl.Float64).fill_nan(None))


def means(account: Ledger, *, seed: int = 0) -> list[tuple[float, float, float]]:
    """The mean of each concept's contribution with its 95 % interval over the images (`statistics.paired_interval`)."""
    return [paired_interval(column, seed=seed) for column in account.contributions.T]


def account_words(lead: str, account: Ledger) -> str:
    """The mean account in one line, such as "dog leads cat by 1.42: concept 3 +0.91, …", the largest parts first."""
    ordered = sorted(enumerate(account.contributions.mean(0)), key=lambda pair: -abs(pair[1]))
    parts = [f"concept {k + 1} {value:+.2f}" for k, value in ordered]
    parts += [f"rest {account.rest.mean():+.2f}", f"constant {account.constant.mean():+.2f}"]
    how = "" if account.exact else ", to first order"
    figures = f" by {account.margin.mean():.2f}{how}: {', '.join(parts)}".replace("-", "−")
    return lead + figures
