"""Images in files: class folders, tables of paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench.core.records import ImageArray, ImageSet, IntArray
from workbench.errors import DataError
from workbench.images.decode import SUFFIXES, decode
from workbench.images.digests import digest_files
from workbench.core.labels import class_numbers

NAMES = ("path", "label")
CLASS_FILE = "classes.txt"
LAYOUTS = (
    "a folder of class folders (CLASS/*.jpg, or SPLIT/CLASS/*.jpg), Parquet files with an image and a label column "
    "(SPLIT-*.parquet), a .csv or .parquet of paths and labels, or an .npz with the arrays images and labels"
)


def from_folder(root: Path | str, split: str = "test", *, classes: Sequence[str] | None = None) -> ImageSet:
    """Images in class folders, ``root/split/CLASS/**`` or ``root/CLASS/**``, with row ids in path order.

    Classes are those in ``classes``, else the lines of ``root/classes.txt``, else the folders' names in order.

    Raises
    ------
    DataError
        If there are fewer than two class folders, a folder belongs to no class, or there is no image.
    """
    root = Path(root)
    within = root / split if (root / split).is_dir() else root
    folders = sorted(p.name for p in within.iterdir() if p.is_dir() and not _is_leftover(p.relative_to(within)))
    names = tuple(classes or _class_file(root) or folders)
    if len(names) < 2:
        raise DataError(f"{within} holds {len(folders)} folders: expected {LAYOUTS}")
    if outside := [name for name in names if Path(name).name != name or name in ("", ".", "..")]:
        raise DataError(f"{root / CLASS_FILE}: expected names of folders within {within}, not {outside[0]!r}")
    if strange := sorted(set(folders) - set(names)):
        raise DataError(f"{within / strange[0]} is of no class: expected one of {', '.join(names[:20])}")
    found = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((within / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and not _is_leftover(path.relative_to(within))
    ]
    if not found:
        raise DataError(f"{within} holds class folders but no image ({', '.join(SUFFIXES)})")
    base = within.resolve()
    if leaving := [path for path, _ in found if path.is_symlink() and not path.resolve().is_relative_to(base)]:
        raise DataError(f"{leaving[0]} leads out of {within}: copy the image into it")
    return _of_files(within, [path for path, _ in found], [label for _, label in found], names, split)


def _is_leftover(path: Path) -> bool:
    """Whether a program left it there: hidden, such as a notebook's copies, or in what a Mac's archives add."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def from_table(
    path: Path | str,
    root: Path | str | None = None,
    *,
    split: str = "test",
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> ImageSet:
    """Images whose paths and labels are listed in a CSV or Parquet table; row ids are the positions in it.

    Paths are relative to ``root``, by default the table's folder, and may not leave it. Labels are numbers, or names
    of ``classes`` (by default the names in alphabetical order). ``columns`` says what the table calls ``path`` and
    ``label``.

    Raises
    ------
    DataError
        If the table can't be read, lacks a column, or a path leads out of ``root``.
    """
    path = Path(path)
    try:
        table = (
            pl.read_csv(path, infer_schema_length=None, glob=False)
            if path.suffix == ".csv"
            else pl.read_parquet(path, glob=False)
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is damaged or of another format ({str(error).splitlines()[0]})") from error
    called = {name: (columns or {}).get(name, name) for name in NAMES}
    if missing := [theirs for theirs in called.values() if theirs not in table.columns]:
        raise DataError(f"{path} has no column {missing[0]!r}; it has {', '.join(table.columns[:20])}")
    labels, names = class_numbers(table[called["label"]], classes, str(path))
    within = Path(root) if root is not None else path.parent
    return of_paths(table[called["path"]].cast(pl.String).to_list(), labels, names, within, split=split)


def of_paths(
    paths: Sequence[str],
    labels: IntArray,
    classes: tuple[str, ...],
    root: Path,
    *,
    split: str = "test",
    ids: IntArray | None = None,
) -> ImageSet:
    """Images at ``paths`` within ``root``, with row ids ``ids`` (default: the positions).

    Raises
    ------
    DataError
        If a path is empty or leads out of ``root``.
    """
    base = root.resolve()
    found = []
    for row, text in enumerate(paths):
        place = (base / text).resolve() if text and "\0" not in text else base
        if place == base or not place.is_relative_to(base):
            raise DataError(f"row {row}: the path {text!r} leads out of {root}: expected one within it")
        found.append(place)
    return _of_files(base, found, labels, classes, split, ids)


@dataclass(frozen=True)
class _FilePixels:
    """Images in files, decoded on demand."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int, /) -> ImageArray:
        return decode(self.paths[place])


def _of_files(
    root: Path,
    paths: Sequence[Path],
    labels: ArrayLike,
    classes: tuple[str, ...],
    split: str,
    ids: IntArray | None = None,
) -> ImageSet:
    numbers = np.asarray(labels, np.int64)
    digest: Callable[[], str] = lambda: digest_files(paths, numbers, classes, root)  # noqa: E731
    return ImageSet(_FilePixels(paths), numbers, classes, split, digest, ids)


def _class_file(root: Path) -> list[str] | None:
    path = root / CLASS_FILE
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except ValueError as error:
        raise DataError(f"{path}: expected text in UTF-8 ({error})") from error
    return [line.strip() for line in lines if line.strip()]
