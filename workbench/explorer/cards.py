"""Findings as the explorer shows them: cards for each, and columns to select their rows by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from workbench.core.records import IntArray
from workbench.explorer.words import NO, YES
from workbench.findings.record import Finding, Findings
from workbench.findings.registry import KINDS

SHOWN = 6
REMAINDER = "explained by no finding"


def column_names(found: Findings) -> list[str]:
    """What the column of each finding is called, such as ``slices: camera old``; later ones of a name are numbered."""
    names: list[str] = []
    for finding in found:
        name = f"{finding.kind}: {finding.subject}"
        same = sum(other.partition(" (no. ")[0] == name for other in names)
        names.append(f"{name} (no. {same + 1})" if same else name)
    return names


def is_finding(column: str) -> bool:
    """Whether a column is called as those of findings are."""
    return column == REMAINDER or column.partition(": ")[0] in KINDS


def flags(groups: Mapping[str, IntArray], index: IntArray) -> pl.DataFrame:
    """A column ``yes`` or ``no`` for each group of row ids, beside the row ids ``(N,)``."""
    marked = {name: np.where(np.isin(index, rows), YES, NO) for name, rows in groups.items()}
    return pl.DataFrame({"index": index, **marked})


def membership(found: Findings, index: IntArray) -> pl.DataFrame:
    """A column ``yes`` or ``no`` for each finding and for the remainder, beside the row ids."""
    groups = {name: finding.rows for name, finding in zip(column_names(found), found, strict=True)}
    groups[REMAINDER] = found.remainder
    return flags(groups, index)


def cards(found: Findings, loss: dict[int, float]) -> list[dict[str, Any]]:
    """What is shown of each finding, as JSON values; examples are its rows of highest ``loss``."""
    named = zip(column_names(found), found, strict=True)
    return [_card(name, finding, found.errors, loss) for name, finding in named]


def _card(column: str, finding: Finding, errors: int, loss: dict[int, float]) -> dict[str, Any]:
    values = finding.to_json()
    kept = ("kind", "subject", "sentence", "effect", "low", "high", "measure", "checked", "stable", "errors", "cost")
    forecast = finding.forecast
    return {
        **{name: values[name] for name in (*kept, "action", "explains")},
        "rows": len(finding.rows),
        "gap": "" if finding.gap is None or finding.kind == "calibration" else f"there {finding.gap.words}",
        "column": column,
        "share": finding.cost / errors if errors else 0.0,
        "forecast": "" if forecast is None else forecast.words,
        "examples": examples(finding.rows, loss),
    }


def examples(rows: IntArray, loss: dict[int, float]) -> list[int]:
    """Six row ids of the highest loss."""
    return sorted(rows.tolist(), key=lambda row: -loss.get(row, 0.0))[:SHOWN]


def header(found: Findings, loss: dict[int, float]) -> dict[str, Any]:
    """Everything that the view of findings shows, as JSON values."""
    return {
        "cards": cards(found, loss),
        "errors": found.errors,
        "rows": found.rows,
        "remainder": {
            "column": REMAINDER,
            "errors": len(found.remainder),
            "unexplained": found.unexplained,
            "examples": examples(found.remainder, loss),
        },
        "missing": list(found.missing),
        "sampled": found.sample is not None,
    }
