"""What a figure, table or page was computed from, written into the file itself and read back."""

from __future__ import annotations

import functools
import html
import json
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workbench.core.predictions import Predictions
from workbench.core.texts import parse_json, read_json
from workbench.errors import DataError

NAME = "workbench-provenance"
Stamp = Mapping[str, Any]


def stamp_of(predictions: Predictions, made_by: str, part: str, parameters: Mapping[str, Any] | None = None) -> Stamp:
    """The stamp of one file.

    ``made_by`` is the command or object that made the file, ``part`` names the result that the file holds, and
    ``parameters`` is whatever else determined it. The stamp also holds the hashes of weights, images and predictions
    and the code's version, but no path, so that a stamped file may be shared.
    """
    of = predictions.provenance
    return {
        "made_by": made_by,
        "part": part,
        "parameters": dict(parameters or {}),
        "checkpoint": of.checkpoint,
        "data": of.data,
        "split": of.split,
        "predictions": predictions.digest,
        "code": code_version(),
    }


@functools.cache
def code_version() -> str:
    """The package's version, and in a checkout the commit, with ``+changes`` if files differ from it."""
    return " ".join(filter(None, (version("classifier-workbench"), _git_revision())))


def _git_revision() -> str | None:
    """Commit of the code, with ``+changes`` if files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--dirty=+changes"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def text_of(stamp: Stamp) -> str:
    """The stamp as one line of ASCII without parentheses or angle brackets, which any kind of file can hold."""
    text = json.dumps(stamp, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return re.sub(r"[()<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)


def read_stamp(path: Path) -> Stamp | None:
    """The stamp of a PNG, SVG, PDF, HTML or Parquet file, or what a manifest beside it records; None if neither exists.

    Raises
    ------
    DataError
        If the file is missing, or a stamp is damaged.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: expected a file that the workbench wrote")
    found = _inside(path)
    try:
        if found is not None:
            stamp = dict(parse_json(found, f"the stamp in {path}", "export the file again"))
            if missing := {"made_by", "part", "parameters", "predictions"} - set(stamp):
                raise ValueError(f"{sorted(missing)[0]} is missing")
            return stamp
        for manifest in sorted(path.parent.glob("*.json")):
            values = read_json(manifest) if manifest.stat().st_size < 10**8 else None
            if isinstance(values, dict) and path.name in values.get("files", {}) and "stamp" in values:
                return {**values["stamp"], "part": path.name}
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: its provenance stamp is damaged ({error}): export the file again") from error
    return None


def _inside(path: Path) -> str | None:
    kind = path.suffix.lower()
    if kind == ".png":
        from PIL import Image

        try:
            with Image.open(path, formats=["PNG"]) as image:
                image.load()
                found = image.info.get(NAME)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} is not a readable PNG file ({error}): export it again") from error
        return None if found is None else str(found)
    if kind == ".parquet":
        import polars as pl

        try:
            return pl.read_parquet_metadata(path).get(NAME)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{path} is not a readable Parquet file ({error}): export it again") from error
    patterns = {
        ".svg": rb"<dc:description>(\{.*?\})</dc:description>",
        ".pdf": rb"/Subject \((\{.*?\})\)",
        ".html": rb'<meta name="workbench-provenance" content="(.*?)">',
    }
    if kind not in patterns:
        return None
    match = re.search(patterns[kind], path.read_bytes(), re.DOTALL)
    if match is None:
        return None
    found_text = match[1].decode("latin-1")
    return found_text.replace("\\\\", "\\") if kind == ".pdf" else html.unescape(found_text)
