"""One split of a data set in memory, its digest, its channel statistics and its validation part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError

Split = Literal["train", "test"]
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
SIDE = 32


@dataclass(frozen=True)
class DataSet:
    """One split in memory: ``images`` uint8 ``(N, side, side, 3)`` RGB and ``labels`` int64 ``(N,)``.

    The position of a row is its identity: rows keep the order of the source. ``source`` is a digest of what they were
    read from, if that was files; ``notes`` say what was done to read them.
    """

    name: str
    split: Split
    images: Images
    labels: Labels
    classes: tuple[str, ...]
    source: str | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def side(self) -> int:
        """Height and width of the images, in pixels."""
        return int(self.images.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """The digest of the source; else SHA-256 over shapes, pixels, labels and class names, 64 hexadecimal digits."""
        if self.source is not None:
            return self.source
        digest = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


def digest_of(files: Iterable[Path], classes: Sequence[str], split: str) -> str:
    """SHA-256 over class names, split and the bytes of files in their order, as 64 hexadecimal digits."""
    digest = hashlib.sha256(repr((tuple(classes), split)).encode())
    for path in files:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of ``(N, H, W, 3)`` images, as fractions of 255."""
    pixels = images.reshape(-1, 3)
    count = len(pixels)
    total = pixels.sum(0, dtype=np.int64) / (255 * count)
    square = np.stack([np.square(pixels[:, c], dtype=np.uint16).sum(dtype=np.int64) for c in range(3)])
    deviation = np.sqrt(np.maximum(square / (255**2 * count) - total**2, 1e-12))
    return tuple(map(float, total)), tuple(map(float, deviation))


def split_validation(labels: Labels, fraction: float, seed: int) -> tuple[Labels, Labels]:
    """Sorted row numbers of a stratified (train, validation) split of ``labels``."""
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(labels))
    try:
        train, validation = train_test_split(rows, test_size=fraction, random_state=seed, stratify=labels)
    except ValueError as error:
        raise TrainingError(
            f"cannot split off {fraction:g} of {len(labels)} rows for validation ({error}): use more images, or a "
            "larger --validation-fraction"
        ) from error
    return np.sort(train), np.sort(validation)
