"""What is selected in the explorer: steps that filter the rows, in a form that both hosts understand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.records import FloatArray, IntArray, ProbabilityArray, Query
from workbench.errors import DataError
from workbench.explorer.words import START, YES

CLASS_NAMES: Mapping[str, str] = {"label": "true_class", "predicted": "predicted_class"}  # the columns of their names

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "cells": ("cells",),
    "range": ("column", "low", "high"),
    "any": ("column", "values"),
    "inside": ("map", "polygon"),
    "tags": ("words",),
    "rows": ("rows", "words"),
}


def check_selection(selection: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """The selection, with omitted fields filled in from `START`.

    ``steps`` are filters, mappings with a ``kind``; a row must pass all of them:

    - ``cells``: ``cells``, pairs of true and predicted class numbers, -1 for any class;
    - ``range``: ``column`` is at least ``low`` and below ``high``, None for no bound;
    - ``any``: ``column`` has one of the ``values`` (names);
    - ``inside``: the row's point on the ``map`` lies within ``polygon``, a flat list of x and y;
    - ``tags``: the row has one of the tags in ``words``;
    - ``rows``: the row is one of ``rows``, which ``words`` describe.

    Raises
    ------
    DataError
        If a field or kind of step is unknown, a field is missing, a class does not exist, or rows are no row ids.
    """
    if unknown := sorted(set(selection) - set(START)):
        raise DataError(f"selection: expected some of {', '.join(START)}, not {unknown[0]!r}")
    whole = copy.deepcopy({**START, **selection})
    for step in whole["steps"]:
        kind = step.get("kind")
        if kind not in _FIELDS:
            raise DataError(f"step: expected a kind of {', '.join(_FIELDS)}, not {kind!r}")
        if set(step) != {"kind", *_FIELDS[kind]}:
            raise DataError(f"step {kind}: expected {', '.join(_FIELDS[kind])}, not {', '.join(sorted(step))}")
        bounds = [step[name] for name in ("low", "high")] if kind == "range" else []
        if strange := [one for one in bounds if one is not None and not _is_number(one)]:
            raise DataError(f"range: expected numbers, or None for no bound, not {strange[0]!r}")
        if kind == "rows" and not all(type(row) is int for row in step["rows"]):
            raise DataError("rows: expected a list of row ids")
        if kind == "cells" and any(not -1 <= c < classes for cell in step["cells"] for c in cell):
            raise DataError(f"cells: expected classes from 0 to {classes - 1}, or -1 for any, not {step['cells']}")
    return whole


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def query(
    selection: Mapping[str, Any],
    classes: Sequence[str],
    rows_inside: Callable[[str, Sequence[float]], IntArray],
    rows_tagged: Callable[[Sequence[str]], IntArray],
    flags: Collection[str] = (),
) -> Query:
    """The selection as a `Query`; the functions return the ids of rows within a polygon on a map, or with some tags.

    ``flags`` names the columns of true and false, whose values are called yes and no; missing ones are no.
    """
    parts = []
    for step in selection["steps"]:
        kind = step["kind"]
        if kind == "cells":
            parts.append(_either(_cell(true, predicted, classes) for true, predicted in step["cells"]))
        elif kind == "range":
            bounds = ((">=", step["low"]), ("<", step["high"]))
            parts += [f"{_name(step['column'])} {sign} {value!r}" for sign, value in bounds if value is not None]
        elif kind == "any":
            parts.append(_any(step["column"], step["values"], flags))
        else:
            parts.append(_among(step["rows"] if kind == "rows" else _found(step, rows_inside, rows_tagged).tolist()))
    where = " AND ".join(part for part in parts if part)
    return Query(
        wrong_only=selection["wrong_only"], where=where, order=selection["order"], descending=selection["descending"]
    )


def inside(points: ProbabilityArray, polygon: Sequence[float]) -> NDArray[np.bool_]:
    """Whether each point ``(n, 2)`` lies within the polygon, by the even-odd rule; bool ``(n,)``.

    A ray to the right from a point inside crosses the polygon's edges an odd number of times (Shimrat 1962, doi
    10.1145/368637.368653).
    """
    corners = np.asarray(polygon, np.float64).reshape(-1, 2)
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    odd = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            crossing: FloatArray = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
            odd ^= ((y0 > y) != (y1 > y)) & (x < crossing)
    return odd


def _any(column: str, values: Sequence[Any], flags: Collection[str]) -> str:
    """A column with one of some values, as the views call them: classes by name, flags as yes and no."""
    if column in flags:
        return _either(f"COALESCE({_name(column)}, FALSE) = {'TRUE' if value == YES else 'FALSE'}" for value in values)
    named = CLASS_NAMES.get(column, column)
    return f"{_name(named)} IN ({', '.join(map(_text, values))})"


def _found(
    step: Mapping[str, Any],
    rows_inside: Callable[[str, Sequence[float]], IntArray],
    rows_tagged: Callable[[Sequence[str]], IntArray],
) -> IntArray:
    return rows_inside(step["map"], step["polygon"]) if step["kind"] == "inside" else rows_tagged(step["words"])


def _among(rows: Sequence[int]) -> str:
    return f"index IN ({', '.join(map(str, rows))})" if len(rows) else "index < 0"


def _cell(true: int, predicted: int, classes: Sequence[str]) -> str:
    sides = (("true_class", true), ("predicted_class", predicted))
    named = [f"{column} = {_text(classes[number])}" for column, number in sides if number >= 0]
    return " AND ".join(named) or "index = index"


def _either(parts: Any) -> str:
    alternatives = list(parts)
    if not alternatives:
        return "index < 0"
    return alternatives[0] if len(alternatives) == 1 else "(" + " OR ".join(f"({p})" for p in alternatives) + ")"


def _text(value: str) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
