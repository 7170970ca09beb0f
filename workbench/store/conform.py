"""Tables brought to the columns and types of `Predictions`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from workbench.core.checks import TOLERANCE
from workbench.errors import DataError
from workbench.store.scores import MATRICES

DIGITS = (0, 1, 2, 3, 4)
MOST = 0.25  # of a row's sum: what coarser rounding hides is no longer a probability


def conform(table: pl.LazyFrame, classes: int, path: Path | str, *, ours: bool = False) -> pl.LazyFrame:
    """The table with the columns and types of `Predictions`; missing columns that can be derived are added.

    In a file that is ``ours`` each row has a probability for each class; any other is read once to find out.
    """
    schema = table.collect_schema()
    name = next((n for n in MATRICES if n in schema), None)
    for needed in ("label", *(() if name else ("predicted",))):
        if needed not in schema:
            raise DataError(f"{path} lacks the column {needed!r}; it has {', '.join(list(schema)[:20])}")
    for number in ("index", "label", "predicted"):
        if number in schema and not schema[number].is_integer():
            advice = ": if it names image files, call it 'path'" if number == "index" else ""
            raise DataError(f"{path}: expected whole numbers in {number!r}, not {schema[number]}{advice}")
    if "index" not in schema:
        table = table.with_row_index("index")
    for matrix in (name, "embedding" if "embedding" in schema else None):
        if matrix is not None and isinstance(schema[matrix], pl.List):
            low, high = (classes, classes) if ours and matrix == "probability" else _lengths(table, matrix)
            if low != high or (matrix == name and low != classes):
                want = f"{classes} (the number of classes)" if matrix == name else "one length"
                raise DataError(f"{path}: expected lists of {want} in {matrix!r}, not of {low} to {high}")
            table = table.with_columns(pl.col(matrix).cast(pl.List(pl.Float32)).list.to_array(low))
    if name == "logit":
        table = table.with_columns(probability=_softmax(classes)).drop("logit")
    if name is not None:
        table = table.with_columns(pl.col("probability").cast(pl.Array(pl.Float32, classes)))
        if "predicted" not in schema:
            table = table.with_columns(predicted=pl.col("probability").arr.arg_max())
    return table.with_columns(pl.col("index", "label", "predicted").cast(pl.Int64))


def _lengths(table: pl.LazyFrame, matrix: str) -> tuple[int, int]:
    """The smallest and the largest number of values in a row."""
    lengths = pl.col(matrix).list.len()
    low, high = table.select(low=lengths.min(), high=lengths.max()).collect(engine="streaming").row(0)
    return low, high


def _softmax(classes: int) -> pl.Expr:
    """``exp(l - max) / sum`` of the logits, in float64, as float32."""

    def softmax(logits: pl.Series) -> pl.Series:
        values = logits.to_numpy().astype(np.float64)
        shares = np.exp(values - values.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        return pl.Series(shares.astype(np.float32), dtype=pl.Array(pl.Float32, classes))

    kind = pl.Array(pl.Float32, classes)
    return pl.col("logit").cast(kind).map_batches(softmax, return_dtype=kind, is_elementwise=True)


def renormalise(table: pl.LazyFrame, classes: int) -> tuple[pl.LazyFrame, str]:
    """Probabilities whose sums are off by rounding alone, divided by their sum; percent as shares; and what was done.

    Values with d digits are each off by at most half of ``10**-d``, so that the sum of K is off by at most K times
    that; bfloat16 keeps eight bits, so that a sum is off by at most ``2**-9`` of itself. What is further off stays as
    it is, and `Predictions` refuses it. Nothing is said of a table that needs nothing.
    """
    lowest, highest, off, digits, brain = 0.0, 0.0, {1.0: 0.0, 100.0: 0.0}, dict.fromkeys(DIGITS, 0.0), True
    column = table.select("probability")
    for first in range(0, column.select(pl.len()).collect().item(), size := max(1, 2**22 // classes)):
        values = column.slice(first, size).collect(engine="streaming")["probability"].to_numpy()
        if not np.isfinite(values).all():
            return table, ""
        sums = values.sum(1, dtype=np.float64)
        lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
        off = {whole: max(worst, float(np.abs(sums / whole - 1).max())) for whole, worst in off.items()}
        brain = brain and not (np.ascontiguousarray(values).view(np.uint32) & 0xFFFF).any()
        for d in digits:
            scaled = values.astype(np.float64) * 10**d
            digits[d] = max(digits[d], float(np.abs(scaled - np.rint(scaled)).max()))
    whole = 100.0 if highest > 1 and off[100.0] < off[1.0] else 1.0
    if lowest < 0 or (whole == 1 and off[1.0] <= TOLERANCE):
        return table, ""
    known = [d for d, worst in digits.items() if worst < 0.01]
    allowed = min(MOST, classes * 0.5 * 10.0 ** -known[0] / whole) if known else 0.0
    if off[whole] > max(allowed, 2**-8 if brain else 0.0, TOLERANCE):
        return table, ""
    cell = pl.col("probability")
    kind = pl.Array(pl.Float32, classes)
    percent = "probabilities are read as percent" if whole == 100 else ""
    rounded = (
        f"probabilities are rounded, so that a sum is off by up to {off[whole]:.2g}: each row is divided by its sum"
        if off[whole] > TOLERANCE
        else ""
    )
    return table.with_columns((cell / cell.arr.sum()).cast(kind)), "; ".join(filter(None, (percent, rounded)))
