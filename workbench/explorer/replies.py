"""Parts of the answers to the views: JSON values and buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.attribution.method import BASELINES
from workbench.attribution.registry import is_slow, method_of
from workbench.core.records import ImageSet, ProbabilityArray
from workbench.errors import DataError
from workbench.explorer.columns import Column
from workbench.explorer.work import Report
from workbench.images import render
from workbench.models.classifier import Classifier

if TYPE_CHECKING:
    from workbench.explorer.explain import Explained

Reply = tuple[dict[str, Any], list[bytes]]
MESSAGE_BYTES = 4 * 2**20
THUMBNAIL = 64
PROBABILITIES = 12


def send_column(report: Report, name: str, column: Column) -> None:
    """Report a column in parts of at most 4 MB."""
    data = np.ascontiguousarray(column.values).tobytes()
    for first in range(0, max(1, len(data)), MESSAGE_BYTES):
        part = data[first : first + MESSAGE_BYTES]
        report({"part": name, "column": column.header(), "bytes": len(data), "first": first}, [part])


def columns_reply(said: dict[str, Any], columns: Mapping[str, Column]) -> Reply:
    """What is said, and columns that came later, with the values of each in a buffer."""
    headers = {name: column.header() for name, column in columns.items()}
    return {**said, "columns": headers}, [np.ascontiguousarray(one.values).tobytes() for one in columns.values()]


def images_here(images: ImageSet | None) -> ImageSet:
    """The images; `DataError` if there are none."""
    if images is None:
        raise DataError("The images are not on this machine. Open the run with data=.")
    return images


def bars_of(classes: tuple[str, ...], probability: ProbabilityArray, votes: Any, label: int) -> list[dict[str, Any]]:
    """The label and the most probable classes, in class order."""
    best = set(np.argsort(-probability, kind="stable")[:PROBABILITIES].tolist()) | {label}
    return [
        {"class": k, "value": float(probability[k]), "votes": None if votes is None else float(votes[k])}
        for k in sorted(best)
    ]


def method_header(name: str, classifier: Classifier | None) -> dict[str, Any]:
    """What the views say of a method."""
    method = method_of(name)
    return {
        "name": name,
        "family": method.family,
        "layers": method.at_layer,
        "slow": is_slow(name, classifier),
        "citation": method.citation,
        "settings": [_setting(name, default) for name, default in method.settings.items()],
    }


def _setting(name: str, default: Any) -> dict[str, Any]:
    """What the views say of a setting: its default, its kind, and what it may be."""
    if name == "baseline":
        return {"name": name, "value": default, "kind": "str", "choices": list(BASELINES)}
    kind = type(default).__name__
    return {"name": name, "value": default, "kind": kind, "least": 0 if not default else 1 if kind == "int" else 0.01}


def maps_reply(found: list[Explained], model: str = "") -> Reply:
    """The description of each map, and the raw values of the maps that exist, float32, one buffer each.

    ``model`` names the compared model, if they are its maps.
    """
    said, buffers = [], []
    for explained in found:
        one: dict[str, Any] = {
            "title": explained.title,
            "method": explained.method,
            "layer": explained.layer,
            "target": explained.target,
            "model": model,
            "refused": explained.refused,
        }
        maps = explained.attribution
        if maps is not None:
            method = method_of(explained.method)
            told = maps.residual is not None and method.complete  # others leave it open
            residual = float(maps.residual[0]) if told and maps.residual is not None else None
            one |= {
                "kind": maps.title,
                "grid": list(maps.values.shape[1:]),
                "unit": "pixels" if maps.layer == "" and method.family != "attention" else "grid",
                "signed": maps.two_sided,
                "residual": residual if residual is None or np.isfinite(residual) else None,
                "remark": render.remark(maps.values, signed=maps.two_sided),
            }
            buffers.append(np.ascontiguousarray(maps.values[0], np.float32).tobytes())
        said.append(one)
    return {"maps": said}, buffers
