"""The concepts behind the confusions of two classes, with an account of the margin and a test by removal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.attribution.targets import Targets
from workbench.concepts.causal import Removal, removal_table
from workbench.concepts.factorise import COUNT, SEEDS, Concepts
from workbench.concepts.found import complete, find_concepts
from workbench.concepts.ledger import Ledger, account_words, compared
from workbench.core.patches import Patch
from workbench.core.records import IntArray
from workbench.errors import DataError
from workbench.models.classifier import Classifier
from workbench.runs.run import Run

FEWEST, MOST = 10, 100  # images of each group


@dataclass(frozen=True)
class PairConcepts:
    """What decides between two classes, in the images of one that are predicted as the other.

    ``errors`` are the misclassified rows, ``correct`` rows of the same true class that are correct, both row ids
    ``(n,)``, at most a hundred each, drawn at random; ``other`` correct rows of the predicted class, which the concepts
    are found on, too. ``ledgers`` are the accounts of the predicted class's lead in errors and in correct rows;
    ``removals`` say for each concept what taking it out of the errors changes; ``patches`` are for each concept the
    places that show it most.
    """

    true: str
    predicted: str
    layer: str
    concepts: Concepts
    errors: IntArray
    correct: IntArray
    other: IntArray
    ledgers: tuple[Ledger, Ledger]
    removals: list[Removal]
    patches: list[list[Patch]]

    def table(self) -> pl.DataFrame:
        """A row for each concept, the one that adds most to the errors' lead first.

        Columns: those of `ledger.compared` (errors against correct rows), stability, and from `causal.removal`
        changed, control, removal_difference, removal_low, removal_high and removal_p_value.
        """
        causal = removal_table(self.concepts, self.removals)
        return pl.concat([compared(*self.ledgers), causal], how="horizontal").sort("mean", descending=True)

    def sentence(self) -> str:
        """The mean account of the errors in one line, such as "dog leads cat by 1.42: concept 3 +0.91, …"."""
        return account_words(f"{self.predicted} leads {self.true}", self.ledgers[0])


def pair_concepts(
    run: Run,
    true: str,
    predicted: str,
    *,
    count: int = COUNT,
    layer: str = "",
    seeds: int = SEEDS,
    seed: int = 0,
    classifier: Classifier | None = None,
) -> PairConcepts:
    """Find the concepts of two classes, what each adds where one is predicted as the other, and whether it is needed.

    Parameters
    ----------
    run : Run
        With its model and images.
    true, predicted : str
        The true class, and the one predicted in its place.
    count : int
        How many concepts are looked for.
    layer : str
        A CAM layer's name, or any other module's whose output has a grid; default the last.
    seeds : int
        How often the factorisation begins anew; see `Concepts.stability`.
    classifier : Classifier, optional
        In place of the run's, such as a copy for another thread.

    Returns
    -------
    PairConcepts

    Raises
    ------
    DataError
        If the model or images are missing, a class is unknown, or fewer than ten rows are predicted as the other class
        or are correct.
    AttributionError
        As `cells.cells_of`.
    """
    model = complete(run, classifier)
    predictions = run.predictions
    for name in (true, predicted):
        if name not in predictions.classes:
            raise DataError(f"concepts: expected one of {', '.join(predictions.classes)}, not {name!r}")
    t, p = predictions.classes.index(true), predictions.classes.index(predicted)
    if t == p:
        raise DataError("concepts: expected two classes")
    generator = np.random.default_rng(seed)
    label, answer = predictions.label, predictions.predicted
    chosen = {
        f"{true} predicted as {predicted}": (label == t) & (answer == p),
        f"correct {true}": (label == t) & (answer == t),
        f"correct {predicted}": (label == p) & (answer == p),
    }
    groups: list[IntArray] = []
    for words, mask in chosen.items():
        if mask.sum() < FEWEST:
            raise DataError(f"concepts: expected at least {FEWEST} rows of {words}, not {mask.sum()}")
        groups.append(np.sort(generator.permutation(predictions.index[mask])[:MOST]))
    rows = np.concatenate(groups)
    targets = Targets(np.full(len(rows), p), np.full(len(rows), t))
    found = find_concepts(run, model, rows, targets, count=count, layer=layer, seeds=seeds, seed=seed)
    ends = np.cumsum([len(group) for group in groups])
    errors, correct = slice(0, int(ends[0])), slice(int(ends[0]), int(ends[1]))
    return PairConcepts(
        true,
        predicted,
        found.cells.layer.name,
        found.concepts,
        errors=groups[0],
        correct=groups[1],
        other=groups[2],
        ledgers=(found.account(errors), found.account(correct)),
        removals=found.removals(model, errors, seed=seed),
        patches=found.patches,
    )
