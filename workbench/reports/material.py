"""What a report is made of: a run with everything that is known about its rows, joined once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from workbench.analysis.copies import join_copies
from workbench.analysis.neighbours import join_neighbours
from workbench.analysis.votes import join_votes
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.findings.find import find
from workbench.findings.record import Findings
from workbench.runs.run import Run
from workbench.runs.seeds import seeds_beside

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


NO_PROBABILITIES = "there are no probabilities, only predicted classes"


@dataclass(frozen=True)
class Material:
    """Everything that a section of a report may use; `join` makes one.

    Parameters
    ----------
    run : Run
        Its predictions carry the columns of human labels, neighbours and copies, where those are known.
    checkpoint : Path or None
        Folder of the model, with the history of its training.
    compared : Predictions or None
        A second model on the same rows.
    seeds : sequence of Predictions
        Further models of the first one's recipe.
    groups : mapping of str to class names
        Groups of classes; empty for none.
    features : array (N, D) or None
        An embedding of the user's choice, in the order of the predictions.
    layer : str or None
        A layer of the run's model whose features are clustered for slices.
    validation : Predictions or None
        Of the same model on other rows, to fit a temperature on.
    costs : two floats
        Of a false positive and of a false negative, for the threshold of two classes.
    has_votes, has_neighbours, has_copies : bool
        Whether human labels, nearest train rows and near-duplicates were joined.
    """

    run: Run
    checkpoint: Path | None = None
    compared: Predictions | None = None
    seeds: Sequence[Predictions] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    features: ArrayLike | None = None
    layer: str | None = None
    validation: Predictions | None = None
    costs: tuple[float, float] = (1.0, 1.0)
    has_votes: bool = False
    has_neighbours: bool = False
    has_copies: bool = False

    @property
    def predictions(self) -> Predictions:
        """The run's predictions with all joined columns."""
        return self.run.predictions

    @cached_property
    def findings(self) -> Findings:
        """What the run's model gets wrong, and why."""
        return find(self.run, seeds=self.seeds, features=self.features, layer=self.layer, validation=self.validation)

    def class_names(self, column: str) -> pl.Expr:
        """Class numbers in ``column`` as the names of the classes."""
        names = pl.lit(pl.Series(self.predictions.classes, dtype=pl.String))
        return names.gather(pl.col(column)).alias(column)


def join(
    run: Run,
    *,
    checkpoint: Path | None = None,
    compared: Predictions | None = None,
    seeds: Sequence[Predictions] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    votes: ArrayLike | None = None,
    train: Predictions | None = None,
    train_images: ImageSet | None = None,
    features: ArrayLike | None = None,
    layer: str | None = None,
    validation: Predictions | None = None,
    costs: tuple[float, float] = (1.0, 1.0),
) -> Material:
    """The run with everything else that is known about its rows.

    Parameters
    ----------
    votes : array (M, K)
        Human labels, counts or shares, by row id: adds agreement and ambiguity.
    train : Predictions
        Predictions on the train split, with embeddings: adds neighbours and typicality.
    train_images : ImageSet
        The train split's images: adds near-duplicates.
    seeds : sequence of Predictions
        Default: those in the folder ``seeds`` beside the checkpoint.

    The other parameters are those of `Material`.

    Raises
    ------
    DataError
        If the human labels, the train split or the seeds do not fit the predictions.
    """
    predictions, has_copies = run.predictions, False
    if votes is not None:
        predictions = join_votes(predictions, votes)
    if train is not None:
        predictions = join_neighbours(predictions, train)
        has_copies = run.images is not None and train_images is not None
        if run.images is not None and train_images is not None:
            predictions = join_copies(predictions, run.images, train, train_images)
    return Material(
        dataclasses.replace(
            run, predictions=predictions, train=train or run.train, checkpoint=checkpoint or run.checkpoint
        ),
        checkpoint,
        compared,
        seeds_beside(run) if seeds is None else seeds,
        groups or {},
        features,
        layer,
        validation,
        costs,
        has_votes=votes is not None,
        has_neighbours=train is not None,
        has_copies=has_copies,
    )
