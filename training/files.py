"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from training.errors import TrainingError

LOCK = ".lock"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to the disk, then rename it into place.

    Raises
    ------
    TrainingError
        If the disk is full or the folder can't be written; an older file at ``path`` stays intact.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
        with contextlib.suppress(OSError):  # where the folder is gone, or is none, there is no temporary file
            temporary.unlink(missing_ok=True)
        # libraries report a full disk in their own exceptions, with the operating system's words inside
        if getattr(error, "errno", None) in _FULL or any(os.strerror(number) in str(error) for number in _FULL):
            raise TrainingError(f"disk full while writing {path}: free some space, then use --resume") from error
        if isinstance(error, OSError):
            raise TrainingError(f"cannot write {path} ({error.strerror or error}): choose another --out") from error
        raise


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a run's folder, so that no second run writes into it; what a killed run left half-written is removed.

    The lock is the operating system's, so that a killed process leaves none behind.

    Raises
    ------
    TrainingError
        If another process holds it, or the folder can't be written.
    """
    from filelock import FileLock, Timeout

    held = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except Timeout as error:
        raise TrainingError(f"another run is at work in {folder}: wait for it, or name another --out") from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, NotImplementedError) or error.errno in _NO_LOCKS:
            raise TrainingError(
                f"the file system of {folder} has no locks, so that two runs could write into it at once: train into a "
                "local folder, and copy it"
            ) from error
        raise TrainingError(f"cannot write {folder} ({error.strerror or error}): choose another --out") from error
    try:
        for left in folder.glob(".*.tmp"):
            left.unlink(missing_ok=True)
        yield
    finally:
        held.release()
        if [path.name for path in folder.iterdir()] == [LOCK]:  # nothing was written: the folder is as it was
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink()
                folder.rmdir()


def _flush(path: Path) -> None:
    """Make the operating system write a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
