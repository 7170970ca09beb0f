"""WebDataset's tars: images and labels by the part of a name before its first dot, read where they lie."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from workbench.core.labels import class_numbers
from workbench.core.names import ClassNames
from workbench.core.records import ImageArray, ImageSet
from workbench.errors import DataError
from workbench.images.decode import SUFFIXES, decode
from workbench.images.digests import digest_files
from workbench.images.reading import DEFAULT, Reading
from workbench.images.survey import SAMPLE, survey

LABELS = (".cls", ".json", ".txt")
MOST_LABEL_BYTES = 65_536


@dataclass(frozen=True)
class _Member:
    """Where an image lies in a tar."""

    archive: Path
    name: str
    offset: int
    size: int


def from_tars(
    files: Sequence[Path], split: str = "test", *, classes: ClassNames | None = None, reading: Reading = DEFAULT
) -> ImageSet:
    """Images in uncompressed tars, with labels in ``.cls`` (number or name) or under ``label`` or ``cls`` in ``.json``.

    Row ids are the positions in the tars. Nothing is unpacked: an image is read where it lies.

    Raises
    ------
    DataError
        If a tar is damaged or compressed, or an image has no label.
    """
    members: list[_Member] = []
    labels: list[str | int] = []
    for path in files:
        found, named = _index(path)
        if missing := sorted(set(found) - set(named)):
            raise DataError(
                f"{path}: {missing[0]} has no label: expected {missing[0]}.cls or {missing[0]}.json beside it"
            )
        members += found.values()
        labels += [named[key] for key in found]
    if not members:
        raise DataError(f"{files[0]} holds no image ({', '.join(SUFFIXES)})")
    column = pl.Series("label", labels if all(isinstance(v, int) for v in labels) else list(map(str, labels)))
    numbers, names = class_numbers(column, classes, str(files[0]))
    sample = [members[k] for k in np.unique(np.linspace(0, len(members) - 1, SAMPLE).astype(int))]
    one, notes = survey([_bytes_of(member) for member in sample], reading)
    pixels = _TarPixels(members, one)
    digest = lambda: digest_files(files, numbers, names, files[0].parent)  # noqa: E731
    return ImageSet(pixels, numbers, names, split, digest, notes=tuple(notes), reading=reading.remark)


def _index(path: Path) -> tuple[dict[str, _Member], dict[str, str | int]]:
    """Images and labels of one tar by their keys."""
    found: dict[str, _Member] = {}
    labels: dict[str, str | int] = {}
    told: dict[str, int] = {}  # by which of LABELS
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                key, dot, rest = name.partition(".")
                key, kind = f"{folder}/{key}" if folder else key, f"{dot}{rest.rpartition('.')[2]}".lower()
                if not member.isfile() or not key:
                    continue
                if kind in SUFFIXES:
                    if key in found:
                        raise DataError(
                            f"{path}: {found[key].name} and {member.name} are two images of one key {key!r}"
                        )
                    found[key] = _Member(path, member.name, member.offset_data, member.size)
                elif kind in LABELS and member.size <= MOST_LABEL_BYTES and (stream := archive.extractfile(member)):
                    label = _label(stream.read(), kind, f"{path}: {member.name}")
                    if label is not None and LABELS.index(kind) <= told.get(key, len(LABELS)):
                        labels[key], told[key] = label, LABELS.index(kind)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path} is damaged or compressed ({error}): expected an uncompressed tar") from error
    return found, labels


def _label(content: bytes, kind: str, where: str) -> str | int | None:
    try:
        text = content.decode("utf-8").strip()
        value = (
            text if kind != ".json" else next((v for k, v in json.loads(text).items() if k in ("label", "cls")), None)
        )
    except (ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{where} is no label ({error}): write the class's number or name") from error
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    return value if isinstance(value, str | int) else None


@dataclass(frozen=True)
class _TarPixels:
    """Images in tars, each read by its place."""

    members: Sequence[_Member]
    reading: Reading

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, place: int, /) -> ImageArray:
        one = self.members[place]
        return decode(_bytes_of(one), f"{one.archive}: {one.name}", self.reading)


def _bytes_of(member: _Member) -> bytes:
    with member.archive.open("rb") as stream:
        stream.seek(member.offset)
        return stream.read(member.size)
