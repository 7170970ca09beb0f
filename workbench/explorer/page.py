"""The stand-alone page: the same views in one file that needs no kernel and no network."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from workbench.core.records import VERDICTS, ImageArray, ImageSet, IntArray
from workbench.core.stamp import NAME, stamp_of
from workbench.core.stamp import text_of as stamp_text
from workbench.errors import DataError
from workbench.explorer.columns import columns_of
from workbench.explorer.modules import join_modules, styles, text_of
from workbench.explorer.state import ExplorerState
from workbench.explorer.words import PRINCIPAL
from workbench.images import render

if TYPE_CHECKING:
    from workbench.attribution.cache import MapCache
    from workbench.models.classifier import Classifier

LIMIT_MB = 15.0
KEPT_ERRORS = 300
SHEET, SIDE, COLUMNS = 400, 32, 20
QUALITIES = (92, 85, 75, 60)
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:"
Progress = Callable[[int, int], None]


@dataclass
class _Parts:
    """Arrays and files one after another, and where each begins."""

    index: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, name: str, data: bytes, **what: Any) -> None:
        self.index[name] = {"first": self.size, "bytes": len(data), **what}
        self.data.append(data)
        self.size += len(data)


def kept_with_notebook(state: ExplorerState) -> str:
    """HTML that replaces an explorer whose kernel is gone: the page of at most 300 errors, without maps.

    It stays collapsed while there is an explorer, even one that waits for its kernel, and opens by itself if none
    comes within a few seconds, or if that one finds its kernel gone.
    """
    wrong = state.predictions.scan().filter(~pl.col("correct")).sort("loss", descending=True).head(KEPT_ERRORS)
    rows = wrong.select("index").collect(engine="streaming")
    note = (
        "The kernel that drew this explorer is gone. The notebook keeps a copy: the matrix and the "
        f"{len(rows):,} errors with the highest loss. Run the cell again for all images, maps and tags."
    )
    text, _ = page(state, rows=rows, notes=[note], maps=False, find_findings=False, decide=False)
    return (
        '<details class="wb-fallback"><summary>The copy of the explorer that this notebook keeps</summary>'
        f'<iframe sandbox="allow-scripts allow-downloads" loading="lazy" title="{html.escape(state.run.name)}" '
        f'style="width:100%;height:1100px;border:0" srcdoc="{html.escape(text)}"></iframe></details>'
        "<script>{const kept = [...document.querySelectorAll('.wb-fallback')].at(-1);"
        "setTimeout(() => {const area = kept.closest('.jp-OutputArea, .output_area') ?? document.body;"
        "if (!area.querySelector('.wb')) kept.open = true;}, 4000);}</script>"
    )


def page(
    state: ExplorerState,
    *,
    limit_mb: float = LIMIT_MB,
    rows: pl.DataFrame | None = None,
    notes: Sequence[str] = (),
    maps: bool = True,
    find_findings: bool = True,
    decide: bool = True,
    progress: Progress | None = None,
) -> tuple[str, list[str]]:
    """One HTML file with the views, the table, pictures and Grad-CAM at the last layer, and what it omits.

    ``rows`` limits it to some row ids (a column ``index``); ``notes`` are shown above the views;
    with ``decide`` images can be tagged there, and the tags exported.

    The file has at most ``limit_mb`` million bytes: the JPEG quality of the pictures is lowered until they fit; if they
    do not fit at the lowest, those of correct rows are omitted first. Maps are stored as float16.
    ``progress(done, total)`` is called while maps are computed, with numbers of rows.

    Raises
    ------
    DataError
        If not even the table fits the limit.
    """
    left_out: list[str] = []
    parts = _Parts()
    header = state.header()
    header["notes"] += notes
    header["decide"] = decide
    found: dict[str, Any] | None = None
    state.add_cohorts()
    if find_findings:
        state.add_findings()
        found = state.findings_header()
    columns = columns_of(state.predictions, state.shown if rows is None else rows)
    for name, column in columns.items():
        parts.add(f"column {name}", np.ascontiguousarray(column.values).tobytes(), column=column.header())
    ids = columns["index"].values.astype(np.int64)
    places = np.searchsorted(np.sort(state.run.predictions.index), ids)
    order = np.argsort(state.run.predictions.index, kind="stable")[places]
    _probabilities(parts, state, order)
    if state.run.predictions.embedding is not None:
        try:
            points = state.place_map(PRINCIPAL)[places]
            parts.add(f"map {PRINCIPAL}", np.ascontiguousarray(points, np.float32).tobytes())
        except DataError as error:
            left_out.append(f"map: {error}")
    targets: list[str] = []
    limit = round(limit_mb * 1e6)

    def room() -> int:
        return limit - len(_document(state, header, parts, found, targets).encode())

    if room() < 0:
        raise DataError(
            f"the page needs {limit_mb - room() / 1e6:.1f} MB without pictures and maps: raise the limit (--limit-mb)"
        )
    if maps:
        targets = _maps(parts, state, ids, room(), left_out, progress)
    if state.run.images is not None:
        model = state.run.classifier
        images = state.run.images if model is None else model.seen(state.run.images)  # as the maps are drawn over them
        _pictures(parts, images, ids, columns["correct"].values, room(), left_out)
    else:
        left_out.append("pictures: the images are not on this machine")
    return _document(state, header, parts, found, targets), left_out


def _probabilities(parts: _Parts, state: ExplorerState, order: IntArray) -> None:
    """All probabilities as multiples of 1 / 65,535: the page shows them to a tenth of a per cent."""
    count = len(state.predictions.classes)
    if len(order) * count <= 2_000_000:
        rounded = np.rint(state.run.predictions.probability[order] * 65535).astype(np.uint16)
        parts.add("probability", rounded.tobytes())


def _maps(
    parts: _Parts, state: ExplorerState, ids: IntArray, room: int, left_out: list[str], progress: Progress | None
) -> list[str]:
    """Grad-CAM at the last layer: of every class if one pass gives them all, else of predicted and true class.

    Maps that do not fit into ``room`` bytes are omitted, those of other classes first.
    """
    run = state.run
    layer = None if run.classifier is None else run.classifier.last_layer
    if run.images is None or run.classifier is None or layer is None:
        left_out.append("maps: they need the images and a model with a layer of spatial features")
        return []
    from workbench.attribution.cache import MapCache
    from workbench.attribution.exact import gives_all_classes
    from workbench.attribution.precompute import ALL, Request, concatenate, maps_of

    one = 4 * -(-2 * len(ids) * layer.grid[0] * layer.grid[1] // 3)  # float16 as base64
    every = gives_all_classes(run.classifier, Request().method) and one * len(run.predictions.classes) <= room
    if 2 * one > room:
        left_out.append("maps: they do not fit into the size limit")
        return []
    if not every:
        left_out.append("maps of classes other than the predicted and the true one")
    cache = None if run.folder is None else MapCache(run.folder / "maps")
    wanted = [ALL] if every else ["predicted", "true"]
    found = []
    for name in wanted:
        request = Request(targets=name)
        found.append(
            concatenate(
                list(maps_of(run.classifier, run.images, run.predictions, ids, request, cache, progress=progress))
            )
        )
    grid = found[0].values.shape[1:]
    values: NDArray[Any] = (
        found[0].values.reshape(len(ids), -1, *grid) if every else np.stack([one.values for one in found], axis=1)
    )
    parts.add("grids", np.ascontiguousarray(values, np.float16).tobytes(), grid=list(grid), layer=found[0].layer)
    if cache is not None and (kept := _verdicts(cache, run.classifier, ids, found[0].title, found[0].layer)):
        said = json.dumps(kept, ensure_ascii=False).encode()
        if 4 * -(-len(said) // 3) < room - one * values.shape[1]:
            parts.add("verdicts", said)
        else:
            left_out.append("the evidence for the maps: it does not fit into the size limit")
    return list(run.predictions.classes) if every else wanted


def _verdicts(
    cache: MapCache, classifier: Classifier, ids: IntArray, title: str, layer: str
) -> dict[str, tuple[int, str]]:
    """What evidence has found of the page's maps, by row and class, and class compared with: verdict and reasons."""
    from workbench.evidence.stored import stored_verdicts

    rows = set(ids.tolist())
    return {
        f"{row} {of} {-1 if against is None else against}": (VERDICTS.index(verdict), reasons)
        for (row, of, against, method, at), (verdict, reasons) in stored_verdicts(cache, classifier).items()
        if row in rows and method == title and at == layer
    }


def _pictures(
    parts: _Parts, images: ImageSet, ids: IntArray, correct: NDArray[Any], room: int, left_out: list[str]
) -> None:
    """Sheets of pictures as JPEG without chroma subsampling, whose blocks do not cross a picture's edge."""
    wrong_first = ids[np.concatenate([np.flatnonzero(correct == 0), np.flatnonzero(correct == 1)])]
    tiles = {int(row): tile for row in wrong_first if (tile := _tile(images, int(row))) is not None}
    if len(tiles) < len(ids):
        left_out.append(f"pictures: {len(ids) - len(tiles):,} of {len(ids):,} images can't be read")
    for quality in QUALITIES:
        sheets = _sheets(tiles, quality)
        total = sum(4 * -(-len(sheet) // 3) + 200 for sheet, _ in sheets)
        if total <= room:
            break
    kept = 0
    for number, (sheet, rows) in enumerate(sheets):
        cost = 4 * -(-len(sheet) // 3) + 200
        if cost > room:
            break
        room -= cost
        kept += len(rows)
        parts.add(f"sheet {number}", sheet, rows=rows, side=[SIDE, SIDE], columns=COLUMNS)
    if kept < len(tiles):
        left_out.append(f"pictures: {kept:,} of {len(tiles):,} fit into the size limit, those of errors first")


def _tile(images: ImageSet, row: int) -> ImageArray | None:
    try:
        return render.thumbnail(images.image(row), SIDE, square=True)
    except DataError:  # the caller counts it
        return None


def _sheets(tiles: Mapping[int, ImageArray], quality: int) -> list[tuple[bytes, list[int]]]:
    found = []
    rows = list(tiles)
    for first in range(0, len(rows), SHEET):
        part = rows[first : first + SHEET]
        stream = io.BytesIO()
        sheet = render.sprite([tiles[row] for row in part], COLUMNS)
        Image.fromarray(sheet).save(stream, "JPEG", quality=quality, subsampling=0)
        found.append((stream.getvalue(), part))
    return found


def _document(
    state: ExplorerState,
    header: dict[str, Any],
    parts: _Parts,
    found: dict[str, Any] | None,
    targets: Sequence[str],
) -> str:
    values = {
        "header": header,
        "parts": parts.index,
        "findings": found,
        "cohorts": state.cohorts_header(),
        "targets": list(targets),
        "decisions": {str(row): decision.to_json() for row, decision in state.decisions.rows.items()},
        "images": state.run.images is not None,
    }
    # a "<" in the data must not end the script or begin a tag
    said = json.dumps(values, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    data = base64.b64encode(b"".join(parts.data)).decode()
    module = join_modules("page.js").replace("</", "<\\/")
    title = html.escape(f"{state.run.name}: error analysis")
    stamp = stamp_text(stamp_of(state.run.predictions, "page", "explorer"))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="{NAME}" content="{html.escape(stamp)}">\n'
        f"<style>{text_of('page.css')}\n{styles()}</style></head>\n"
        f'<body><main id="root">Loading …</main>\n'
        f'<script type="application/json" id="bundle">{said}</script>\n'
        f'<script type="application/octet-stream" id="data">{data}</script>\n'
        f'<script type="module">{module}</script></body></html>\n'
    )
