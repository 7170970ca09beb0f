"""Atomic file writes: a file is either complete or absent."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from workbench.errors import OutputError

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to the disk, then rename it into place.

    What a process that was killed left half-written of the same file is removed.

    Raises
    ------
    OutputError
        If the disk is full or the folder can't be written; an older file at ``path`` stays unchanged.
    """
    temporary = path.with_name(f".{_HOST}.{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        temporary.touch()
        mode = temporary.stat().st_mode  # as the umask has it; some libraries then write a file for the owner alone
        write(temporary)
        temporary.chmod(mode)
        _flush(temporary)
        temporary.replace(path)
        with contextlib.suppress(OSError):  # a file system that can't flush a folder has renamed the file nevertheless
            _flush(path.parent)
    except BaseException as error:
        full = _is_full(error, path.parent)
        with contextlib.suppress(OSError):  # where the folder is gone, or is none, there is no temporary file
            temporary.unlink(missing_ok=True)
        if full:
            raise OutputError(f"disk full while writing {path}: free some space and run again") from error
        if isinstance(error, OSError):
            raise OutputError(
                f"cannot write {path} ({error.strerror or error}): choose another output folder"
            ) from error
        raise


_HOST = re.sub(r"\W", "-", platform.node())[:40]
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_POLARS = "transport error"  # all that polars passes on of a write that failed
_LEAST = 2**16  # bytes free below which a library's failed write is the disk's


def _is_full(error: BaseException, folder: Path) -> bool:
    """Whether a write failed for lack of room, also where a library reports it in its own exception."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    if any(words in str(error) for words in (*map(os.strerror, _FULL), _POLARS)):
        return True
    try:
        return isinstance(error, Exception) and shutil.disk_usage(folder).free < _LEAST
    except OSError:
        return False


def _sweep(path: Path) -> None:
    """Remove the temporary files of ``path`` whose process, on this machine, is no more."""
    ours = re.compile(re.escape(f".{_HOST}.") + r"(\d+)" + re.escape(f".{path.name}"))
    for found in path.parent.iterdir():
        match = ours.fullmatch(found.name)
        if match and not _is_alive(int(match[1])):
            found.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


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
    except (OSError, NotImplementedError) as error:
        if isinstance(error, NotImplementedError) or error.errno in NO_LOCKS:
            raise OutputError(
                f"the file system of {path.parent} has no locks, so that two runs could write into it at once: write "
                "to a local folder, and copy it"
            ) from error
        raise OutputError(f"cannot write {path} ({error.strerror or error}): choose another folder") from error
    try:
        yield
    finally:
        lock.release()


def is_utf8(path: Path) -> bool:
    """Whether a path's bytes are UTF-8, as Parquet's readers and writers need it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


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


def stamp_of(path: Path) -> tuple[int, int, int] | None:
    """What distinguishes a file from one written in its place; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
