"""What is known of a run's rows: what the rules of findings read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.analysis.calibration import check_other_rows
from workbench.analysis.copies import join_copies
from workbench.analysis.dynamics import DYNAMICS
from workbench.analysis.forecasts import RepairForecast
from workbench.analysis.pictures import Pictures, pictures
from workbench.analysis.robustness import COLUMNS, Robustness
from workbench.core.predictions import CORE, Predictions
from workbench.core.records import FloatArray, ImageSet, IntArray, ProbabilityArray
from workbench.core.rows import aligned
from workbench.errors import DataError
from workbench.runs.run import Run
from workbench.runs.seeds import seeds_beside

if TYPE_CHECKING:
    from workbench.models.classifier import Classifier

MOST_ROWS, MOST_IMAGES = 200_000, 20_000
NO_IMAGES = "the images are not at hand: name their folder or table (--data, data=)"
OF_PEOPLE = ("votes", "votes_top", "votes_for_label", "votes_entropy", "votes_count", "soft_loss")
OF_TRAIN = ("nearest_row", "nearest_label", "nearest_similarity", "neighbours_for_label", "typicality", "familiarity")
OF_FRAGILITY = COLUMNS
OF_COPIES = ("copy_row", "copy_label", "copy_correlation")


@dataclass(frozen=True)
class Known:
    """A run's predictions and all else that a rule may use; rows are addressed by their position.

    Parameters
    ----------
    predictions : Predictions
        With the columns of human labels, neighbours and copies where those are joined.
    images : ImageSet or None
    train : Predictions or None
        Predictions on the train split, with embeddings.
    dynamics : Path or None
        A ``dynamics.parquet`` that ``training.run`` wrote.
    seeds : sequence of Predictions
        Other models on the same rows.
    features : float array (N, D) or None
        An embedding of the user's choice, in the order of the predictions.
    classifier, layer : Classifier and str, or None
        The model, and the name of a layer whose features are clustered.
    validation : Predictions or None
        Of the same model on rows that are not judged, to fit a temperature on.
    robustness : Robustness or None
        How the answers change with the image.
    forecasts : sequence of RepairForecast
        What repairs would bring.
    """

    predictions: Predictions
    images: ImageSet | None = None
    train: Predictions | None = None
    dynamics: Path | None = None
    seeds: Sequence[Predictions] = ()
    features: ProbabilityArray | None = None
    classifier: Classifier | None = None
    layer: str | None = None
    validation: Predictions | None = None
    robustness: Robustness | None = None
    forecasts: Sequence[RepairForecast] = ()

    @cached_property
    def label(self) -> IntArray:
        """True classes, int64 ``(N,)``."""
        return self.predictions.label

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Whether each row is misclassified, bool ``(N,)``."""
        return ~self.predictions.correct

    @cached_property
    def columns(self) -> frozenset[str]:
        """The names of the table's columns."""
        return frozenset(self.predictions.table.collect_schema())

    @property
    def has_votes(self) -> bool:
        """Whether human labels are joined."""
        return self.columns.issuperset(OF_PEOPLE)

    @property
    def has_copies(self) -> bool:
        """Whether near-duplicates in the train split are joined."""
        return self.columns.issuperset(OF_COPIES)

    @property
    def own(self) -> list[str]:
        """The user's own columns; one that is called as a joined one is, unless all of those are there."""
        groups = (OF_PEOPLE, OF_TRAIN, OF_COPIES, OF_FRAGILITY)
        joined = {name for names in groups if self.columns.issuperset(names) for name in names}
        return [name for name in self.predictions.table.collect_schema() if name not in joined.union(CORE)]

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """Which rows have an image that was looked at, bool ``(N,)``: all, or a random sample of the most that are."""
        seen = np.zeros(len(self.label), bool)
        if self.images is not None:
            chosen = np.random.default_rng(0).permutation(len(seen))[:MOST_IMAGES]
            seen[chosen] = True
        return seen

    @cached_property
    def pictures(self) -> Pictures | None:
        """Properties of the images of the rows that were `seen`, in their order; None without images."""
        if self.images is None:
            return None
        images = self.images
        return pictures(images.image(int(row)) for row in self.rows(self.seen))

    @cached_property
    def early(self) -> ProbabilityArray | None:
        """Features of ``layer`` of the rows that were `seen`, in their order; None where none is named."""
        if self.layer is None or self.classifier is None or self.images is None:
            return None
        from workbench.models.features import pooled_features

        return pooled_features(self.classifier, self.images, self.layer, self.rows(self.seen))

    def looked_at(self, name: str) -> FloatArray:
        """A property of the images, float64 ``(N,)``; nan where an image was not looked at."""
        values = np.full(len(self.label), np.nan)
        if self.pictures is not None:
            values[self.seen] = self.pictures.table[name].to_numpy()
        return values

    def rows(self, mask: NDArray[np.bool_] | IntArray) -> IntArray:
        """Row ids of a mask ``(N,)`` or of positions, in their order."""
        return self.predictions.index[mask]

    def array(self, name: str) -> NDArray[Any]:
        """A column in memory."""
        return self.predictions.columns(name)[name].to_numpy()

    @cached_property
    def others(self) -> list[Predictions]:
        """The other seeds' predictions of these rows, in their order."""
        return [aligned(other, self.predictions.index) for other in self.seeds]

    def part(self, mask: NDArray[np.bool_]) -> Known:
        """The same of some rows, bool ``(N,)``."""
        own = self.predictions
        rows = Predictions(own.take(np.flatnonzero(mask)).lazy(), own.classes, own.provenance)
        features = None if self.features is None else self.features[mask]
        return replace(self, predictions=rows, features=features)

    @cached_property
    def epochs(self) -> IntArray | None:
        """The predicted class of each row at each epoch, int64 ``(N, epochs)``; None where that is not recorded."""
        if self.dynamics is None or not self.dynamics.is_file():
            return None
        split = self.predictions.provenance.split
        table = pl.scan_parquet(self.dynamics, glob=False)
        if split is None or "predicted" not in table.collect_schema():
            return None
        wanted = pl.DataFrame({"index": self.predictions.index}).lazy()
        rows = table.filter((pl.col("split") == split) & pl.col("predicted").is_not_null()).select("index", "predicted")
        frame = wanted.join(rows, on="index", how="left", maintain_order="left").collect()
        lengths = frame["predicted"].list.len()
        if frame["predicted"].null_count() or lengths.n_unique() != 1:
            return None
        return np.array(frame["predicted"].to_list(), np.int64)


def _with_copies(run: Run, predictions: Predictions) -> Predictions:
    """The rows with their near-duplicates in the train split, where both are at hand and nothing is called so."""
    if run.images is None or run.train is None or run.train_images is None or predictions.embedding is None:
        return predictions
    if not predictions.scan().collect_schema().keys().isdisjoint(OF_COPIES):
        return predictions
    return join_copies(predictions, run.images, run.train, run.train_images)


def known_of(
    run: Run,
    *,
    seeds: Sequence[Predictions] | None = None,
    features: ArrayLike | None = None,
    layer: str | None = None,
    validation: Predictions | None = None,
    most_rows: int = MOST_ROWS,
    seed: int = 0,
) -> Known:
    """What is known of a run's rows; of more than ``most_rows`` a random sample. Without ``seeds``, `seeds_beside` it.

    Raises
    ------
    DataError
        If the features, another seed's rows or the validation rows do not fit the predictions, or a layer is named
        without a model and images.
    """
    predictions, seeds = run.predictions, seeds_beside(run) if seeds is None else seeds
    if layer is not None and (run.classifier is None or run.images is None):
        raise DataError("layer: expected a run with its model and images, to compute the layer's features")
    if validation is not None:
        check_other_rows(predictions, validation)
    matrix = None if features is None else np.asarray(features, np.float32)
    if matrix is not None and (matrix.ndim != 2 or len(matrix) != len(predictions) or not np.isfinite(matrix).all()):
        raise DataError(
            f"features: expected a finite matrix of {len(predictions)} rows, one a prediction in its order, not "
            f"{matrix.shape}"
        )
    for other in seeds:
        if other.classes != predictions.classes or not np.isin(predictions.index, other.index).all():
            raise DataError("seeds: expected predictions of the same rows and classes as the run's")
    if len(predictions) > most_rows:
        places = np.sort(np.random.default_rng(seed).choice(len(predictions), most_rows, replace=False))
        matrix = None if matrix is None else matrix[places]
        predictions = Predictions(predictions.take(places).lazy(), predictions.classes, predictions.provenance)
    return Known(
        _with_copies(run, predictions),
        run.images,
        run.train,
        None if run.checkpoint is None else run.checkpoint / DYNAMICS,
        tuple(seeds),
        matrix,
        run.classifier,
        layer,
        validation,
        run.robustness,
        run.forecasts,
    )
