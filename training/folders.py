"""Class folders of images of any size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from training.dataset import SIDE, DataSet, Labels, Split
from training.errors import TrainingError
from training.pixels import SUFFIXES, decode, size_of

# names of a split's folder, in the order in which they are looked for
NAMES = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
WHOLE_BYTES, SAMPLE = 2 * 2**30, 1024


def split_folder(root: Path, split: Split) -> Path | None:
    """The folder of a split; ``root`` itself for ``"train"`` if it holds classes rather than splits; else None."""
    inside = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir() and path.name[0] != "."}
    if any(name in inside for name in NAMES["train"]):
        found = [inside[name] for name in NAMES[split] if name in inside]
        return found[0] if found else None
    known = {name for names in NAMES.values() for name in names}
    return root if split == "train" and len(inside) > 1 and not known & inside.keys() else None


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in it, sorted; hidden ones are left out."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def folder_reader(root: Path, split: Split, side: int) -> Callable[[], DataSet] | None:
    """What reads ``root/SPLIT/CLASS/**`` or ``root/CLASS/**``; None if there are no class folders of that split.

    The classes are the train split's. Images that are not all 32 pixels wide and high become ``side`` pixels.
    """
    within, base = split_folder(root, split), split_folder(root, "train")
    if within is None or base is None:
        return None
    classes = tuple(class_folders(base))
    if len(classes) < 2:
        return None

    def read() -> DataSet:
        if strange := sorted({*class_folders(within)} - {*classes}):
            raise TrainingError(
                f"{within / strange[0]} is no class of {base}: expected one of {', '.join(classes[:20])}"
            )
        found = [(path, label) for label, name in enumerate(classes) for path in _images(within / name)]
        if not found:
            raise TrainingError(f"{within} has class folders but no images: add {', '.join(sorted(SUFFIXES))}")
        paths, labels = [path for path, _ in found], np.array([label for _, label in found], np.int64)
        sizes = {size_of(path) for path in paths}
        note, wanted = f"{within}: {len(paths):,} images in {len(classes)} classes", SIDE
        if sizes != {(SIDE, SIDE)}:
            note, wanted = f"{note}, resized to cover {side}×{side} pixels and cropped at the centre", side
        images = np.stack([decode(path, str(path), wanted) for path in paths])
        source = digest_files(paths, labels, classes, within)
        return DataSet(root.resolve().name, split, images, labels, classes, source, (note,))

    return read


def _images(folder: Path) -> list[Path]:
    """The image files within a class folder, sorted; no folder, pipe or device of such a name, nothing hidden."""
    files = sorted(folder.rglob("*")) if folder.is_dir() else []
    return [
        path
        for path in files
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def digest_files(paths: Sequence[Path], labels: Labels, classes: Sequence[str], root: Path) -> str:
    """SHA-256 over class names, labels, the files' names and sizes, and their bytes: the workbench's own definition.

    Beyond 2 GiB, only the bytes of 1,024 evenly spaced files are read; the others count by name and size.
    """
    digest = hashlib.sha256(repr(tuple(classes)).encode())
    digest.update(np.ascontiguousarray(labels).data)
    sizes = [path.stat().st_size for path in paths]
    for path, size in zip(paths, sizes, strict=True):
        digest.update(f"{path.relative_to(root).as_posix()} {size}\n".encode(errors="surrogateescape"))
    few = np.unique(np.linspace(0, len(paths) - 1, SAMPLE).astype(int))
    for place in range(len(paths)) if sum(sizes) <= WHOLE_BYTES else few:
        with paths[place].open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
