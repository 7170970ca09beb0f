"""Image sets from folders, Parquet files, tables of paths, data sets and arrays, read only when they are asked for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench.decode import SUFFIXES, UNREADABLE, as_rgb, decode, rgb_of
from workbench.errors import DataError
from workbench.records import ImageArray, ImageSet, IntArray

NAMES, CLASS_FILE = ("path", "label"), "classes.txt"
WHOLE_BYTES = 2 * 2**30
SAMPLE = 1024
BLOCK, BLOCKS, READERS = 128, 16, 4
_LAYOUTS = (
    "a folder of class folders (CLASS/*.jpg, or SPLIT/CLASS/*.jpg), Parquet files with an image and a label column "
    "(SPLIT-*.parquet), a .csv or .parquet of paths and labels, or an .npz with the arrays images and labels"
)


def load_images(
    path: Path | str,
    split: str = "test",
    *,
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> ImageSet:
    """The images at ``path``, by its layout; see `from_folder`, `from_parquet`, `from_table` and `from_arrays`.

    Raises
    ------
    DataError
        If there is nothing, or nothing of a known layout.
    """
    path = Path(path)
    if path.is_file() and path.suffix == ".npz":
        return _from_npz(path, split, classes)
    if path.is_file() and path.suffix in (".csv", ".parquet"):
        inside = path.suffix == ".parquet" and _image_column(pl.scan_parquet(path)) is not None
        if inside:
            return from_parquet([path], split, classes=classes, columns=columns)
        return from_table(path, split=split, classes=classes, columns=columns)
    if path.is_dir():
        shards = sorted(path.glob(f"{split}-*.parquet")) or sorted(path.glob(f"*/{split}-*.parquet"))
        if shards:
            return from_parquet(shards, split, classes=classes, columns=columns)
        return from_folder(path, split, classes=classes)
    state = "is of another kind" if path.exists() else "is missing"
    raise DataError(f"{path} {state}: expected {_LAYOUTS}")


def from_folder(root: Path | str, split: str = "test", *, classes: Sequence[str] | None = None) -> ImageSet:
    """Images in class folders, ``root/split/CLASS/**`` or ``root/CLASS/**``, row ids in the order of the paths.

    Classes are those in ``classes``, else the lines of ``root/classes.txt``, else the folders' names in order.

    Raises
    ------
    DataError
        If there are fewer than two class folders, a folder is of no class, or there is no image.
    """
    root = Path(root)
    within = root / split if (root / split).is_dir() else root
    folders = sorted(p.name for p in within.iterdir() if p.is_dir() and not p.name.startswith("."))
    names = tuple(classes or _class_file(root) or folders)
    if len(names) < 2:
        raise DataError(f"{within} holds {len(folders)} folders: expected {_LAYOUTS}")
    if outside := [name for name in names if Path(name).name != name or name in ("", ".", "..")]:
        raise DataError(f"{root / CLASS_FILE}: expected names of folders within {within}, not {outside[0]!r}")
    if strange := sorted(set(folders) - set(names)):
        raise DataError(f"{within / strange[0]} is of no class: expected one of {', '.join(names[:20])}")
    found = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((within / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    if not found:
        raise DataError(f"{within} holds class folders but no image ({', '.join(SUFFIXES)})")
    base = within.resolve()
    if leaving := [path for path, _ in found if path.is_symlink() and not path.resolve().is_relative_to(base)]:
        raise DataError(f"{leaving[0]} leads out of {within}: copy the image there")
    return _of_files(within, [path for path, _ in found], [label for _, label in found], names, split)


def from_table(
    path: Path | str,
    root: Path | str | None = None,
    *,
    split: str = "test",
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> ImageSet:
    """Images whose paths and labels stand in a CSV or Parquet table, row ids the positions in it.

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
    labels, names = _labels(table[called["label"]], classes, str(path))
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


def from_parquet(
    files: Sequence[Path],
    split: str = "test",
    *,
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> ImageSet:
    """Images whose bytes lie in Parquet files, as Hugging Face data sets have them, row ids the positions in them.

    The image column is a struct with ``bytes``, or binary; class names come from ``classes``, else from the files'
    own description, else they are the numbers.

    Raises
    ------
    DataError
        If a file is damaged or lacks the columns.
    """
    called = columns or {}
    try:
        table = pl.scan_parquet(list(files))
        schema = table.collect_schema()
        image, label = called.get("image") or _image_column(table), called.get("label", "label")
        if image is None or image not in schema or label not in schema:
            raise DataError(f"{files[0]}: expected columns of image bytes and of labels, not {', '.join(schema)}")
        column = table.select(pl.col(label)).collect()[label]
        described = _described(files[0], label)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{files[0]} is not a readable Parquet file ({str(error).splitlines()[0]})") from error
    labels, names = _labels(column, classes or described, str(files[0]))
    cell = pl.col(image).struct.field("bytes") if isinstance(schema[image], pl.Struct) else pl.col(image)
    pixels = _ParquetPixels(table.select(cell.alias("bytes")), str(files[0]), len(labels))
    return ImageSet(pixels, labels, names, split, lambda: _digest_files(files, labels, names, files[0].parent))


def from_dataset(dataset: Any, classes: Sequence[str] | None = None, *, split: str = "test") -> ImageSet:
    """The images of a PyTorch data set, whose items are an image and a label, row ids its indices.

    Images are Pillow's, arrays ``(H, W)`` or ``(H, W, C)``, or tensors ``(C, H, W)``; give the data set without
    normalisation, which the classifier brings. Labels are read from ``targets`` where the data set has it (as
    torchvision's have), else every item is read once. Class names: ``classes``, else the data set's own.

    Raises
    ------
    DataError
        If an item is of another kind.
    """
    changed = getattr(dataset, "target_transform", None) is not None
    known = None if changed else getattr(dataset, "targets", None)
    if known is None:
        known = [_item(dataset, row)[1] for row in range(len(dataset))]
    names = classes or getattr(dataset, "classes", None)
    labels, named = _labels(pl.Series("label", np.asarray(known).ravel()), names, type(dataset).__name__)
    pixels = _DatasetPixels(dataset)
    return ImageSet(pixels, labels, named, split, lambda: _digest_some(pixels, labels, named))


def from_arrays(
    images: ArrayLike, labels: ArrayLike, classes: Sequence[str] | None = None, *, split: str = "test"
) -> ImageSet:
    """Images in an array ``(N, H, W)``, ``(N, H, W, 1)`` or ``(N, H, W, 3)``, row ids its positions.

    uint8, uint16, or floats from 0 to 1; labels are numbers or names.

    Raises
    ------
    DataError
        If shapes or types are others, or there is not one label for each image.
    """
    array = np.asarray(images)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(f"images: expected (N, H, W), (N, H, W, 1) or (N, H, W, 3), not {array.shape}")
    whole = array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3
    pixels = array if whole else np.stack([as_rgb(one, f"image {row}") for row, one in enumerate(array)])
    found, names = _labels(pl.Series("label", np.asarray(labels).ravel()), classes, "labels")
    return ImageSet(pixels, found, names, split, lambda: digest_arrays(pixels, found, names))


def digest_arrays(pixels: ImageArray, labels: IntArray, classes: Sequence[str]) -> str:
    """SHA-256 over shape, class names, pixels and labels, as 64 hexadecimal digits."""
    digest = hashlib.sha256(repr((pixels.shape, tuple(classes))).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class _FilePixels:
    """Images in files, decoded when asked for."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int, /) -> ImageArray:
        return decode(self.paths[place])


@dataclass(frozen=True)
class _ParquetPixels:
    """Images in a Parquet column: blocks of neighbouring cells are read at once, and the latest are kept."""

    table: pl.LazyFrame
    name: str
    rows: int
    kept: OrderedDict[int, pl.Series] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, place: int, /) -> ImageArray:
        number = place // BLOCK
        with self.lock:
            block = self.kept.get(number)
            if block is None:
                block = self.table.slice(number * BLOCK, BLOCK).collect()["bytes"]
                self.kept[number] = block
                while len(self.kept) > BLOCKS:
                    self.kept.popitem(last=False)
        content = block[place % BLOCK]
        if content is None:
            raise DataError(f"{self.name} row {place} holds no image: mend it, or leave it out")
        return decode(content, f"{self.name} row {place}")


@dataclass(frozen=True)
class _DatasetPixels:
    """The images of a PyTorch data set, one at a time: it may share a file among its items."""

    dataset: Any
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: int, /) -> ImageArray:
        with self.lock:
            image = _item(self.dataset, place)[0]
        if hasattr(image, "detach"):  # a tensor (C, H, W)
            image = image.detach().cpu().numpy()
            image = image.transpose(1, 2, 0) if image.ndim == 3 else image
        elif hasattr(image, "convert"):
            return rgb_of(image, f"item {place}")
        return as_rgb(np.asarray(image), f"item {place}")


def _item(dataset: Any, place: int) -> tuple[Any, Any]:
    try:
        item = dataset[place]
    except UNREADABLE as error:
        raise DataError(f"item {place} can't be read ({error}): mend it, or leave it out") from error
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise DataError(f"item {place}: expected an image and a label, not {type(item).__name__}")
    return item[0], item[1]


def _of_files(
    root: Path,
    paths: Sequence[Path],
    labels: ArrayLike,
    classes: tuple[str, ...],
    split: str,
    ids: IntArray | None = None,
) -> ImageSet:
    numbers = np.asarray(labels, np.int64)
    digest: Callable[[], str] = lambda: _digest_files(paths, numbers, classes, root)  # noqa: E731
    return ImageSet(_FilePixels(paths), numbers, classes, split, digest, ids)


def _digest_files(paths: Sequence[Path], labels: IntArray, classes: Sequence[str], root: Path) -> str:
    """SHA-256 over class names, labels, the files' names and sizes, and their bytes.

    Of more than 2 GiB only the bytes of 1,024 evenly spaced files are read, the others count by name and size; a file
    that is missing counts as such.
    """
    digest = hashlib.sha256(repr(tuple(classes)).encode())
    digest.update(np.ascontiguousarray(labels).data)
    sizes = [_size(path) for path in paths]
    for path, size in zip(paths, sizes, strict=True):
        digest.update(f"{path.relative_to(root).as_posix()} {size}\n".encode())
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
    """Bytes of a file; -1 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _digest_some(pixels: _DatasetPixels, labels: IntArray, classes: Sequence[str]) -> str:
    """SHA-256 over class names, labels, and the pixels of 256 evenly spaced images."""
    digest = hashlib.sha256(repr(tuple(classes)).encode())
    digest.update(np.ascontiguousarray(labels).data)
    for place in np.unique(np.linspace(0, len(pixels) - 1, 256).astype(int)):
        digest.update(np.ascontiguousarray(pixels[int(place)]).data)
    return digest.hexdigest()


def _labels(column: pl.Series, classes: Sequence[str] | None, where: str) -> tuple[IntArray, tuple[str, ...]]:
    """Labels as class numbers int64, and the class names."""
    if column.null_count() or len(column) == 0:
        raise DataError(
            f"{where}: expected a label for every row, {column.null_count():,} of {len(column):,} have none"
        )
    if column.dtype.is_integer():
        low, high = int(column.min()), int(column.max())  # type: ignore[arg-type]
        names = tuple(classes) if classes is not None else tuple(map(str, range(max(high + 1, 2))))
        if low < 0 or high >= len(names):
            raise DataError(f"{where}: expected labels from 0 to {len(names) - 1}, not {low} to {high}")
        return column.to_numpy().astype(np.int64), names
    if column.dtype != pl.String:
        raise DataError(f"{where}: expected labels as whole numbers or names, not {column.dtype}")
    found = column.unique().sort().to_list()
    names = tuple(classes) if classes is not None else tuple(found)
    if strange := sorted(set(found) - set(names)):
        raise DataError(f"{where}: the label {strange[0]!r} is none of the classes {', '.join(names[:20])}")
    numbers = column.replace_strict(list(names), range(len(names)), return_dtype=pl.Int64)
    return numbers.to_numpy(), names


def _class_file(root: Path) -> list[str] | None:
    path = root / CLASS_FILE
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except ValueError as error:
        raise DataError(f"{path}: expected text in UTF-8 ({error})") from error
    return [line.strip() for line in lines if line.strip()]


def _image_column(table: pl.LazyFrame) -> str | None:
    """The column with image bytes: a struct with the field ``bytes``, else the first binary one."""
    try:
        schema = table.collect_schema()
    except (pl.exceptions.PolarsError, OSError):  # told by whoever reads the file
        return None
    structs = [n for n, kind in schema.items() if isinstance(kind, pl.Struct) and "bytes" in kind.to_schema()]
    return next(iter(structs + [n for n, kind in schema.items() if kind == pl.Binary]), None)


def _described(path: Path, label: str) -> list[str] | None:
    """Class names in the description that Hugging Face's writer leaves in a Parquet file."""
    text = pl.read_parquet_metadata(path).get("huggingface")
    try:
        names = json.loads(text)["info"]["features"][label]["names"] if text else None
    except (ValueError, KeyError, TypeError):  # a description of another kind has none
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _from_npz(path: Path, split: str, classes: Sequence[str] | None) -> ImageSet:
    from zipfile import BadZipFile

    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in ("images", "labels", "classes") if name in found.files}
    except (*UNREADABLE, BadZipFile, MemoryError, RuntimeError) as error:
        raise DataError(f"{path} is damaged or of another format ({error})") from error
    if missing := {"images", "labels"} - set(arrays):
        raise DataError(f"{path} has no array {sorted(missing)[0]!r}: expected images and labels")
    kept = [str(name) for name in arrays["classes"]] if "classes" in arrays else None
    return from_arrays(arrays["images"], arrays["labels"], classes or kept, split=split)


def batches(images: ImageSet, rows: IntArray, size: int) -> Iterator[tuple[IntArray, ImageArray, dict[int, str]]]:
    """Row ids in parts of ``size``: those that can be read, their images as one array, and why others can't.

    Of images on disk the next part is read ahead by threads while the caller works on this one.

    Raises
    ------
    DataError
        If the images are of several sizes, or there is no such row.
    """
    parts = [rows[first : first + size] for first in range(0, len(rows), size)]
    if isinstance(images.pixels, np.ndarray):
        yield from ((part, images.stack(part), {}) for part in parts)
        return

    def one(row: int) -> ImageArray | str:
        try:
            return images.image(row)
        except DataError as error:  # the caller decides what follows
            return str(error)

    images.places(rows)
    with ThreadPoolExecutor(READERS) as pool:

        def begin(number: int) -> list[Future[ImageArray | str]]:
            return [pool.submit(one, int(row)) for row in parts[number]] if number < len(parts) else []

        ahead = begin(0)
        for number, part in enumerate(parts):
            found, ahead = [future.result() for future in ahead], begin(number + 1)
            bad = {int(row): reason for row, reason in zip(part, found, strict=True) if isinstance(reason, str)}
            good = [image for image in found if not isinstance(image, str)]
            if len(sizes := {image.shape[:2] for image in good}) > 1:
                first, second = sorted(sizes)[:2]
                raise DataError(
                    f"images: expected one size, not {first[1]}×{first[0]} and {second[1]}×{second[0]} pixels: "
                    "give the classifier a transform that resizes them"
                )
            yield (
                part[[int(row) not in bad for row in part]],
                np.stack(good) if good else np.zeros((0, 0, 0, 3), np.uint8),
                bad,
            )
