"""Maps of many rows, part by part, each stored in the cache as it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench.attribution import exact
from workbench.attribution.attribute import attribute
from workbench.attribution.cache import Entry, MapCache
from workbench.attribution.method import REFERENCES, Method
from workbench.attribution.registry import method_of
from workbench.attribution.targets import Targets, targets_of
from workbench.core.predictions import Predictions
from workbench.core.records import Attribution, ImageSet, IntArray, Precision
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier

PART = 500
ALL = "all"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Request:
    """Which maps: a method with its settings at a layer (default: the last), what is explained, at which precision.

    ``targets`` is ``"predicted"``, ``"true"``, ``"contrast"``, a class's name, or ``"all"`` for every class in turn.
    """

    method: str = "Grad-CAM"
    targets: str = "predicted"
    layer: str = ""
    precision: Precision = "float32"
    settings: tuple[tuple[str, Any], ...] = ()


def maps_of(
    classifier: Classifier,
    images: ImageSet,
    predictions: Predictions,
    rows: IntArray,
    request: Request,
    cache: MapCache | None = None,
    *,
    rank: int = 0,
    world: int = 1,
    progress: Progress | None = None,
) -> Iterator[Attribution]:
    """The maps of ``rows``, 500 rows at a time, from the cache if present, else computed and stored.

    Of ``world`` processes each takes every ``world``-th part; a killed run resumes where it stopped, as parts that are
    stored are not computed again. With ``"all"`` a part has K maps for each row, row by row in the order of classes.
    ``progress(done, total)`` is called after each part, in rows.

    Raises
    ------
    AttributionError
        As `attribute`; or if the method does not apply to the model.
    DataError, OutputError
        If a cached file is damaged, or the cache can't be written.
    """
    method = method_of(request.method)
    request = replace(request, method=method.name)
    options = method.with_settings(dict(request.settings))
    layer = method.one_layer(classifier, request.layer)

    def entry_now() -> Entry | None:
        if cache is None:
            return None
        known = _identifying(classifier, method, options)
        plain = (method.variant_of or method).name
        return cache.entry(classifier, plain, layer, known, request.precision)

    seen = classifier.seen(images)
    mine = [rows[first : first + PART] for first in range(0, len(rows), PART)][rank::world]
    done, total = 0, sum(len(part) for part in mine)
    for part in mine:
        pixels = seen.stack(part)
        targets = None if request.targets == ALL else targets_of(predictions, part, request.targets)
        found = path = None
        entry = entry_now()
        if entry is not None:
            path = entry.part(part, pixels, targets or Targets(np.full(len(part), -1)))
            found = entry.load(path, method, method.title(options), layer)
        if found is None:
            found = _computed(classifier, pixels, part, targets, request, layer, options)
            if entry is not None and path is not None and entry == entry_now():  # else the weights changed meanwhile
                entry.store(path, found)
        done += len(part)
        if progress is not None:
            progress(done, total)
        yield found


def _identifying(classifier: Classifier, method: Method, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, and for a method that needs reference images what identifies these: all that a map depends on."""
    if REFERENCES not in method.needs or classifier.references is None:
        return settings
    return {**settings, "references": hashlib.sha256(classifier.references.tobytes()).hexdigest()}


def _computed(
    classifier: Classifier,
    pixels: Any,
    rows: IntArray,
    targets: Targets | None,
    request: Request,
    layer: str,
    options: dict[str, Any],
) -> Attribution:
    layers = [layer] if layer else []

    def of(chosen: Targets) -> Attribution:
        maps = attribute(
            classifier,
            pixels,
            rows,
            chosen,
            request.method,
            layers=layers,
            precision=request.precision,
            **options,
        )
        return maps[layer]

    if targets is not None:
        return of(targets)
    count = len(classifier.classes)
    if exact.gives_all_classes(classifier, request.method, layer):
        values = exact.class_maps(classifier, pixels, precision=request.precision).values
        return _of_all(values, rows, Attribution(values[:, 0], rows, rows, request.method, layer))
    each = [of(Targets(np.full(len(rows), k))) for k in range(count)]
    return _of_all(np.stack([one.values for one in each], axis=1), rows, each[0], each)


def _of_all(values: Any, rows: IntArray, like: Attribution, each: list[Attribution] | None = None) -> Attribution:
    """Maps ``(n, K, h, w)`` of all classes as one attribution of ``n * K`` maps."""
    count = values.shape[1]
    residual = None
    if each and each[0].residual is not None:
        residual = np.stack([one.residual for one in each if one.residual is not None], axis=1).ravel()
    return Attribution(
        values.reshape(-1, *values.shape[2:]),
        np.repeat(rows, count),
        np.tile(np.arange(count), len(rows)),
        like.method,
        like.layer,
        residual,
        None,
        like.signed,
        like.title,
    )


def concatenate(parts: list[Attribution]) -> Attribution:
    """Several parts of one request as one attribution.

    Raises
    ------
    AttributionError
        If there is no part.
    """
    if not parts:
        raise AttributionError("no image to explain: expected at least one")
    first = parts[0]
    residuals = [p.residual for p in parts if p.residual is not None]
    against = [p.against for p in parts if p.against is not None]
    return Attribution(
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.rows for p in parts]),
        np.concatenate([p.targets for p in parts]),
        first.method,
        first.layer,
        np.concatenate(residuals) if residuals else None,
        np.concatenate(against) if against else None,
        first.signed,
        first.title,
    )
