"""The concepts of any rows, such as a class, a finding's or a cohort's: what their answers rest on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.attribution.targets import Targets
from workbench.concepts.causal import Removal, removal_table
from workbench.concepts.factorise import COUNT, SEEDS, Concepts
from workbench.concepts.found import complete, find_concepts
from workbench.concepts.ledger import Ledger, account_words, means
from workbench.core.patches import Patch
from workbench.core.records import IntArray
from workbench.errors import DataError
from workbench.models.classifier import Classifier
from workbench.runs.run import Run

FEWEST, MOST = 10, 300  # images


@dataclass(frozen=True)
class SelectionConcepts:
    """The concepts of some rows, int64 ``(n,)``, and what each adds to the lead of the predicted class.

    The lead is over the next most probable class, another one for each image. ``account``, ``removals`` and ``patches``
    as in `pairs.PairConcepts`.
    """

    rows: IntArray
    layer: str
    concepts: Concepts
    account: Ledger
    removals: list[Removal]
    patches: list[list[Patch]]

    def table(self) -> pl.DataFrame:
        """A row for each concept, the one that adds most to the lead first.

        Columns: concept (its number), mean (logits) with its 95 % interval low to high (`ledger.means`), stability, and
        from `causal.removal` changed, control, removal_difference, removal_low, removal_high and removal_p_value.
        """
        mean, low, high = zip(*means(self.account), strict=True)
        account = pl.DataFrame({"concept": range(len(self.concepts)), "mean": mean, "low": low, "high": high})
        causal = removal_table(self.concepts, self.removals)
        return pl.concat([account, causal], how="horizontal").sort("mean", descending=True)

    def sentence(self) -> str:
        """The mean account in one line."""
        return account_words("the predicted class leads the next", self.account)


def selection_concepts(
    run: Run,
    rows: IntArray,
    *,
    count: int = COUNT,
    layer: str = "",
    seeds: int = SEEDS,
    seed: int = 0,
    classifier: Classifier | None = None,
) -> SelectionConcepts:
    """Find the concepts of some rows, what each adds to their answers, and whether these need it.

    Parameters
    ----------
    run : Run
        With its model and images.
    rows : int64 array (n,)
        Row ids, at least 10; of more than 300 that many are drawn at random.
    count, layer, seeds, seed, classifier : optional
        As `pairs.pair_concepts`.

    Returns
    -------
    SelectionConcepts

    Raises
    ------
    DataError
        If the model or images are missing, or there are fewer than ten rows, or a row that is not in the predictions.
    AttributionError
        As `cells.cells_of`.
    """
    model = complete(run, classifier)
    rows = np.unique(np.asarray(rows, np.int64))
    if len(rows) < FEWEST:
        raise DataError(f"concepts: expected at least {FEWEST} rows, not {len(rows)}")
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST])
    places = [run.predictions.position(int(row)) for row in rows]
    ranked = np.argsort(-run.predictions.probability[places], axis=1, kind="stable")
    targets = Targets(ranked[:, 0], ranked[:, 1])
    found = find_concepts(run, model, rows, targets, count=count, layer=layer, seeds=seeds, seed=seed)
    whole = slice(0, len(rows))
    return SelectionConcepts(
        rows,
        found.cells.layer.name,
        found.concepts,
        found.account(whole),
        found.removals(model, whole, seed=seed),
        found.patches,
    )
