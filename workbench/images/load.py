"""Image sets from folders, Parquet files, tables of paths, data sets and arrays, read on demand."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from workbench.core.formats import is_table
from workbench.core.names import ClassNames, class_names
from workbench.core.records import ImageSet
from workbench.errors import DataError
from workbench.images.arrays import from_npz
from workbench.images.decode import SUFFIXES
from workbench.images.folders import LAYOUTS, from_folder, from_table, lists_labels, of_paths
from workbench.images.huggingface import arrow_files, is_cache, split_in_state
from workbench.images.parquet import ARROW, from_parquet, has_images, is_other_table
from workbench.images.reading import Range, Reading
from workbench.images.splits import choose, split_of, split_of_file
from workbench.images.tars import from_tars

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # labels beside images, as on the Hub
DEPTHS = (0, 1, 2)  # folders below the one that is named, as in the Hub's data/ and default/test/


def load_images(
    path: Path | str,
    split: str | None = None,
    *,
    classes: ClassNames | None = None,
    columns: Mapping[str, str] | None = None,
    orient: bool = False,
    range: Range = "depth",
    follow_links: bool = False,
) -> ImageSet:
    """The images at ``path``, by its layout; see `from_folder`, `from_parquet`, `from_table` and `from_arrays`.

    Parameters
    ----------
    path : path
        A folder of class folders, Parquet files or tars, a table of paths and labels, or an ``.npz``.
    split : str, optional
        Which part of it, such as ``"train"``, ``"val"`` or ``"test"``, under any usual name; default: the test split,
        else the validation split, and the notes name it.
    classes : sequence of str or mapping, optional
        Class names in the order of the labels' numbers.
    columns : mapping, optional
        A table's names of ``path``, ``image`` and ``label``.
    orient, range : optional
        Whether images are turned by EXIF, and which values are black and white; see `reading.Reading`.
    follow_links : bool
        Whether links to files outside of the folder are followed, as in the caches of Hugging Face and DVC.

    Returns
    -------
    ImageSet
        Images uint8 ``(H, W, 3)``, read on demand; its notes say what was chosen and left aside.

    Raises
    ------
    DataError
        If nothing exists at ``path``, or its layout is not a known one.
    """
    if not isinstance(path, str | os.PathLike):
        raise DataError(f"images: expected one path, not {type(path).__name__}: list files and labels in a table")
    path, reading = Path(path), Reading(orient, range, follow_links)
    if path.is_file():
        return _of_file(path, split, classes, columns, reading)
    if not path.is_dir():
        state = "is of another kind" if path.exists() else "is missing"
        raise DataError(f"{path} {state}: expected {LAYOUTS}")
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        found, name, notes = _split_folder(path, split)
        made = from_parquet(arrow_files(found), name, classes=classes, columns=columns, reading=reading)
        return _noted(made, notes)
    if (path / "labels.json").is_file() and (path / "data").is_dir():
        return _of_fiftyone(path, split or "test", classes, reading)
    for kind in (".parquet", ARROW, ".tar"):
        shards, name, notes = _shards(path, kind, split)
        if shards:
            made = (
                from_tars(shards, name, classes=classes, reading=reading)
                if kind == ".tar"
                else from_parquet(shards, name, classes=classes, columns=columns, reading=reading)
            )
            return _noted(made, notes)
    table, wanted, notes = _metadata(path, split)
    if table is not None and classes is None:
        made = from_table(table, split=wanted, columns=columns, reading=reading, by_folder=table.parent == path)
        return _noted(made, notes)
    return from_folder(path, split, classes=classes, reading=reading)


def _of_file(
    path: Path,
    split: str | None,
    classes: ClassNames | None,
    columns: Mapping[str, str] | None,
    reading: Reading,
) -> ImageSet:
    if path.suffix == ".npz":
        return from_npz(path, split or "test", classes, reading)
    if path.suffix == ".tar":
        return from_tars([path], split or split_of_file(path.name) or "test", classes=classes, reading=reading)
    if path.suffix == ARROW or (path.suffix == ".parquet" and has_images(path)):
        return from_parquet(
            [path], split or split_of_file(path.name) or "test", classes=classes, columns=columns, reading=reading
        )
    if is_table(path):
        return from_table(path, split=split, classes=classes, columns=columns, reading=reading)
    advice = "unpack it and name its folder" if path.suffix in (".zip", ".gz", ".tgz", ".7z") else f"expected {LAYOUTS}"
    raise DataError(f"{path} is of another kind: {advice}")


def _noted(images: ImageSet, notes: list[str]) -> ImageSet:
    return dataclasses.replace(images, notes=(*notes, *images.notes))


def _split_folder(path: Path, split: str | None) -> tuple[Path, str, list[str]]:
    """The folder of one split of what Hugging Face's ``save_to_disk`` wrote: the folder itself if it has no splits."""
    if not (path / "dataset_dict.json").is_file():
        noted = split_in_state(path)
        return path, split or split_of(noted) or noted or "test", []
    try:
        names = [str(name) for name in json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path / 'dataset_dict.json'} is damaged ({error}): save the data set again") from error
    name, found, notes = choose(names, split, path)
    return path / Path(found[0]).name, name, notes


def _metadata(path: Path, split: str | None) -> tuple[Path | None, str | None, list[str]]:
    """The table of labels in a folder of images, or in that of a split, as on the Hub; None if there is none."""
    found = [p for name in METADATA for p in (*path.glob(name), *path.glob(f"*/{name}"))]
    tables = {p.parent: p for p in found if lists_labels(p)}  # others may describe what they like
    if path in tables:
        return tables[path], split, []
    splits = [folder.name for folder in tables if split_of(folder.name)]
    if not splits:
        return None, split, []
    chosen, (first, *_), notes = choose(splits, split, path)
    return tables[path / first], chosen, notes


def _shards(path: Path, kind: str, split: str | None) -> tuple[list[Path], str, list[str]]:
    """The files of one kind that belong to a split, by their own name or their folder's; none if there are none."""
    found = [
        p
        for depth in DEPTHS
        for p in sorted(path.glob(f"{'*/' * depth}*{kind}"))
        if p.is_file() and not is_cache(p) and p.name not in METADATA
    ]
    by_split: dict[str, list[Path]] = {}
    for shard in found:
        if kind == ".parquet" and is_other_table(shard):
            continue
        name = shard.name if split_of_file(shard.name) or shard.parent == path else shard.parent.name
        if split_of_file(name) or (split is not None and shard.name.startswith(f"{split}-")):
            by_split.setdefault(split_of_file(name) or str(split), []).append(shard)
    if not by_split:
        alone = found and all(p.parent == path for p in found) and not any(p.is_dir() for p in path.iterdir())
        whole = found if kind != ".parquet" and alone else []
        return whole, split or "test", []
    name, _, notes = choose(by_split, split, path)
    configs = sorted({p.parent if split_of_file(p.name) else p.parent.parent for p in by_split[name]})
    if len(configs) > 1:
        shown = ", ".join(str(config) for config in configs)
        raise DataError(f"{path} holds several configurations of a data set: name one of {shown}")
    return by_split[name], name, notes


def _of_fiftyone(path: Path, split: str, classes: ClassNames | None, reading: Reading) -> ImageSet:
    """FiftyOne's classification layout: images in ``data/``, and ``labels.json`` with a class for each name."""
    from workbench.core.labels import class_numbers

    try:
        told = json.loads((path / "labels.json").read_text(encoding="utf-8"))
        labels = {str(name): label for name, label in told["labels"].items()}
        names = classes or told.get("classes")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path / 'labels.json'} is damaged ({error}): export the data set again") from error
    numbers, named = class_numbers(
        pl.Series("label", list(labels.values())), names and class_names(names), "labels.json"
    )
    return of_paths(list(labels), numbers, named, path / "data", split=split, reading=reading)


def any_images(path: Path, classes: tuple[str, ...]) -> ImageSet:
    """What `load_images` reads, or else all image files of a folder, whose labels then mean nothing.

    Raises
    ------
    DataError
        As `load_images`.
    """
    files = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES) if path.is_dir() else []
    if not files:
        return load_images(path)
    return of_paths([one.name for one in files], np.zeros(len(files), np.int64), classes, path, split="new")
