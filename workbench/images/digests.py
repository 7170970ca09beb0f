"""Digests that identify a set of images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workbench.core.records import ImageArray, IntArray, Pixels

WHOLE_BYTES = 2 * 2**30
SAMPLE = 1024


def digest_arrays(pixels: ImageArray, labels: IntArray, classes: Sequence[str]) -> str:
    """SHA-256 over shape, class names, pixels and labels, as 64 hexadecimal digits."""
    digest = hashlib.sha256(repr((pixels.shape, tuple(classes))).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()


def digest_files(paths: Sequence[Path], labels: IntArray, classes: Sequence[str], root: Path) -> str:
    """SHA-256 over class names, labels, the files' names and sizes, and their bytes.

    Beyond 2 GiB, only the bytes of 1,024 evenly spaced files are read; the others count by name and size. A missing
    file counts as missing.
    """
    digest = hashlib.sha256(repr(tuple(classes)).encode())
    digest.update(np.ascontiguousarray(labels).data)
    sizes = [_size(path) for path in paths]
    for path, size in zip(paths, sizes, strict=True):
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        digest.update(f"{name} {size}\n".encode(errors="surrogateescape"))
    read = (
        range(len(paths))
        if sum(sizes) <= WHOLE_BYTES
        else np.unique(np.linspace(0, len(paths) - 1, SAMPLE).astype(int))
    )
    for place in read:
        if sizes[place] >= 0:
            with paths[place].open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _size(path: Path) -> int:
    """Size of a file in bytes; -1 if there is no file."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def digest_sample(pixels: Pixels, labels: IntArray, classes: Sequence[str]) -> str:
    """SHA-256 over class names, labels, and the pixels of 256 evenly spaced images."""
    digest = hashlib.sha256(repr(tuple(classes)).encode())
    digest.update(np.ascontiguousarray(labels).data)
    for place in np.unique(np.linspace(0, len(pixels) - 1, 256).astype(int)):
        digest.update(np.ascontiguousarray(pixels[int(place)]).data)
    return digest.hexdigest()
