"""Data sets in published files: CIFAR-10 as torchvision and Hugging Face store it, and scikit-learn's digits."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from training.dataset import SIDE, DataSet, Split, digest_of, split_validation
from training.errors import TrainingError
from training.pixels import decode

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLASS_FILE, BATCHES = "classes.txt", "cifar-10-batches-py"


def parquet_files(folder: Path, split: str) -> list[Path]:
    """The Parquet files of a split in a folder, or in a folder within it."""
    return sorted(folder.glob(f"{split}-*.parquet")) or sorted(folder.glob(f"*/{split}-*.parquet"))


def read_digits(split: Split) -> DataSet:
    """Scikit-learn's handwritten digits, enlarged from 8 to 32 pixels; half of them are the test split."""
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


def torchvision_reader(folder: Path, split: Split) -> Callable[[], DataSet] | None:
    """What reads torchvision's ``cifar-10-batches-py`` in a folder; None if it is not there."""
    root = folder if folder.name == BATCHES else folder / BATCHES
    if not root.is_dir():
        return None

    def read() -> DataSet:
        from torchvision.datasets import CIFAR10

        images, labels, paths = [], [], []
        for name, checksum in CIFAR10.train_list if split == "train" else CIFAR10.test_list:
            path = root / name
            paths.append(path)
            content = path.read_bytes() if path.is_file() else b""
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != checksum:
                state = "has another checksum than the published file" if content else "is missing"
                raise TrainingError(f"{path} {state}: fetch it again with --download into an empty folder")
            batch = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
            images.append(np.asarray(batch["data"], np.uint8).reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
            labels.append(np.asarray(batch["labels"], np.int64))
        pixels = np.ascontiguousarray(np.concatenate(images))
        source = digest_of(paths, CIFAR10_CLASSES, split)
        return DataSet("cifar10", split, pixels, np.concatenate(labels), CIFAR10_CLASSES, source)

    return read


def _described(path: Path) -> tuple[str, ...] | None:
    """Class names in the metadata that Hugging Face's writer stores in a Parquet file; None if there are none."""
    import polars as pl

    text = pl.read_parquet_metadata(path).get("huggingface")
    try:
        names = json.loads(text)["info"]["features"]["label"]["names"] if text else None
    except (ValueError, KeyError, TypeError, RecursionError):  # other metadata names no classes
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None


def parquet_classes(folder: Path) -> tuple[str, ...]:
    """Class names of all splits: from the files' metadata, else from ``classes.txt``, else the labels' numbers."""
    import polars as pl

    files = [path for split in ("train", "test") for path in parquet_files(folder, split)]
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


def parquet_reader(folder: Path, split: Split) -> Callable[[], DataSet] | None:
    """What reads the Parquet files of a split, with the columns ``img`` and ``label``; None if there are none."""
    files = parquet_files(folder, split)
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
            images += [decode(cell, f"{path} row {row}", SIDE) for row, cell in enumerate(cells)]
            labels.append(table["label"].to_numpy())
        target = np.concatenate(labels).astype(np.int64)
        classes = parquet_classes(folder)
        if len(target) and not 0 <= target.min() <= target.max() < len(classes):
            raise TrainingError(
                f"{folder}: expected labels from 0 to {len(classes) - 1}, not {target.min()} to {target.max()}: "
                f"name all classes in {folder / CLASS_FILE}, one a line"
            )
        name = "cifar10" if classes == CIFAR10_CLASSES else folder.name
        return DataSet(name, split, np.stack(images), target, classes, digest_of(files, classes, split))

    return read
