"""A bundle that ranks attribution methods on a run's errors: tables, figures, and what they were computed from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from workbench import figures
from workbench.analysis.index import sample_errors
from workbench.attribution.cache import MapCache
from workbench.attribution.precompute import Request, concatenate, maps_of
from workbench.attribution.targets import targets_of
from workbench.core.files import refuse_to_overwrite, sha256, write_atomically, write_json
from workbench.core.records import Attribution, IntArray, Precision
from workbench.core.stamp import NAME, stamp_of, text_of
from workbench.core.texts import csv_bytes
from workbench.errors import DataError
from workbench.evidence.agreement import REFERENCES
from workbench.evidence.faithfulness import Bench, Others
from workbench.evidence.ranking import Trial, ranking, tables, try_methods
from workbench.evidence.stored import store_verdicts, stored_effects
from workbench.runs.run import Run

MANIFEST = "evidence.json"
SHOWN_IMAGES = 6


def write_evidence(
    run: Run,
    out: Path,
    rows: IntArray,
    methods: Sequence[str],
    *,
    targets: str = "predicted",
    precision: Precision = "float32",
    cache: MapCache | None = None,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> list[str]:
    """Try the methods on ``rows`` and write ``methods.csv``, ``maps.parquet`` and two figures into ``out``.

    ``methods.csv`` is the table of `evidence.ranking.ranking`, ``maps.parquet`` that of `evidence.ranking.tables`, a
    row for every map; the figures are the ranking and the maps of all methods for the first six rows. With a ``cache``
    a killed run resumes with what it has measured and the maps that it has made, and the verdicts are kept beside the
    maps, where the explorer and its page find them. The controls are the maps of each other row, and of further errors
    where there are fewer than a hundred rows. Returns a line for each method that does not apply to the model, with
    the reason.

    Raises
    ------
    OutputError
        If ``out`` holds such a bundle and ``force`` is off, the disk is full or the folder can't be written.
    DataError
        If the run has no images or no model, or no method applies.
    AttributionError
        If a method or target does not exist.
    """
    refuse_to_overwrite([out / MANIFEST], force)
    if run.images is None or run.classifier is None:
        raise DataError("evidence needs the images and the model: give --data and --checkpoint")
    wanted = targets_of(run.predictions, rows, targets)
    seen = run.classifier.seen(run.images)
    classifier, images = run.classifier, run.images

    def count(done: int) -> None:
        if progress is not None:
            progress(f"cells of {done:,} of {len(rows):,} images")

    known = stored_effects(classifier, images, rows, wanted, cache, precision=precision, progress=count)
    bench = Bench(classifier, seen.stack(rows), rows, wanted, precision, _others(run, rows, targets), known)

    def maps(method: str) -> Attribution:
        request = Request(method, targets, "", precision)
        return concatenate(list(maps_of(classifier, images, run.predictions, rows, request, cache)))

    trials = list(try_methods(bench, methods, maps=maps, progress=progress))
    found = [trial for trial in trials if trial.evidence is not None]
    table = ranking(trials)
    refused = [f"{trial.method}: {trial.refused}" for trial in trials if trial.refused]
    if not found:
        raise DataError("no method applies to this model: " + "; ".join(refused))
    files = [out / "methods.csv", out / "maps.parquet"]
    write_atomically(files[0], lambda path: path.write_bytes(csv_bytes(table)))
    whole = tables(found)
    if cache is not None:
        store_verdicts(cache, classifier, whole)
    parameters = {"targets": targets, "precision": precision, "rows": len(rows), "methods": list(methods)}
    stamp = stamp_of(run.predictions, "evidence", "", parameters)
    write_atomically(files[1], functools.partial(whole.write_parquet, metadata={NAME: text_of(stamp)}))
    files += figures.save(figures.method_ranking(table), out / "methods", stamp)
    columns = {
        _two_lines(trial): trial.evidence.attribution.part(slice(SHOWN_IMAGES)) for trial in found if trial.evidence
    }
    grid = figures.attribution_grid(seen, run.predictions, columns, signed=None, scale="own")
    files += figures.save(grid, out / "method_maps", stamp)
    write_json(
        out / MANIFEST,
        {
            "run": run.name,
            "targets": targets,
            "precision": precision,
            "rows": rows.tolist(),
            "provenance": run.predictions.provenance.to_json(),
            "images": run.images.fingerprint,
            "does_not_apply": refused,
            "stamp": stamp,
            "files": {path.name: sha256(path) for path in sorted(files)},
        },
    )
    return refused


def _others(run: Run, rows: IntArray, targets: str) -> Others | None:
    """Errors, and where they do not suffice other rows, that bring the images whose maps are compared to a hundred."""
    missing = REFERENCES + 1 - len(rows)
    if missing <= 0 or run.images is None or run.classifier is None:
        return None
    predictions = run.predictions
    more = sample_errors(predictions, REFERENCES + 1 + len(rows)) if predictions.error_count else predictions.index[:0]
    more = more[~np.isin(more, rows)]
    if targets != "contrast" and len(more) < missing:
        correct = predictions.index[predictions.correct & ~np.isin(predictions.index, rows)]
        more = np.concatenate([more, np.random.default_rng(0).permutation(correct)])
    more = more[:missing]
    if not len(more):
        return None
    return Others(run.classifier.seen(run.images).stack(more), more, targets_of(predictions, more, targets))


def _two_lines(trial: Trial) -> str:
    return trial.method.replace(" ", "\n", 1)
