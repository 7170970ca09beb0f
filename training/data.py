"""Data sets in memory: finding them, reading them, splitting off a validation part."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError

Split = Literal["train", "test"]
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE, CLASS_FILE = 32, "classes.txt"
_LAYOUTS = (
    "torchvision's cifar-10-batches-py, Hugging Face parquet (plain_text/train-*.parquet), "
    "or image folders (train/CLASS/*.png and test/CLASS/*.png)"
)
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")  # no other reader is started, whatever a file holds


@dataclass(frozen=True)
class DataSet:
    """One split in memory: ``images`` uint8 ``(N, side, side, 3)`` RGB and ``labels`` int64 ``(N,)``.

    The position of a row is its identity: rows keep the order of the source.
    """

    name: str
    split: Split
    images: Images
    labels: Labels
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def side(self) -> int:
        """Height and width of the images, in pixels."""
        return int(self.images.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, pixels, labels and class names, as 64 hexadecimal digits."""
        digest = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
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
            f"cannot split off {fraction:.0%} of {len(labels)} rows for validation: {error}; use more images"
        ) from error
    return np.sort(train), np.sort(validation)


def data_root(option: str | None) -> str:
    """Where the data is: the option, else ``CIFAR10_ROOT``, else ``./data``."""
    return option or os.environ.get("CIFAR10_ROOT") or "data"


def load(root: str, split: Split, *, download: bool = False) -> DataSet:
    """The split of the data set found under ``root``, or of the built-in ``"digits"``.

    Raises
    ------
    TrainingError
        If ``root`` is missing, empty, of another layout, or damaged.
    """
    if root == "digits":
        return _digits(split)
    folder = Path(root)
    readers = (_torchvision_reader, _parquet_reader, _folder_reader)
    for find in readers:
        if folder.is_dir() and (read := find(folder, split)) is not None:
            return read()
    if download:
        _download(folder)
        return load(root, split)
    state = "is missing" if not folder.exists() else "is empty" if _is_empty(folder) else "has another layout"
    raise TrainingError(
        f"data folder {root} {state}: expected {_LAYOUTS}; point --data or CIFAR10_ROOT at one, "
        "fetch CIFAR-10 with `python -m training.run --data DIR --download`, or use the built-in `--data digits`"
    )


def load_both(root: str, side: int, *, download: bool = False) -> tuple[DataSet, DataSet | None]:
    """The train split and, if there is one, the test split, of the same classes.

    Raises
    ------
    TrainingError
        As `load`, or if the two have other classes.
    """
    train, test = (load(root, split, download=download) for split in ("train", "test"))
    if train.classes != test.classes:
        raise TrainingError(f"{root}: expected one set of classes, not {train.classes} and {test.classes}")
    return train, test


def reads(root: str, split: str) -> bool:
    """Whether `load` reads what is there: images of 32×32 pixels in a known layout, or nothing at all.

    Decided by the header of the first image alone; False leaves other sizes, splits and layouts to other readers.
    """
    folder = Path(root)
    if root == "digits" or not folder.exists() or _is_empty(folder):
        return True
    if split not in ("train", "test") or not folder.is_dir():
        return False
    from torchvision.datasets import CIFAR10

    if folder.name == CIFAR10.base_folder or (folder / CIFAR10.base_folder).is_dir():
        return True
    if shards := _parquet_files(folder, split):
        return _first_is_small(shards[0])
    first = next((p for p in sorted((folder / split).glob("*/*")) if p.suffix.lower() in _IMAGE_SUFFIXES), None)
    return first is not None and _side(first) == (SIDE, SIDE)


def _first_is_small(shard: Path) -> bool:
    import polars as pl

    try:
        table = pl.scan_parquet(shard)
        if not {"img", "label"} <= set(table.collect_schema()):
            return False
        cell = table.select("img").head(1).collect()["img"]
        return len(cell) > 0 and _side(io.BytesIO(cell.struct.field("bytes")[0])) == (SIDE, SIDE)
    except (pl.exceptions.PolarsError, OSError, TypeError):  # the reader of the file reports it
        return True


def _side(source: Path | io.BytesIO) -> tuple[int, int] | None:
    """Width and height from the header of an image; None if it has none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source, formats=FORMATS) as image:
            return image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        return None


def _parquet_files(folder: Path, split: str) -> list[Path]:
    return sorted(folder.glob(f"{split}-*.parquet")) or sorted(folder.glob(f"*/{split}-*.parquet"))


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _digits(split: Split) -> DataSet:
    import cv2
    from sklearn.datasets import load_digits

    source = load_digits()
    grey = (source.images * (255 / 16)).astype(np.uint8)
    images = np.stack([cv2.resize(g, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for g in grey])
    train, test = split_validation(source.target.astype(np.int64), 0.5, seed=0)
    rows = train if split == "train" else test
    return DataSet(
        name="digits",
        split=split,
        images=np.repeat(images[rows][..., None], 3, axis=3),
        labels=source.target[rows].astype(np.int64),
        classes=tuple(str(digit) for digit in range(10)),
    )


class _ArrayUnpickler(pickle.Unpickler):
    """Reads dictionaries of NumPy arrays, and refuses every other global name."""

    _allowed: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise TrainingError(f"refused to unpickle {module}.{name}: a CIFAR-10 batch holds arrays only")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _torchvision_reader(folder: Path, split: Split) -> Callable[[], DataSet] | None:
    from torchvision.datasets import CIFAR10

    root = folder if folder.name == CIFAR10.base_folder else folder / CIFAR10.base_folder
    if not root.is_dir():
        return None

    def read() -> DataSet:
        images, labels = [], []
        for name, checksum in CIFAR10.train_list if split == "train" else CIFAR10.test_list:
            path = root / name
            content = path.read_bytes() if path.is_file() else b""
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != checksum:
                state = "has another checksum than the published file" if content else "is missing"
                raise TrainingError(f"{path} {state}: fetch it again with --download into an empty folder")
            batch = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
            images.append(np.asarray(batch["data"], np.uint8).reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
            labels.append(np.asarray(batch["labels"], np.int64))
        pixels = np.ascontiguousarray(np.concatenate(images))
        return DataSet("cifar10", split, pixels, np.concatenate(labels), CIFAR10_CLASSES)

    return read


def _decode(content: bytes | Path, where: str) -> Images:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise TrainingError(f"{where} is not a readable image ({error}): replace or remove it") from error
    if pixels.shape != (SIDE, SIDE, 3):
        height, width = pixels.shape[:2]
        raise TrainingError(f"{where}: expected {SIDE}×{SIDE} pixels, not {width}×{height}: resize the images first")
    return pixels


def _described(path: Path) -> tuple[str, ...] | None:
    """Class names in the metadata that Hugging Face's writer stores in a Parquet file; None if there are none."""
    import polars as pl

    text = pl.read_parquet_metadata(path).get("huggingface")
    try:
        names = json.loads(text)["info"]["features"]["label"]["names"] if text else None
    except (ValueError, KeyError, TypeError, RecursionError):  # other metadata names no classes
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None


def _parquet_classes(folder: Path) -> tuple[str, ...]:
    """Class names of all splits: from the files' metadata, else from ``classes.txt``, else the labels' numbers."""
    import polars as pl

    files = [path for split in ("train", "test") for path in _parquet_files(folder, split)]
    if described := next(filter(None, map(_described, files)), None):
        return described
    if (folder / CLASS_FILE).is_file():
        lines = (folder / CLASS_FILE).read_text(encoding="utf-8").splitlines()
        return tuple(line.strip() for line in lines if line.strip())
    try:
        last = pl.scan_parquet(files).select(pl.col("label").max()).collect().item()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TrainingError(
            f"{folder}: the labels of all splits can't be read ({error}): copy the files again"
        ) from error
    return tuple(map(str, range(int(last or 0) + 1)))


def _parquet_reader(folder: Path, split: Split) -> Callable[[], DataSet] | None:
    files = _parquet_files(folder, split)
    if not files:
        return None

    def read() -> DataSet:
        import polars as pl

        images, labels = [], []
        for path in files:
            try:
                table = pl.read_parquet(path)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise TrainingError(f"{path} is not a readable parquet file ({error}): copy it again") from error
            if not {"img", "label"} <= set(table.columns):
                raise TrainingError(f"{path}: expected the columns img and label, not {', '.join(table.columns)}")
            cells = table["img"].struct.field("bytes")
            images += [_decode(cell, f"{path} row {row}") for row, cell in enumerate(cells)]
            labels.append(table["label"].to_numpy())
        target = np.concatenate(labels).astype(np.int64)
        classes = _parquet_classes(folder)
        if len(target) and not 0 <= target.min() <= target.max() < len(classes):
            raise TrainingError(
                f"{folder}: expected labels from 0 to {len(classes) - 1}, not {target.min()} to {target.max()}: "
                f"name all classes in {folder / CLASS_FILE}, one a line"
            )
        return DataSet(
            "cifar10" if classes == CIFAR10_CLASSES else folder.name, split, np.stack(images), target, classes
        )

    return read


def _folder_reader(folder: Path, split: Split) -> Callable[[], DataSet] | None:
    root = folder / split
    names = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    if len(names) < 2:
        return None

    def read() -> DataSet:
        paths = [
            (path, label)
            for label, name in enumerate(names)
            for path in sorted((root / name).iterdir())
            if path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file()  # no folder, pipe or device of that name
        ]
        if not paths:
            raise TrainingError(f"{root} has class folders but no images: add {', '.join(sorted(_IMAGE_SUFFIXES))}")
        images = np.stack([_decode(path, str(path)) for path, _ in paths])
        return DataSet(folder.name, split, images, np.array([label for _, label in paths], np.int64), tuple(names))

    return read


def _download(folder: Path) -> None:
    from torchvision.datasets import CIFAR10, utils

    try:  # not through CIFAR10's constructor, which would unpickle what it fetched
        utils.download_and_extract_archive(CIFAR10.url, str(folder), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f"could not download CIFAR-10 into {folder} ({error}): check the network, point --data at a copy "
            f"({_LAYOUTS}), or use the built-in `--data digits`"
        ) from error
