"""Images in files: class folders, tables of paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench.core.formats import scan_table
from workbench.core.labels import class_numbers
from workbench.core.names import ClassNames, class_names
from workbench.core.records import ImageArray, ImageSet, IntArray
from workbench.errors import DataError, first_line
from workbench.images.decode import SUFFIXES, decode
from workbench.images.digests import digest_files
from workbench.images.places import find_places
from workbench.images.reading import DEFAULT, Reading
from workbench.images.splits import choose, split_of
from workbench.images.survey import left_aside, survey

CLASS_FILE = "classes.txt"
LAYOUTS = (
    "a folder of class folders (CLASS/*.jpg, or SPLIT/CLASS/*.jpg), Parquet files with an image and a label column "
    "(SPLIT-*.parquet), a table of paths and labels (.csv, .parquet and others), WebDataset's .tar, what Hugging "
    "Face's save_to_disk writes, or an .npz with the arrays images and labels"
)
MOST_LETTERS = 4096  # of a path, as in Linux
# what tables call the columns, besides path and label
USUAL = {
    "path": ("filename", "file_name", "file", "filepath", "file_path", "image", "image_path", "image_id", "img", "id"),
    "label": ("class", "target", "category", "label_name", "class_name", "labels"),
}


def from_folder(
    root: Path | str,
    split: str | None = None,
    *,
    classes: ClassNames | None = None,
    reading: Reading = DEFAULT,
) -> ImageSet:
    """Images in class folders, ``root/split/CLASS/**`` or ``root/CLASS/**``, with row ids in path order.

    A split's folder may have any usual name (`splits.SPLITS`); without ``split`` it is that of the test split, else of
    the validation split, and the notes say so. Classes are those in ``classes``, else the lines of
    ``root/classes.txt``, else the folders' names in order. Files that are no images are counted in the notes. A link to
    a file outside of the folder is refused unless ``reading`` follows links.

    Raises
    ------
    DataError
        If there is no such split, there are fewer than two class folders, a folder belongs to no class, or there is no
        image.
    """
    root = Path(root)
    within, chosen, notes = _of_split(root, split)
    folders = sorted(p.name for p in within.iterdir() if p.is_dir() and not _is_leftover(p.relative_to(within)))
    names = class_names(classes) if classes else tuple(_class_file(root) or folders)
    if not classes and within == root and folders and all(split_of(name) for name in folders):
        raise DataError(
            f"{root} holds splits ({', '.join(folders)}) without class folders: list their images in a table with the "
            "columns path and label; if these are classes, name them with classes="
        )
    if len(names) < 2:
        flat = "images without class folders; list their paths and labels in a table" if _has_images(within) else ""
        raise DataError(f"{within} holds {flat or f'{len(folders)} folders'}: expected {LAYOUTS}")
    if strangers := [name for name in names if Path(name).name != name or name in ("", ".", "..")]:
        raise DataError(f"{root / CLASS_FILE}: expected names of folders within {within}, not {strangers[0]!r}")
    if strange := sorted(set(folders) - set(names)):
        raise DataError(
            f"{within / strange[0]} is of no class: expected one of {', '.join(names[:20])}; move the folder away, "
            "or name its class, too"
        )
    files = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((within / name).rglob("*"))
        if not _is_leftover(path.relative_to(within)) and path.is_file()
    ]
    found = [(path, label) for path, label in files if path.suffix.lower() in SUFFIXES]
    notes += left_aside(path for path, _ in files if path.suffix.lower() not in SUFFIXES)
    if not found:
        raise DataError(f"{within} holds class folders but no image ({', '.join(SUFFIXES)}). {' '.join(notes)}".strip())
    base = within.resolve()
    outside = [path for path, _ in found if path.is_symlink() and not path.resolve().is_relative_to(base)]
    if outside and not reading.follow_links:
        raise DataError(
            f"{outside[0]} is a link that leads out of {within}: allow such links with follow_links=True "
            "(--follow-links), or copy the images"
        )
    paths = [path for path, _ in found]
    labels = [label for _, label in found]
    if all(name.isdigit() for name in folders) and folders != sorted(folders, key=int):
        notes.append(f"Numbered folders are in the order of text ({', '.join(folders[:3])} ...), as in torchvision.")
    return _of_files(within, paths, labels, names, chosen, reading=reading, notes=notes)


def _of_split(root: Path, wanted: str | None) -> tuple[Path, str, list[str]]:
    """The folder of a split, the split's name, and what was chosen; the folder itself where it has no splits."""
    inside = [p for p in sorted(root.iterdir()) if p.is_dir() and not _is_leftover(p.relative_to(root))]
    if wanted is not None and (root / wanted).is_dir():
        return root / wanted, split_of(wanted) or wanted, []
    splits = [p.name for p in inside if split_of(p.name) and any(q.is_dir() for q in p.iterdir())]
    if not splits or any(_has_images(p) for p in inside if p.name not in splits):  # a class may be called train
        return root, wanted or "test", []
    split, names, notes = choose(splits, wanted, root)
    return root / names[0], split, notes


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())


def _is_leftover(path: Path) -> bool:
    """Whether a program left it there: hidden, such as a notebook's copies, or in what a Mac's archives add."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def from_table(
    path: Path | str,
    root: Path | str | None = None,
    *,
    split: str | None = None,
    classes: ClassNames | None = None,
    columns: Mapping[str, str] | None = None,
    reading: Reading = DEFAULT,
    by_folder: bool = False,
) -> ImageSet:
    """Images whose paths and labels are listed in a table (`formats.scan_table`); row ids are the positions in it.

    Paths are relative to ``root``, by default the table's folder, and may not leave it; how those of other machines and
    ids without extension are matched with files is in `places.find_places`. Labels are numbers, or names of ``classes``
    (by default the names in alphabetical order). ``columns`` says what the table calls ``path`` and ``label``; usual
    names are known (`USUAL`). A column ``split`` names the rows of each split, or with ``by_folder`` the first folder
    of each path, where all are called as splits are.

    Raises
    ------
    DataError
        If the table can't be read, lacks a column, or a path leads out of ``root``.
    """
    path = Path(path)
    try:
        table = scan_table(path).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is damaged or of another format ({first_line(error)})") from error
    called = {name: _column(table, name, columns or {}, path) for name in USUAL}
    table, ids, split, notes = _rows_of_split(table, split, path, called["path"] if by_folder else "")
    labels, names = class_numbers(table[called["label"]], classes, str(path))
    within = Path(root) if root is not None else path.parent
    column = table[called["path"]].cast(pl.String).fill_null("")
    if (longest := max(column.str.len_bytes().to_list(), default=0)) > MOST_LETTERS:
        raise DataError(f"{path}: expected paths of at most {MOST_LETTERS:,} bytes, not {longest:,}")
    texts = column.to_list()
    found = of_paths(texts, labels, names, within, split=split, ids=ids, reading=reading)
    return replace(found, notes=(*notes, *found.notes))


def lists_labels(path: Path) -> bool:
    """Whether a table has columns of paths and of labels by their usual names."""
    try:
        names = {name.lower() for name in scan_table(path).collect_schema().names()}
    except (DataError, pl.exceptions.PolarsError, OSError):
        return False
    return all(names & {ours, *usual} for ours, usual in USUAL.items())


def _rows_of_split(
    table: pl.DataFrame, wanted: str | None, path: Path, paths: str
) -> tuple[pl.DataFrame, IntArray | None, str, list[str]]:
    """The rows that a column ``split`` names, their row ids, the split and what was chosen; all rows without one.

    Without such a column the first folder of the column ``paths`` counts, if that is named.
    """
    column = next((name for name in table.columns if name.lower() in ("split", "subset", "set")), None)
    if column is None and paths:
        told = table[paths].cast(pl.String).str.extract(r"^([^/\\]+)[/\\]", 1)
    elif column is not None and table[column].dtype == pl.String:
        told = table[column]
    else:
        return table, None, wanted or "test", []
    names = told.fill_null("").unique().sort().to_list()
    if not all(split_of(name) for name in names):
        return table, None, wanted or split_of(path.parent.name) or "test", []
    split, held, notes = choose(names, wanted, path)
    ids = np.flatnonzero(told.is_in(held).to_numpy())
    return table[ids], ids, split, notes


def _column(table: pl.DataFrame, ours: str, columns: Mapping[str, str], path: Path) -> str:
    """What a table calls one of our columns: as the caller says, by our name, or by the one usual name it has."""
    wanted = columns.get(ours, ours)
    if wanted in table.columns:
        return wanted
    usual = [name for name in table.columns if name.lower() in (ours, *USUAL[ours])] if ours not in columns else []
    if len(usual) == 1:
        return usual[0]
    raise DataError(
        f"{path} has no column {wanted!r}; it has {', '.join(table.columns[:20])}: name the one with the "
        f"{'files' if ours == 'path' else 'classes'}, columns={{{ours!r}: NAME}}"
    )


def of_paths(
    paths: Sequence[str],
    labels: IntArray,
    classes: tuple[str, ...],
    root: Path,
    *,
    split: str = "test",
    ids: IntArray | None = None,
    reading: Reading = DEFAULT,
) -> ImageSet:
    """Images at ``paths`` within ``root``, with row ids ``ids`` (default: the positions); see `places.find_places`.

    Raises
    ------
    DataError
        If a path is empty or leads out of ``root``, or matches no file or several.
    """
    found, notes = find_places(paths, root, follow_links=reading.follow_links)
    return _of_files(root.resolve(), found, labels, classes, split, ids, reading=reading, notes=notes)


@dataclass(frozen=True)
class _FilePixels:
    """Images in files, decoded on demand."""

    paths: Sequence[Path]
    reading: Reading = DEFAULT

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int, /) -> ImageArray:
        return decode(self.paths[place], reading=self.reading)


def _of_files(
    root: Path,
    paths: Sequence[Path],
    labels: ArrayLike,
    classes: tuple[str, ...],
    split: str,
    ids: IntArray | None = None,
    *,
    reading: Reading,
    notes: Sequence[str] = (),
) -> ImageSet:
    one, seen = survey(paths, reading)
    numbers = np.asarray(labels, np.int64)
    digest: Callable[[], str] = lambda: digest_files(paths, numbers, classes, root)  # noqa: E731
    return ImageSet(_FilePixels(paths, one), numbers, classes, split, digest, ids, (*notes, *seen), reading.remark)


def _class_file(root: Path) -> list[str] | None:
    path = root / CLASS_FILE
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except ValueError as error:
        raise DataError(f"{path}: expected text in UTF-8 ({error})") from error
    return [line.strip() for line in lines if line.strip()]
