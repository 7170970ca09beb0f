"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from training.errors import TrainingError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it into place.

    Raises
    ------
    TrainingError
        If the disk is full or the folder can't be written; an older file at ``path`` stays whole.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except Exception as error:
        with contextlib.suppress(NotADirectoryError):  # then there is none
            temporary.unlink(missing_ok=True)
        # safetensors reports a full disk as its own error, with the operating system's words inside
        full = getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)
        if full:
            raise TrainingError(f"disk full while writing {path}: free some space and go on with --resume") from error
        if isinstance(error, OSError):
            raise TrainingError(f"cannot write {path} ({error.strerror}): choose another --out") from error
        raise
