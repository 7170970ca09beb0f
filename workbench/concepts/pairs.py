"""The concepts behind the confusions of two classes, with an account of the margin and a test by removal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.attribution.targets import Targets
from workbench.concepts.causal import Removal, removal
from workbench.concepts.cells import Features, cells_of
from workbench.concepts.factorise import COUNT, SEEDS, Concepts, factorise
from workbench.concepts.ledger import Ledger, compared, ledger
from workbench.core.records import IntArray
from workbench.errors import DataError
from workbench.models.classifier import Classifier
from workbench.runs.run import Run

FEWEST, MOST = 10, 100  # images of each group
EXAMPLES = 6


@dataclass(frozen=True)
class PairConcepts:
    """What decides between two classes, in the images of one that are predicted as the other.

    ``errors`` are the misclassified rows, ``correct`` rows of the same true class that are correct, both row ids
    ``(n,)``, at most a hundred each, drawn at random; ``other`` correct rows of the predicted class, which the concepts
    are found on, too. ``ledgers`` are the accounts of the predicted class's lead in errors and in correct rows;
    ``removals`` say for each concept what taking it out of the errors changes; ``examples`` are for each concept the
    rows that show it most, and ``strengths`` float32 ``(h, w)`` where in each of them.
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
    examples: list[list[int]]
    strengths: list[list[Features]]

    def table(self) -> pl.DataFrame:
        """A row for each concept, the one that adds most to the errors' lead first.

        Columns: those of `ledger.compared` (errors against correct rows), stability, and from `causal.removal`
        changed, control, removal_difference, removal_low, removal_high and removal_p_value.
        """
        account = compared(*self.ledgers)
        causal = pl.DataFrame(
            {
                "stability": self.concepts.stability,
                "changed": [one.changed for one in self.removals],
                "control": [one.control for one in self.removals],
                "removal_difference": [one.difference for one in self.removals],
                "removal_low": [one.low for one in self.removals],
                "removal_high": [one.high for one in self.removals],
                "removal_p_value": [one.p_value for one in self.removals],
            }
        )
        return pl.concat([account, causal], how="horizontal").sort("mean", descending=True)

    def sentence(self) -> str:
        """The mean account of the errors in one line, such as "dog leads cat by 1.42: concept 3 +0.91, …"."""
        errors = self.ledgers[0]
        parts = [f"concept {k + 1} {v:+.2f}" for k, v in sorted(enumerate(errors.contributions.mean(0)), key=_size)]
        rest = [f"rest {errors.rest.mean():+.2f}", f"constant {errors.constant.mean():+.2f}"]
        lead = f"{self.predicted} leads {self.true} by {errors.margin.mean():.2f}"
        return f"{lead}: {', '.join(parts + rest)}".replace("-", "−")


def _size(pair: tuple[int, float]) -> float:
    return -abs(pair[1])


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
        A CAM layer's name, or any other module's whose output has a grid and is not negative; default the last.
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
    model = classifier or run.classifier
    if model is None or run.images is None:
        raise DataError("concepts: expected a run with its model and images: open it with checkpoint= and data=")
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
    images = model.seen(run.images).stack(rows)
    targets = Targets(np.full(len(rows), p), np.full(len(rows), t))
    cells = cells_of(model, images, rows, targets, layer=layer)
    concepts = factorise(cells, count, seeds=seeds, seed=seed)
    strengths = concepts.strengths(cells.values)
    ends = np.cumsum([len(group) for group in groups])
    errors, correct = slice(0, int(ends[0])), slice(int(ends[0]), int(ends[1]))
    accounts = [ledger(cells.part(some), concepts, strengths[some]) for some in (errors, correct)]
    removals = removal(model, images[errors], cells.part(errors), concepts, strengths[errors], seed=seed)
    shown = [np.argsort(-one, kind="stable")[:EXAMPLES] for one in strengths.max((1, 2)).T]
    return PairConcepts(
        true,
        predicted,
        cells.layer.name,
        concepts,
        errors=groups[0],
        correct=groups[1],
        other=groups[2],
        ledgers=(accounts[0], accounts[1]),
        removals=removals,
        examples=[rows[places].tolist() for places in shown],
        strengths=[[strengths[place, ..., k] for place in places] for k, places in enumerate(shown)],
    )
