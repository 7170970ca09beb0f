"""What ``python -m workbench robustness`` measured of a run, read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from workbench.core.files import sha256
from workbench.core.predictions import Predictions
from workbench.core.texts import read_json
from workbench.errors import DataError

MANIFEST, FRAGILITY, CURVES = "robustness.json", "fragility.parquet", "corruptions.csv"
COLUMNS = ("smallest_change", "smallest_change_kind", "harmless_flips", "harmless_corrects")


@dataclass(frozen=True)
class Robustness:
    """How the answers of a run's model change with the image.

    Parameters
    ----------
    values : mapping
        The manifest: what is harmless, the mean corruption error, what averaging over changed copies brings.
    fragility : DataFrame or None
        One row for each image, by ``index``; see `robustness.fragility.Fragility`.
    curves : DataFrame or None
        Accuracy under each corruption; see `robustness.curves.accuracy_curves`.
    """

    values: Mapping[str, Any]
    fragility: pl.DataFrame | None = None
    curves: pl.DataFrame | None = None


def read_robustness(folder: Path, predictions: Predictions) -> Robustness:
    """What was measured of the model and images that predictions are of.

    Raises
    ------
    DataError
        If the folder holds no such measurement, a damaged one, or one of another model or of other images.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder} has no {MANIFEST}: expected a folder that `python -m workbench robustness` wrote")
    values = read_json(path)
    check_origin(folder, values, predictions)
    fragility = _table(folder, FRAGILITY, values, pl.read_parquet)
    if fragility is not None and not {"index", *COLUMNS} <= set(fragility.columns):
        raise DataError(f"{folder / FRAGILITY} lacks columns: measure it again with --force")
    return Robustness(values, fragility, _table(folder, CURVES, values, pl.read_csv))


def check_origin(folder: Path, values: Mapping[str, Any], predictions: Predictions, of: str = "robustness") -> None:
    """Raise `DataError` if a manifest is of another model or of other images than predictions, as far as both say."""
    own = predictions.provenance
    for name, mine in (("checkpoint", own.checkpoint), ("data", own.data)):
        measured = values.get("provenance", {}).get(name)
        if None not in (measured, mine) and measured != mine:
            what = "another model" if name == "checkpoint" else "other images"
            raise DataError(f"{folder} was measured with {what}: measure these with `{of} --out` another folder")


def _table(folder: Path, name: str, values: Mapping[str, Any], read: Any) -> pl.DataFrame | None:
    """A table that the manifest names, and that is the file it names; None if it names none."""
    path, known = folder / name, values.get("files", {}).get(name)
    if known is None:
        return None
    if not path.is_file() or sha256(path) != known:
        raise DataError(f"{path} is not the file that {MANIFEST} names: measure it again with --force")
    try:
        found: pl.DataFrame = read(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} can't be read ({error}): measure it again with --force") from error
    return found


def join_fragility(predictions: Predictions, measured: Robustness) -> Predictions:
    """The predictions with the columns ``smallest_change``, its kind, ``harmless_flips`` and ``harmless_corrects``.

    Rows that were not measured have none.
    """
    if measured.fragility is None:
        return predictions
    return predictions.join(measured.fragility.select("index", *COLUMNS))
