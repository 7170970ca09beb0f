"""Atomic file writes: a file is either complete or absent."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from workbench.errors import OutputError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to the disk, then rename it into place.

    Raises
    ------
    OutputError
        If the disk is full or the folder can't be written; an older file at ``path`` stays unchanged.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode  # as the umask has it; some libraries then write a file for the owner alone
        write(temporary)
        temporary.chmod(mode)
        _flush(temporary)
        temporary.replace(path)
        with contextlib.suppress(OSError):  # a file system that can't flush a folder has renamed the file nevertheless
            _flush(path.parent)
    except BaseException as error:
        with contextlib.suppress(NotADirectoryError):  # then there is no temporary file
            temporary.unlink(missing_ok=True)
        # libraries report a full disk in their own exceptions, with the operating system's words inside
        if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error):
            raise OutputError(f"disk full while writing {path}: free some space and run again") from error
        if isinstance(error, OSError):
            raise OutputError(
                f"cannot write {path} ({error.strerror or error}): choose another output folder"
            ) from error
        raise


def _flush(path: Path) -> None:
    """Make the operating system write a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock(path: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock among processes; ``path`` is the lock file, which is created if it does not exist.

    The lock is the operating system's, so that a killed process leaves none behind.

    Raises
    ------
    OutputError
        If another process holds the lock for longer than ``wait_s`` seconds, or the folder can't be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=wait_s)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise OutputError(f"another process is at work in {path.parent}: wait until it is done") from error
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror or error}): choose another folder") from error
    try:
        yield
    finally:
        lock.release()


def refuse_to_overwrite(paths: list[Path], force: bool) -> None:
    """Raise `OutputError` if one of the paths exists and ``force`` is off."""
    if not force and (taken := [path for path in paths if path.exists()]):
        raise OutputError(f"{taken[0]} exists already: choose another --out, or replace it with --force")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON atomically; `OutputError` as in `write_atomically`."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
