"""A model's predictions: a lazy table, checked once, with the columns derived from it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from polars.selectors import by_name

from workbench.core.arrays import table_of_arrays
from workbench.core.checks import check_ids, check_schema, scores_of
from workbench.core.derived import CORE, DERIVED, IS_CORRECT, KEPT, without_nan
from workbench.core.files import stamp_of
from workbench.core.records import FloatArray, IntArray, ProbabilityArray, Provenance
from workbench.errors import DataError

__all__ = ["CORE", "DERIVED", "Predictions"]


class Predictions:
    """A model's prediction for each row.

    Parameters
    ----------
    table : polars LazyFrame
        ``index`` int64, unique row ids (the position in the source's own order); ``label`` and
        ``predicted`` int64, the truth and the class of highest probability; ``probability`` an array of
        K float32 that sums to 1, unless only predicted classes are known; optionally ``embedding``, an array of D
        float32 (what the last linear layer reads), and further columns of the user's own. It stays lazy: only what
        is asked for is loaded.
    classes : tuple of str
        K names, at least two.
    provenance : Provenance, optional
        What they were computed from.
    files : sequence of Path, optional
        The files that the table is read from, if any. The table is refused once one of them has changed, as what was
        read before and after would come from two runs.
    notes : sequence of str, optional
        What reading them assumed.

    `DERIVED` names the columns that follow from these:

    - ``correct``: whether ``predicted`` is ``label``;
    - ``confidence`` and ``label_probability``: the probability of ``predicted`` and of ``label`` (the
      self-confidence of Northcutt 2021, arXiv 1911.00068), float32;
    - ``margin``: the label's probability less the highest of the others (Northcutt's normalised
      margin), float32 from -1 to 1, negative where the row is misclassified;
    - ``loss``: cross entropy ``-log P[label]`` in nats, float64. A probability that float32 rounds to
      0 counts as the smallest positive float32, so that the loss stays finite;
    - ``entropy``: ``-sum P log P`` in nats, float64.

    Without ``probability`` only ``correct`` follows.

    Raises
    ------
    DataError
        If columns, shapes, ranges or sums are off, or ``predicted`` is not the most probable class.
    """

    def __init__(
        self,
        table: pl.LazyFrame,
        classes: tuple[str, ...],
        provenance: Provenance | None = None,
        *,
        files: Sequence[Path] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.classes, self.notes = classes, tuple(notes)
        self.provenance = provenance or Provenance()
        self._table = without_nan(table)
        self.files = tuple(files)
        self._stamps = {path: stamp_of(path) for path in files}
        if twice := sorted({name for name in self.classes if self.classes.count(name) > 1}):
            raise DataError(f"classes: expected unique names, not {twice[0]!r} twice: rename one of them")
        self.has_probabilities = "probability" in self._table.collect_schema()
        check_schema(self.table, len(self.classes))
        check_ids(self.table, len(self.classes))
        self._scores = (
            scores_of(self.table, len(self.classes), self.provenance.threshold) if self.has_probabilities else None
        )

    @classmethod
    def from_arrays(
        cls,
        label: ArrayLike,
        probability: ArrayLike,
        classes: Sequence[str],
        *,
        index: ArrayLike | None = None,
        embedding: ArrayLike | None = None,
        provenance: Provenance | None = None,
    ) -> Predictions:
        """Predictions from arrays: labels ``(N,)`` and probabilities ``(N, K)``; ties go to the first class.

        Raises
        ------
        DataError
            If the shapes do not fit or a value is out of range.
        """
        table = table_of_arrays(label, probability, classes, index, embedding)
        return cls(table.lazy(), tuple(classes), provenance or Provenance())

    def __len__(self) -> int:
        return self._rows

    @cached_property
    def _rows(self) -> int:
        return int(self.table.select(pl.len()).collect(engine="streaming").item())

    @property
    def table(self) -> pl.LazyFrame:
        """The columns as they were given.

        Raises
        ------
        DataError
            If one of the files has changed since it was opened.
        """
        for path, stamp in self._stamps.items():
            if stamp_of(path) != stamp:
                raise DataError(f"{path} has changed or is gone since it was opened: open the run again")
        return self._table

    def scan(self) -> pl.LazyFrame:
        """The table with every column of `DERIVED` that follows; columns that are not asked for are not read."""
        if self._scores is None:
            return self.table.with_columns(correct=IS_CORRECT)
        others = self.table.select(pl.exclude(KEPT))  # a table may hold them already
        both = pl.concat([others, self._scores.lazy()], how="horizontal")
        return both.select(pl.exclude(*DERIVED), **DERIVED)

    def require_probabilities(self, what: str) -> None:
        """Raise `DataError` if only predicted classes are known, as ``what`` needs more."""
        if not self.has_probabilities:
            raise DataError(
                f"{what} needs probabilities, and these predictions have only predicted classes: export the model's "
                "probabilities too"
            )

    def columns(self, *names: str) -> pl.DataFrame:
        """The named columns in memory, in the table's order; `DataError` if there is no such column."""
        return self._scan_of(names).collect(engine="streaming")

    def _scan_of(self, names: Sequence[str]) -> pl.LazyFrame:
        """The named columns, lazily; `DataError` if there is no such column."""
        scan = self.scan()
        if missing := [name for name in names if name not in scan.collect_schema()]:
            if missing[0] in (*DERIVED, "probability"):
                self.require_probabilities(missing[0])
            raise DataError(f"no column {missing[0]!r}: expected one of {', '.join(scan.collect_schema())}")
        return scan.select(by_name(*names))  # exact names: text would be read as patterns

    def batches(self, *names: str, cells: int = 2**24) -> Iterator[pl.DataFrame]:
        """The named columns in parts of neighbouring rows, so that a matrix of all rows need not fit in memory.

        A part has at most about ``cells`` values of a matrix column with as many columns as there are classes.
        """
        size = max(1, cells // len(self.classes))
        scan = self._scan_of(names)
        for first in range(0, len(self), size):
            yield scan.slice(first, size).collect(engine="streaming")

    def take(self, places: IntArray) -> pl.DataFrame:
        """The table's rows at the given positions ``(n,)``, in their order, in memory."""
        wanted = pl.DataFrame({"place": places, "order": np.arange(len(places))})
        found = self.table.with_row_index("place").with_columns(pl.col("place").cast(pl.Int64))
        kept = found.join(wanted.lazy(), on="place", how="inner").collect(engine="streaming")
        return kept.sort("order").drop("place", "order")

    def frame(self) -> pl.DataFrame:
        """A table with index, label, predicted, correct, and with probabilities confidence, margin and loss."""
        scores = ("confidence", "margin", "loss") if self.has_probabilities else ()
        return self.columns("index", "label", "predicted", "correct", *scores)

    def join(self, columns: pl.DataFrame) -> Predictions:
        """These predictions with further columns, matched by row id (``index``); null where no row matches.

        Raises
        ------
        DataError
            If ``index`` is missing or not unique, or a column already exists.
        """
        if "index" not in columns.columns or columns["index"].is_duplicated().any():
            raise DataError("columns to join: expected a column 'index' of unique row ids")
        taken = set(self.scan().collect_schema()) & (set(columns.columns) - {"index"})
        if taken:
            raise DataError(f"columns to join: {sorted(taken)[0]!r} already exists: give it another name")
        return self.of_same_rows(self.table.join(columns.lazy(), on="index", how="left", maintain_order="left"))

    def of_same_rows(self, table: pl.LazyFrame) -> Predictions:
        """These predictions with another table of the same rows in the same order, whose further columns differ.

        What was found of labels and probabilities is kept; `DataError` if a column is not of its type.
        """
        check_schema(table, len(self.classes))
        changed = copy.copy(self)
        changed._table = without_nan(table)
        changed.__dict__.pop("embedding", None)  # the one further column that may have been read already
        return changed

    def _array(self, name: str) -> NDArray[Any]:
        return self.columns(name)[name].to_numpy()

    @cached_property
    def index(self) -> IntArray:
        """Row ids, int64 ``(N,)``."""
        return self._array("index")

    @cached_property
    def label(self) -> IntArray:
        """True classes, int64 ``(N,)``."""
        return self._array("label")

    @cached_property
    def predicted(self) -> IntArray:
        """Predicted classes, int64 ``(N,)``."""
        return self._array("predicted")

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the label, bool ``(N,)``."""
        right: NDArray[np.bool_] = self.predicted == self.label
        return right

    @cached_property
    def confidence(self) -> ProbabilityArray:
        """Probability of the predicted class, float32 ``(N,)``."""
        return self._array("confidence")

    @cached_property
    def label_probability(self) -> ProbabilityArray:
        """Probability of the label, float32 ``(N,)``."""
        return self._array("label_probability")

    @cached_property
    def margin(self) -> ProbabilityArray:
        """Label's probability less the highest of the other classes, float32 ``(N,)``."""
        return self._array("margin")

    @cached_property
    def loss(self) -> FloatArray:
        """Cross entropy in nats, float64 ``(N,)``."""
        return self._array("loss")

    @cached_property
    def probability(self) -> ProbabilityArray:
        """All probabilities in memory, float32 ``(N, K)``."""
        return self._array("probability")

    @cached_property
    def embedding(self) -> ProbabilityArray | None:
        """All embeddings in memory, float32 ``(N, D)``; None if there are none."""
        return self._array("embedding") if "embedding" in self.table.collect_schema() else None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over class names and the bytes of row ids, labels and probabilities, in the table's order.

        Predicted classes stand for probabilities that there are none of.
        """
        found = hashlib.sha256(repr(self.classes).encode())
        for part in self.batches("index", "label", "probability" if self.has_probabilities else "predicted"):
            for name in part.columns:
                found.update(np.ascontiguousarray(part[name].to_numpy()).data)
        return found.hexdigest()

    @cached_property
    def error_count(self) -> int:
        """Number of misclassified rows."""
        return int(self.table.select((~IS_CORRECT).sum()).collect(engine="streaming").item())

    @property
    def accuracy(self) -> float:
        """Fraction of correct rows."""
        return 1 - self.error_count / len(self)

    @cached_property
    def _place_of(self) -> tuple[IntArray, IntArray]:
        order = np.argsort(self.index, kind="stable")
        return self.index[order], order

    def position(self, row: int) -> int:
        """Position of row id ``row`` in the columns; `DataError` if absent."""
        ids, order = self._place_of
        place = int(np.searchsorted(ids, row))
        if place == len(ids) or ids[place] != row:
            raise DataError(f"no row with the id {row} in the predictions")
        return int(order[place])
