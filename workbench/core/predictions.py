"""What a model said about each row: a lazy table, checked once, with the columns that follow from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.core.records import FloatArray, IntArray, ProbabilityArray, Provenance
from workbench.errors import DataError

TOLERANCE = 1e-3
FEW = 64
CORE = ("index", "label", "predicted", "probability", "embedding")
_TINY = float(np.finfo(np.float32).smallest_subnormal)
_P = pl.col("probability")
# classes are in range, as checked; yet where a condition masks a row, Polars looks up a class that is not there
_CONFIDENCE = _P.arr.get(pl.col("predicted"), null_on_oob=True)
_OF_LABEL = _P.arr.get(pl.col("label"), null_on_oob=True)
_CORRECT = pl.col("label") == pl.col("predicted")

DERIVED: Mapping[str, pl.Expr] = {
    "correct": _CORRECT,
    "confidence": _CONFIDENCE,
    "label_probability": _OF_LABEL,
    # if the row is right the strongest other class is the second of all, else it is the predicted one
    "margin": _OF_LABEL - pl.when(_CORRECT).then(_P.arr.sort(descending=True).arr.get(1)).otherwise(_CONFIDENCE),
    "loss": -pl.max_horizontal(_OF_LABEL, pl.lit(_TINY, pl.Float32)).cast(pl.Float64).log(),
    "entropy": -_P.arr.to_list()
    .list.eval(pl.element().cast(pl.Float64) * pl.max_horizontal(pl.element(), _TINY).cast(pl.Float64).log())
    .list.sum(),
}


def _margin_of_few(classes: int) -> pl.Expr:
    """The margin without sorting a row's probabilities: three times as fast for ten classes, slower for hundreds."""
    others = [pl.when(pl.col("label") != k).then(_P.arr.get(k)) for k in range(classes)]
    return _OF_LABEL - pl.max_horizontal(others)


class Predictions:
    """What a model said about each row.

    Parameters
    ----------
    table : polars LazyFrame
        ``index`` int64, unique row ids (the position in the source's own order); ``label`` and
        ``predicted`` int64, the truth and the class of highest probability; ``probability`` an array of
        K float32 that sums to 1; optionally ``embedding``, an array of D float32 (what the last linear
        layer reads), and further columns of the user's own. It stays where it is: nothing is loaded
        but what is asked for.
    classes : tuple of str
        K names, at least two.
    provenance : Provenance, optional
        What they were computed from.
    files : sequence of Path, optional
        Where the table lies, if it is read from files. It is refused once one of them has changed: what was read
        before and after would be of two runs.

    `DERIVED` names the columns that follow from these:

    - ``correct``: whether ``predicted`` is ``label``;
    - ``confidence`` and ``label_probability``: the probability of ``predicted`` and of ``label`` (the
      self-confidence of Northcutt 2021, arXiv 1911.00068), float32;
    - ``margin``: the label's probability less the highest of the others (Northcutt's normalised
      margin), float32 from -1 to 1, negative where the model is wrong;
    - ``loss``: cross entropy ``-log P[label]`` in nats, float64. A probability that float32 rounds to
      0 counts as the smallest positive float32, so that the loss stays finite;
    - ``entropy``: ``-sum P log P`` in nats, float64.

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
    ) -> None:
        self.classes = classes
        self.provenance = provenance or Provenance()
        # numbers of the user's own that are no numbers are missing ones, wherever they are sorted and filtered
        kinds = table.collect_schema()
        own = [name for name, kind in kinds.items() if kind.is_float() and name not in CORE]
        self._table = table.with_columns(pl.col(own).fill_nan(None)) if own else table
        self.files = tuple(files)
        self._stamps = {path: _stamp(path) for path in files}
        if twice := sorted({name for name in self.classes if self.classes.count(name) > 1}):
            raise DataError(f"classes: expected names of their own, {twice[0]!r} is there twice")
        _check_schema(self.table, len(self.classes))
        _check_ids(self.table, len(self.classes))
        _check_probabilities(self.table)

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
        """Predictions of arrays: labels ``(N,)`` and probabilities ``(N, K)``; the first of equals is predicted.

        Raises
        ------
        DataError
            If the shapes do not fit or a value is out of range.
        """
        try:
            values, labels = np.ascontiguousarray(probability, np.float32), np.asarray(label)
        except (ValueError, TypeError) as error:
            raise DataError(f"expected numbers, in rows of one length, in label and probability ({error})") from error
        if values.shape != (len(labels), len(classes)):
            raise DataError(
                f"probability: expected {len(labels)} rows of {len(classes)} classes, not {values.shape}: "
                "labels, class names and the model must fit each other"
            )
        columns: dict[str, Any] = {
            "index": np.arange(len(labels)) if index is None else np.asarray(index),
            "label": labels,
            "predicted": values.argmax(1) if len(values) else np.zeros(0, np.int64),
            "probability": pl.Series(values, dtype=pl.Array(pl.Float32, len(classes))),
        }
        if embedding is not None:
            columns["embedding"] = np.ascontiguousarray(embedding, np.float32)
        for name, column in columns.items():
            if len(column) != len(labels):
                raise DataError(f"{name}: expected {len(labels)} values, not {len(column)}")
        return cls(pl.DataFrame(columns).lazy(), tuple(classes), provenance or Provenance())

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
            If a file of them has changed since.
        """
        for path, stamp in self._stamps.items():
            if _stamp(path) != stamp:
                raise DataError(f"{path} has changed or is gone since it was opened: open the run again")
        return self._table

    def scan(self) -> pl.LazyFrame:
        """The table with every column of `DERIVED`; what is not asked for is not computed."""
        derived = {**DERIVED, "margin": _margin_of_few(len(self.classes))} if len(self.classes) <= FEW else DERIVED
        return self.table.with_columns(**derived)

    def columns(self, *names: str) -> pl.DataFrame:
        """The named columns in memory, in the table's order.

        Raises
        ------
        DataError
            If there is no such column.
        """
        scan = self.scan()
        if missing := [name for name in names if name not in scan.collect_schema()]:
            raise DataError(f"no column {missing[0]!r}: expected one of {', '.join(scan.collect_schema())}")
        return scan.select(names).collect(engine="streaming")

    def batches(self, *names: str, cells: int = 2**24) -> Iterator[pl.DataFrame]:
        """The named columns in parts of neighbouring rows, so that a matrix of all rows need not fit in memory.

        A part has at most about ``cells`` values of a matrix column with as many columns as there are classes.
        """
        size = max(1, cells // len(self.classes))
        scan = self.scan().select(names)
        for first in range(0, len(self), size):
            yield scan.slice(first, size).collect(engine="streaming")

    def take(self, places: IntArray) -> pl.DataFrame:
        """The table's rows at the given positions ``(n,)``, in their order, in memory."""
        wanted = pl.DataFrame({"place": places, "order": np.arange(len(places))})
        found = self.table.with_row_index("place").with_columns(pl.col("place").cast(pl.Int64))
        kept = found.join(wanted.lazy(), on="place", how="inner").collect(engine="streaming")
        return kept.sort("order").drop("place", "order")

    def frame(self) -> pl.DataFrame:
        """A table with index, label, predicted, correct, confidence, margin and loss."""
        return self.columns("index", "label", "predicted", "correct", "confidence", "margin", "loss")

    def join(self, columns: pl.DataFrame) -> Predictions:
        """These predictions with further columns, matched by row id (``index``); null where there is none.

        Raises
        ------
        DataError
            If ``index`` is missing or not unique, or a column is there already.
        """
        if "index" not in columns.columns or columns["index"].is_duplicated().any():
            raise DataError("columns to join: expected a column 'index' of unique row ids")
        taken = set(self.scan().collect_schema()) & (set(columns.columns) - {"index"})
        if taken:
            raise DataError(f"columns to join: {sorted(taken)[0]!r} is there already; give it another name")
        joined = self.table.join(columns.lazy(), on="index", how="left", maintain_order="left")
        return Predictions(joined, self.classes, self.provenance, files=self.files)

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
        """SHA-256 over class names and the bytes of row ids, labels and probabilities, in the table's order."""
        found = hashlib.sha256(repr(self.classes).encode())
        for part in self.batches("index", "label", "probability"):
            for name in part.columns:
                found.update(np.ascontiguousarray(part[name].to_numpy()).data)
        return found.hexdigest()

    @cached_property
    def error_count(self) -> int:
        """Number of rows predicted otherwise than labelled."""
        return int(self.table.select((~_CORRECT).sum()).collect(engine="streaming").item())

    @property
    def accuracy(self) -> float:
        """Fraction of rows predicted as labelled."""
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


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from one that is written in its place; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _check_schema(table: pl.LazyFrame, classes: int) -> None:
    schema = table.collect_schema()
    if classes < 2:
        raise DataError(f"classes: expected at least 2, not {classes}")
    if "embedding" in schema and not isinstance(schema["embedding"], pl.Array):
        raise DataError(f"embedding: expected arrays of float32, not {schema['embedding']}")
    for name in ("index", "label", "predicted"):
        if schema.get(name) != pl.Int64:
            raise DataError(f"{name}: expected a column of int64, not {schema.get(name, 'none')}")
    if schema.get("probability") != pl.Array(pl.Float32, classes):
        raise DataError(
            f"probability: expected arrays of {classes} float32, not {schema.get('probability', 'none')}: "
            "the class names and the model must have the same count"
        )


def _check_ids(table: pl.LazyFrame, classes: int) -> None:
    numbers = ("index", "label", "predicted")
    bounds = table.select(
        pl.len().alias("rows"),
        *(pl.col(n).null_count().alias(f"{n} missing") for n in numbers),
        *(pl.col(n).min().alias(f"{n} low") for n in numbers),
        *(pl.col(n).max().alias(f"{n} high") for n in numbers),
    )
    found = bounds.collect(engine="streaming").row(0, named=True)
    if found["rows"] == 0:
        raise DataError("predictions hold no row: expected at least one")
    for name in numbers:
        if found[f"{name} missing"]:
            raise DataError(f"{name}: {found[f'{name} missing']:,} rows have none; fill or drop them")
    for name in ("label", "predicted"):
        if not 0 <= found[f"{name} low"] <= found[f"{name} high"] < classes:
            raise DataError(
                f"{name}: expected 0 to {classes - 1}, not {found[f'{name} low']} to {found[f'{name} high']}"
            )
    ids = table.select("index").collect(engine="streaming")["index"].to_numpy()
    if not (np.diff(ids) > 0).all() and len(np.unique(ids)) != len(ids):
        raise DataError("index: expected unique row ids, some occur twice")


def _check_probabilities(table: pl.LazyFrame) -> None:
    total = _P.arr.sum()
    found = (
        table.select(
            missing=_P.null_count() + (_P.arr.count_matches(None) > 0).sum(),
            finite=total.is_finite().all(),
            lowest=_P.arr.min().min(),
            worst=(total.cast(pl.Float64) - 1).abs().max(),
            beaten=(_P.arr.max() > _CONFIDENCE).sum(),
        )
        .collect(engine="streaming")
        .row(0, named=True)
    )
    if found["missing"] or not found["finite"] or found["lowest"] is None or found["lowest"] < 0:
        raise DataError("probability: expected finite values from 0 to 1; the model or the file is damaged")
    if found["worst"] > TOLERANCE:
        raise DataError(
            f"probability: expected rows that sum to 1, one is off by {found['worst']:.3g}; "
            "if these are logits, name the column `logit`"
        )
    if found["beaten"]:
        raise DataError(
            f"predicted: {found['beaten']:,} rows are not their most probable class; leave the column out to get it"
        )
