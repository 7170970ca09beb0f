"""Evidence on disk: computed once for many images, part by part, beside the maps that it is about."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench.attribution.cache import Entry, MapCache
from workbench.attribution.method import REFERENCES
from workbench.attribution.registry import methods
from workbench.attribution.targets import Targets
from workbench.core.files import write_atomically
from workbench.core.records import Attribution, ImageSet, IntArray, Precision, Verdict
from workbench.errors import DataError
from workbench.evidence.cells import BLOCKS, USED, CellEffects, cell_effects, evidence_grid, joined
from workbench.models.classifier import Classifier
from workbench.models.weights import weights_digest

PART = 50
VERDICTS_FILE, _WEIGHTS = "evidence.parquet", "weights"
_KEYS = ("index", "target", "against", "method", "layer")
Key = tuple[int, int, int | None, str, str]


def stored_effects(
    classifier: Classifier,
    images: ImageSet,
    rows: IntArray,
    targets: Targets,
    cache: MapCache | None,
    *,
    precision: Precision = "float32",
    progress: Callable[[int], None] | None = None,
) -> CellEffects:
    """What the cells of many images do, 50 images at a time, from the cache if present, else measured and stored.

    A killed run resumes, as parts that are stored are not measured again. ``progress`` hears how many are done.

    Raises
    ------
    AttributionError
        As `cell_effects`.
    DataError, OutputError
        If a cached file is damaged, or the cache can't be written.
    """
    grid = evidence_grid(classifier)
    entry = None
    if cache is not None:
        settings = {"grid": list(grid), "blocks": BLOCKS, "substrates": list(USED)}
        entry = cache.entry(classifier, "cell effects", "", settings, precision)
    seen, parts = classifier.seen(images), []
    for first in range(0, len(rows), PART):
        part = slice(first, first + PART)
        pixels, wanted = seen.stack(rows[part]), targets.part(part)
        path = None if entry is None else entry.part(rows[part], pixels, wanted)
        found = None if entry is None or path is None else _read(entry, path, grid)
        if found is None:
            found = cell_effects(classifier, pixels, rows[part], wanted, grid, precision=precision)
            if entry is not None and path is not None:
                entry.write(path, _arrays(found))
        parts.append(found)
        if progress is not None:
            progress(min(first + PART, len(rows)))
    return joined(parts)


def _arrays(effects: CellEffects) -> dict[str, Any]:
    """As arrays; which cells were shown in bits."""
    return {
        "rows": effects.rows,
        "whole": effects.whole,
        "shown": np.packbits(effects.shown, axis=-1),
        **{f"differences {name}": values.astype(np.float32) for name, values in effects.differences.items()},
    }


def _read(entry: Entry, path: Path, grid: tuple[int, int]) -> CellEffects | None:
    held = entry.read(path, ("rows", "whole", "shown", *(f"differences {name}" for name in USED)))
    if held is None:
        return None
    shown = np.unpackbits(held["shown"], axis=-1, count=grid[0] * grid[1]).astype(bool)
    differences = {name: held[f"differences {name}"].astype(np.float64) for name in USED}
    return CellEffects(grid, held["rows"], shown, differences, held["whole"])


def store_verdicts(cache: MapCache, classifier: Classifier, table: pl.DataFrame) -> None:
    """Keep the verdicts of a table of `ranking.tables` beside the maps, in place of those about the same maps.

    Those of methods that need reference images are not kept.

    Raises
    ------
    OutputError
        If the disk is full or the folder can't be written.
    DataError
        If a file of verdicts is there and is damaged.
    """
    path, weights = cache.folder / VERDICTS_FILE, weights_digest(classifier.module)
    # what other images a map was computed with is no part of a verdict's key
    needing = [one.name for one in methods().values() if REFERENCES in one.needs]
    lasting = table.filter(~pl.any_horizontal(pl.col("method").str.starts_with(name) for name in needing))
    new = lasting.select(*_KEYS, "verdict", "reasons")
    old = _table(path, weights)
    if old is not None:
        new = pl.concat([new, old.join(new, on=list(_KEYS), how="anti", nulls_equal=True)])
    write_atomically(path, functools.partial(new.write_parquet, metadata={_WEIGHTS: weights}))


def stored_verdicts(cache: MapCache, classifier: Classifier) -> Mapping[Key, tuple[Verdict, str]]:
    """The verdicts kept for this model's maps, with their reasons; empty if there are none.

    By row, target, class compared with (None if none), method's title and layer.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    table = _table(cache.folder / VERDICTS_FILE, weights_digest(classifier.module))
    if table is None:
        return {}
    return {tuple(row[:5]): (row[5], row[6]) for row in table.iter_rows()}


def key_of(maps: Attribution, place: int) -> Key:
    """By what the verdict on one map is found."""
    against = None if maps.against is None else int(maps.against[place])
    return int(maps.rows[place]), int(maps.targets[place]), against, maps.title, maps.layer


def _table(path: Path, weights: str) -> pl.DataFrame | None:
    """The verdicts in a file about a model with these weights."""
    if not path.is_file():
        return None
    try:
        if pl.read_parquet_metadata(path).get(_WEIGHTS) != weights:
            return None
        return pl.read_parquet(path, columns=[*_KEYS, "verdict", "reasons"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} is damaged ({error}): delete it, and run evidence again") from error
