"""Predictions in shared or object stores: uploaded from a local folder, read through a local copy."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.errors import DataError, OutputError
from workbench.store.shards import shard_count

_COPIES: list[tempfile.TemporaryDirectory[str]] = []  # deleted when the process ends
PATTERNS = ("predictions*.parquet", "skipped*.json", "provenance.json")


def is_url(place: str | Path) -> bool:
    """Whether a place is a URL such as ``s3://bucket/run`` rather than a path."""
    return "://" in str(place)


@contextmanager
def stage(place: str | Path, mine: str | None = None) -> Iterator[Path]:
    """Give a folder to write predictions into: the path itself, or for a URL a local folder, uploaded at the end.

    A URL gets the same local folder every time, so that a killed run resumes. Each file is uploaded as a whole under
    its own name, so that an object store holds it complete or not at all. A file named ``mine`` that already exists is
    not replaced.

    Raises
    ------
    OutputError
        If ``mine`` already exists, or the store can't be reached or written; the predictions then stay in the local
        folder.
    """
    if not is_url(place):
        yield Path(place)
        return
    folder = _folder_of(str(place))
    files, base = _store(str(place))
    try:
        there = [str(name).rsplit("/", 1)[-1] for name in files.glob(f"{base}/{PATTERNS[0]}")]
    except OSError as error:
        raise OutputError(f"cannot read {place} ({error}): check the address and your permissions") from error
    others = [name for name in there if mine is not None and shard_count(Path(name)) != shard_count(Path(mine))]
    if mine is not None and (others or (mine in there and not (folder / mine).is_file())):
        raise OutputError(f"{place}/{(others or [mine])[0]} exists already: choose another --out, or use --force")
    yield folder
    written = sorted(p for pattern in PATTERNS for p in folder.glob(pattern))
    try:
        files.makedirs(base, exist_ok=True)
        if mine is None:  # a run with another number of shards would be read together with this one
            for name in there:
                if written and shard_count(Path(name)) != shard_count(written[0]):
                    files.rm(f"{base}/{name}")
        for path in written:
            files.put_file(str(path), f"{base}/{path.name}")
        for path in written:  # only now: if an upload fails, the next run needs them
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to {place} ({error}): run the command again to upload {folder}") from error


def fetch(place: str | Path) -> Path:
    """A folder to read predictions from: the path itself, or for a URL a copy that lasts as long as this process.

    Raises
    ------
    DataError
        If the store can't be reached or holds no predictions.
    """
    if not is_url(place):
        return Path(place)
    files, base = _store(str(place))
    _COPIES.append(tempfile.TemporaryDirectory(prefix="workbench-"))
    folder = Path(_COPIES[-1].name)
    try:
        found = [name for pattern in PATTERNS for name in files.glob(f"{base}/{pattern}")]
        for name in found:
            files.get_file(name, str(folder / str(name).rsplit("/", 1)[-1]))
    except OSError as error:
        raise DataError(f"cannot read {place} ({error}): check the address and your permissions") from error
    if not found:
        raise DataError(f"{place} holds no predictions: expected what `python -m workbench predict --out` wrote there")
    return folder


def _store(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        files, base = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError, OSError) as error:
        raise DataError(f"{url}: {error}: install the package for this kind of store, such as s3fs") from error
    return files, str(base).rstrip("/")


def _folder_of(url: str) -> Path:
    """The local folder where predictions for a URL are collected, one for each rank and user."""
    name = hashlib.sha256(f"{url} {os.environ.get('RANK', '0')}".encode()).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"workbench-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise OutputError(
            f"{private}: expected a folder of yours that nobody else may enter, where predictions for a URL are kept: "
            "remove it, or name another place with TMPDIR"
        )
    return private / name
