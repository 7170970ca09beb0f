"""Training dynamics: what happened to each train row from epoch to epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.core.records import FloatArray, IntArray
from workbench.errors import DataError, first_line

DYNAMICS = "dynamics.parquet"  # beside a checkpoint


def forgetting_events(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often a correct row became misclassified in the next epoch, int64 ``(N,)`` of bool ``(epochs, N)``.

    Toneva et al. 2019 (arXiv 1812.05159, section 3), counted at epochs rather than at each presentation within
    them, which is the same where a row is shown once an epoch. A row that was never correct has none; see
    ``learnt_epoch``.
    """
    events: NDArray[np.int64] = (correct[:-1] & ~correct[1:]).sum(0).astype(np.int64)
    return events


def cartography(loss: FloatArray, correct: NDArray[np.bool_]) -> pl.DataFrame:
    """Training dynamics of each row from its loss (nats) and correctness, both ``(epochs, N)``.

    Columns: ``confidence``, the mean over epochs of P[label] = exp(−loss); ``variability``, its standard deviation
    (of the population, as in the source); ``correctness``, the share of epochs in which the row was correct
    (Swayamdipta et al. 2020, arXiv 2009.10795, section 2); ``forgetting`` (see `forgetting_events`);
    ``learnt_epoch``, the first epoch, counted from 1, from which the row stayed correct to the end, null if it
    was misclassified in the last.

    Raises
    ------
    DataError
        If the shapes differ, there is no epoch, or a loss is negative or not a number.
    """
    if loss.shape != correct.shape or loss.ndim != 2 or len(loss) == 0:
        raise DataError(f"dynamics: expected loss and correctness (epochs, N) alike, not {loss.shape}, {correct.shape}")
    if not (loss >= 0).all():
        raise DataError("dynamics: expected losses of at least 0; some are negative or missing")
    probability = np.exp(-loss)
    right_to_end = np.flip(np.cumprod(np.flip(correct, 0), 0), 0).astype(bool)
    learnt = np.where(correct[-1], right_to_end.argmax(0) + 1, 0)
    return pl.DataFrame(
        {
            "confidence": probability.mean(0),
            "variability": probability.std(0),
            "correctness": correct.mean(0),
            "forgetting": forgetting_events(correct),
            "learnt_epoch": learnt,
        }
    ).with_columns(pl.col("learnt_epoch").replace(0, None))


def region(frame: pl.DataFrame, share: float = 0.33) -> pl.Series:
    """``easy``, ``ambiguous``, ``hard`` or null for each row of `cartography`.

    The source's third of the rows with the highest variability is ambiguous; of the others, the rows of the highest
    and of the lowest third of confidence are easy and hard.
    """
    count = int(share * len(frame))
    ordered = frame.with_columns(
        varied=pl.col("variability").rank("ordinal", descending=True) <= count,
        surest=pl.col("confidence").rank("ordinal", descending=True) <= count,
        least=pl.col("confidence").rank("ordinal") <= count,
    )
    named = pl.when("varied").then(pl.lit("ambiguous")).when("surest").then(pl.lit("easy"))
    return ordered.select(region=named.when("least").then(pl.lit("hard"))).to_series()


def read_dynamics(path: Path) -> pl.DataFrame:
    """`cartography` and `region` of the train rows in a ``dynamics.parquet`` that ``training.run`` wrote, by row id.

    Raises
    ------
    DataError
        If the file is missing, damaged or has other columns.
    """
    needed = ("split", "index", "loss", "correct")
    try:
        table = pl.scan_parquet(path, glob=False)
        if missing := [name for name in needed if name not in table.collect_schema()]:
            raise DataError(f"{path} lacks the column {missing[0]!r}: expected what training.run wrote")
        trained = table.filter((pl.col("split") == "train") & pl.col("loss").is_not_null())  # not the validation rows
        frame = trained.select(needed[1:]).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is missing or damaged ({first_line(error)})") from error
    lengths = set(frame["loss"].list.len().unique()) | set(frame["correct"].list.len().unique())
    if len(lengths) != 1:
        raise DataError(f"{path}: expected train rows with lists of one length, not of {sorted(lengths)}")
    epochs = int(lengths.pop())
    loss, correct = (frame[name].list.to_array(epochs).to_numpy().T for name in ("loss", "correct"))
    found = cartography(loss.astype(np.float64), correct.astype(bool)).insert_column(0, frame["index"])
    return found.with_columns(region(found))


def trained_rows(path: Path) -> IntArray | None:
    """Ids of the train rows that were trained on, int64 ``(n,)``: those with a loss, not the ones that validated.

    None if ``path`` (a ``dynamics.parquet``) does not exist.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    histories = read_histories(path, "train")
    if histories is None:
        return None
    return histories.filter(pl.col("loss").is_not_null())["index"].to_numpy()


HISTORY = ("predicted", "correct", "label_probability", "loss")


def read_histories(path: Path, split: str) -> pl.DataFrame | None:
    """How the rows of a split fared over the epochs: ``index``, sorted, and `HISTORY`, a list each.

    None if ``path`` (a ``dynamics.parquet``) does not exist; a list is null if it was not recorded for this split.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        table = pl.scan_parquet(path, glob=False).filter(pl.col("split") == split)
        return table.select("index", *HISTORY).sort("index").collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is damaged ({first_line(error)})") from error


def history_of(histories: pl.DataFrame, row: int) -> dict[str, Any] | None:
    """How one row fared, a list (or None) for each of `HISTORY`; None if ``histories`` do not contain it."""
    place = int(histories["index"].search_sorted(row))
    if place == len(histories) or histories["index"][place] != row:
        return None
    return histories.select(HISTORY).slice(place, 1).to_dicts()[0]
