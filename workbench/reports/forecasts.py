"""A bundle on what repairs would bring: a table, a figure, and what they were computed from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from workbench import figures
from workbench.analysis.compare import Comparison, compare
from workbench.analysis.forecasts import ACCURACY, MANIFEST, RepairForecast, in_points
from workbench.core.files import refuse_to_overwrite, write_atomically, write_json
from workbench.core.stamp import stamp_of
from workbench.core.texts import csv_bytes
from workbench.errors import DataError
from workbench.reports.repairs import Forecasts, Progress, Repairs
from workbench.runs.run import Run

TABLE, CURVES, FIGURE, FIXES = "forecasts.csv", "learning_curves.csv", "forecasts", "fixes"


def write_forecasts(
    run: Run, out: Path, asked: Repairs, *, force: bool = False, progress: Progress | None = None
) -> list[str]:
    """Write what repairs of the run's model would bring into ``out``; return it, a line each.

    ``forecasts.csv`` has a row for each action, ``forecasts`` the figure, ``learning_curves.csv`` the accuracy with
    shares of a class's train rows, and ``forecasts.json`` all of it, for `workbench.with_forecasts`. An action on train
    rows has a file such as ``fixes_relabel.json``, named in the table, for ``python -m training.run --fixes``. What
    can't be forecast for lack of something leaves a line.

    Raises
    ------
    DataError
        If a kind of change or a class does not exist, seeds, fixes or the repaired model's predictions do not fit, or
        nothing can be forecast.
    OutputError
        If ``out`` holds forecasts and ``force`` is off, the disk is full or the folder can't be written.
    """
    refuse_to_overwrite([out / MANIFEST], force)
    if asked.fixes is not None and asked.fixes.resolve().parent == out.resolve():
        raise DataError(f"{asked.fixes} lies in {out}, whose fixes are written anew: name another folder (--out)")
    outcome = None if asked.after is None else compare(run.predictions, asked.after)
    work = Forecasts(run, asked, progress or (lambda _: None))
    work.without_training()
    work.with_training()
    if not work.found:
        raise DataError("forecast: nothing can be forecast: " + "; ".join(work.missing))
    _write(run, out, work, asked, outcome)
    lines = [one.sentence for one in sorted(work.found, key=lambda one: (one.measure, -one.gain))]
    if outcome is not None:
        lines.append(_outcome_words(outcome, [one for one in work.found if one.kind == "fixes"]))
    return [*lines, *work.notes, *(f"not forecast: {line}" for line in work.missing)]


def _write(run: Run, out: Path, work: Forecasts, asked: Repairs, outcome: Comparison | None) -> None:
    """The table, the figure, the learning curves, and last the manifest; what was there goes first."""
    for path in (out / MANIFEST, out / TABLE, out / CURVES, *out.glob(f"{FIGURE}.*"), *out.glob(f"{FIXES}_*.json")):
        path.unlink(missing_ok=True)
    stamp = stamp_of(run.predictions, "forecasts", "", {"seed": asked.seed, "precision": asked.precision})
    names = ("kind", "action", "measure", "gain", "low", "high", "p_value", "basis")
    files = _file_names([one for one in work.found if one.action in work.fixes_of])
    for action, name in files.items():
        write_json(out / name, work.fixes_of[action])
    table = pl.DataFrame(
        [
            {
                **{name: getattr(one, name) for name in names},
                "fixed": len(one.fixed),
                "broken": len(one.broken),
                "fixes": files.get(one.action),
            }
            for one in work.found
        ],
        infer_schema_length=None,
    )
    write_atomically(out / TABLE, lambda path: path.write_bytes(csv_bytes(table)))
    if work.curves:
        shares = {"quarter": 0, "half": 1, "all": 2}
        columns = {name: [curve[k] for curve in work.curves.values()] for name, k in shares.items()}
        curves = pl.DataFrame({"class": list(work.curves), **columns})
        write_atomically(out / CURVES, lambda path: path.write_bytes(csv_bytes(curves)))
    shown = [one for one in work.found if one.measure == ACCURACY]
    if shown:
        figures.save(figures.figure_of(figures.forecasts(shown)), out / FIGURE, stamp)
    values: dict[str, Any] = {
        "provenance": run.predictions.provenance.to_json(),
        "forecasts": [one.to_json() for one in work.found],
        "learning_curves": work.curves,
        "missing": work.missing,
    }
    if outcome is not None:
        numbers = ("difference", "low", "high", "fixed", "broken", "rows")
        values["outcome"] = {name: getattr(outcome, name) for name in numbers}
    write_json(out / MANIFEST, values)


def _file_names(found: Sequence[RepairForecast]) -> dict[str, str]:
    """The file of each action's fixes, named after its kind, several of a kind numbered."""
    kinds = [one.kind for one in found]
    numbered = [(one, kinds[: place + 1].count(one.kind)) for place, one in enumerate(found)]
    return {
        one.action: f"{FIXES}_{one.kind}{f'_{number}' if kinds.count(one.kind) > 1 else ''}.json"
        for one, number in numbered
    }


def _outcome_words(outcome: Comparison, forecast: Sequence[RepairForecast]) -> str:
    """What came of the repair, beside what was forecast."""
    words = f"outcome: accuracy {in_points(outcome.difference, outcome.low, outcome.high)}"
    if not forecast:
        return words
    one = forecast[0]
    where = "within" if one.low <= outcome.difference <= one.high else "outside"
    limits = f"{100 * one.low:+.2f} to {100 * one.high:+.2f}"
    return f"{words}, whose value lies {where} the forecast of the fixes ({limits})"
