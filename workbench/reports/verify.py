"""A file that the workbench wrote, regenerated and compared with itself."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from workbench import store
from workbench.core.predictions import Predictions
from workbench.core.records import IntArray, Precision
from workbench.core.stamp import NAME, Stamp, code_version, read_stamp
from workbench.core.texts import parse_json, read_json
from workbench.errors import DataError, first_line
from workbench.runs.run import Run

RELATIVE, ABSOLUTE = 1e-6, 1e-9
PROBABILITY = 1e-4
Regenerate = Callable[[Path, str], None]


def verify(path: Path, open_run: Callable[[], Run], regenerate: Regenerate) -> list[str]:
    """How a file differs from the one regenerated from its origin, a line for each difference; empty if it is the same.

    Parameters
    ----------
    path : Path
        A figure (PNG, SVG, PDF), table (CSV, Parquet), ``metrics.json`` or page of a report, a figure exported from the
        explorer, or a shard of predictions.
    open_run : function
        Returns the run that the file was made from, with model and images where they are needed.
    regenerate : function
        Runs the command of a report's manifest again, given a folder and the one file wanted.

    Numbers may differ in the last digits: tables and metrics by 1e-6 of their value, probabilities by 1e-4. Figures
    are compared by their pixels or drawing, without the stamp.

    Raises
    ------
    DataError
        If the file does not record what it was made from, or can't be regenerated.
    """
    if path.suffix == ".parquet" and (text := _origin(path)) is not None:
        return _predictions(path, parse_json(text, str(path)), open_run())
    stamp = read_stamp(path)
    if stamp is None:
        raise DataError(
            f"{path}: expected a record of its origin in the file or in a manifest beside it, not none: "
            "verify the original in the folder that it was written to"
        )
    run = open_run()
    found = _inputs(stamp, run.predictions)
    if found:
        return found
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        if stamp["made_by"] == "explorer":
            made.write_bytes(_view(run, stamp))
        elif stamp["made_by"] in ("report", "page"):
            regenerate(Path(folder), path.name)
        else:
            raise DataError(
                f"{path} is of {stamp['made_by']}, which measures times, so that it can't be regenerated: "
                "verify another file"
            )
        if not made.is_file():
            raise DataError(
                f"{path.name} is no longer written by this version ({code_version()}): verify it with the version that "
                "wrote it"
            )
        return compare(path, made)


def _origin(path: Path) -> str | None:
    try:
        return store.origin_of(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file ({first_line(error)})") from error


def _inputs(stamp: Stamp, predictions: Predictions) -> list[str]:
    now = {**predictions.provenance.to_json(), "predictions": predictions.digest}
    names = {"checkpoint": "weights", "data": "images", "predictions": "predictions"}
    return [
        f"made from other {words}: {str(stamp.get(name))[:12]}, not {str(now[name])[:12]}"
        for name, words in names.items()
        if stamp.get(name) != now[name]
    ]


def is_predictions(path: Path) -> bool:
    """Whether a file is a shard of predictions."""
    return path.suffix == ".parquet" and path.is_file() and _origin(path) is not None


def command_of(path: Path) -> list[str]:
    """The command that wrote a report's file, as its manifest records it.

    Raises
    ------
    DataError
        If there is no manifest, or it names no command.
    """
    manifest = path.parent / "manifest.json"
    try:
        command = read_json(manifest)["command"]
    except (DataError, KeyError, TypeError) as error:
        raise DataError(f"{manifest} does not name the command of {path.name}: verify it in its own folder") from error
    if not command:
        raise DataError(f"{path.name} was written by `write_report`, not by a command: call it again and compare")
    if not isinstance(command, list) or command[0] != "report":
        raise DataError(f"{manifest} is damaged: expected the command of a report, not {command!r:.80}")
    return [str(word) for word in command]


def _view(run: Run, stamp: Stamp) -> bytes:
    from workbench.explorer import exports
    from workbench.explorer.state import ExplorerState

    chosen = stamp["parameters"]
    state = ExplorerState(run, selection=chosen["selection"])
    return exports.figure_bytes(state, chosen["view"], str(stamp["part"]).rsplit(".", 1)[-1])


def _predictions(path: Path, origin: dict[str, Any], run: Run) -> list[str]:
    """How a shard of predictions differs from what model and images give now."""
    from workbench.models import predict

    if run.classifier is None or run.images is None:
        raise DataError("predictions are verified with their model and images: give --checkpoint and --data")
    if origin["checkpoint"] != run.classifier.provenance.checkpoint:
        return ["made with other weights"]
    if origin["data"] != run.images.fingerprint:
        return ["made on other images"]
    held = pl.read_parquet(path, columns=["index", "label", "predicted", "probability"])
    rows = held["index"].to_numpy()
    precision: Precision = "bfloat16" if origin["precision"] == "bfloat16" else "float32"
    wanted = _rows_of(path, run)
    if not np.array_equal(rows, wanted):
        return [f"its {len(rows):,} rows are not the {len(wanted):,} expected"]
    now = predict.predict(run.classifier, run.images, rows=rows, precision=precision)
    found = [
        f"{name} differs in {int((held[name].to_numpy() != getattr(now, name)).sum()):,} rows"
        for name in ("label", "predicted")
        if not np.array_equal(held[name].to_numpy(), getattr(now, name))
    ]
    largest = float(np.abs(np.stack(held["probability"].to_list()) - now.probability).max())
    return found + ([f"a probability differs by {largest:.2g}"] if largest > PROBABILITY else [])


def _rows_of(shard: Path, run: Run) -> IntArray:
    """The row ids that belong in a shard: its share of the images, without those that could not be read."""
    from workbench.models import sharding

    images = run.images
    if images is None:
        raise DataError("predictions are verified with their images: give --data")
    share = sharding.share(len(images), *store.shard_place(shard))
    rows = images.rows[share.start : share.stop]
    return rows[~np.isin(rows, list(store.skipped(shard.parent)))]


def compare(path: Path, made: Path) -> list[str]:
    """How two files of one kind differ, a line for each difference."""
    kinds: dict[str, Callable[[Path, Path], list[str]]] = {
        ".png": _pictures,
        ".svg": _texts,
        ".html": _texts,
        ".pdf": _texts,
        ".csv": lambda a, b: _tables(*(pl.read_csv(file, infer_schema_length=None) for file in (a, b))),
        ".parquet": lambda a, b: _tables(pl.read_parquet(a), pl.read_parquet(b)),
        ".json": lambda a, b: _values(read_json(a), read_json(b), ""),
    }
    if path.suffix not in kinds:
        raise DataError(f"{path}: expected a file of {', '.join(kinds)}, not {path.suffix!r}")
    try:
        return kinds[path.suffix](path, made)
    except (pl.exceptions.PolarsError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is damaged ({first_line(error)})") from error


def _pictures(path: Path, made: Path) -> list[str]:
    with Image.open(path, formats=["PNG"]) as one, Image.open(made, formats=["PNG"]) as two:
        a, b = (np.asarray(image.convert("RGBA")) for image in (one, two))
    if a.shape != b.shape:
        return [f"the picture has {a.shape[1]}×{a.shape[0]} pixels, regenerated {b.shape[1]}×{b.shape[0]}"]
    differing = int((a != b).any(2).sum())
    return [f"{differing:,} of {a.shape[0] * a.shape[1]:,} pixels differ"] if differing else []


def _texts(path: Path, made: Path) -> list[str]:
    stamps = {
        ".svg": rb"<dc:description>.*?</dc:description>",
        ".pdf": rb"/Subject \(.*?\)\n?",
        ".html": b'<meta name="' + NAME.encode() + b'".*?>',
    }
    contents = []
    for file in (path, made):
        content = re.sub(stamps[path.suffix], b"", file.read_bytes(), count=1, flags=re.DOTALL)
        if path.suffix == ".pdf":  # offsets move with the length of the stamp, and nothing may follow them
            content, _, rest = content.partition(b"\nxref")
            if rest.count(b"%%EOF") != 1 or not rest.rstrip().endswith(b"%%EOF"):
                return ["something was added after the end of the file"]
        contents.append(content)
    if contents[0] == contents[1]:
        return []
    at = next((k for k, (a, b) in enumerate(zip(*contents, strict=False)) if a != b), min(map(len, contents)))
    return [f"the text differs from byte {at:,} on"]


def _tables(held: pl.DataFrame, made: pl.DataFrame) -> list[str]:
    if held.columns != made.columns or len(held) != len(made):
        return [f"{len(held):,} rows of {', '.join(held.columns[:6])} ..., regenerated {len(made):,}"]
    return [line for name in held.columns for line in _values(held[name].to_list(), made[name].to_list(), name)]


def _values(held: Any, made: Any, where: str) -> list[str]:
    """How JSON-like values differ; numbers may differ by rounding."""
    if isinstance(held, dict) and isinstance(made, dict):
        if held.keys() != made.keys():
            return [f"{where or 'it'} has other keys"]
        return [line for name in held for line in _values(held[name], made[name], f"{where}.{name}".lstrip("."))]
    if isinstance(held, list) and isinstance(made, list):
        if len(held) != len(made):
            return [f"{where} has {len(held)} values, regenerated {len(made)}"]
        differing = [k for k, pair in enumerate(zip(held, made, strict=True)) if _values(*pair, where)]
        return [f"{where} differs in {len(differing):,} of {len(held):,}"] if differing else []
    if isinstance(held, float | int) and isinstance(made, float | int):
        same = math.isclose(held, made, rel_tol=RELATIVE, abs_tol=ABSOLUTE) or (math.isnan(held) and math.isnan(made))
    else:
        same = held == made
    return [] if same else [f"{where} is {held}, regenerated {made}"]
