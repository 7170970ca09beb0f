"""The splits of a data set by their usual names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from workbench.errors import DataError

SPLITS: Mapping[str, Sequence[str]] = {
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "train": ("train", "training"),
}


def split_of(name: str) -> str | None:
    """The split that a folder's or file's name stands for: ``train``, ``val`` or ``test``; None for another name.

    A file may go on after it, as in ``test-00000-of-00001.parquet`` or ``val_2.tar``.
    """
    first = re.split(r"[-_.]", name.lower())[0]
    return next((split for split, names in SPLITS.items() if first in names), None)


def split_of_file(name: str) -> str | None:
    """As `split_of`, also where a data set's name comes first: ``parquet-train.arrow``, ``cats-test-0-of-4.tar``."""
    bare = re.sub(r"-\d+-of-\d+$", "", name.partition(".")[0])
    return split_of(name) or split_of(bare.rpartition("-")[2])


def choose(names: Iterable[str], wanted: str | None, where: object) -> tuple[str, list[str], list[str]]:
    """The split, those of ``names`` that belong to it, and what was chosen without being asked for.

    ``wanted`` None takes the test split, else the validation split, else the train split.

    Raises
    ------
    DataError
        If there is no such split.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(split_of(name) or name, []).append(name)
    if wanted is None:
        split = next((one for one in SPLITS if one in found), next(iter(found)))
        others = ", ".join(name for one, held in found.items() if one != split for name in held)
        note = f"The split {found[split][0]!r} is read; there are also {others}." if others and split != "test" else ""
        return split, found[split], [note] if note else []
    split = wanted if wanted in found else split_of(wanted) or wanted
    if split not in found:
        known = ", ".join(name for held in found.values() for name in held)
        raise DataError(f"{where} has no split {wanted!r}: expected one of {known}")
    return split, found[split], []
