"""Data sets: finding them, and reading their splits."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

from training.dataset import SIDE, DataSet, Split, digest_of
from training.errors import TrainingError
from training.folders import folder_reader, split_folder
from training.pixels import size_of
from training.readers import BATCHES, parquet_classes, parquet_files, parquet_reader, read_digits, torchvision_reader

_LAYOUTS = (
    "torchvision's cifar-10-batches-py, Hugging Face parquet (plain_text/train-*.parquet), "
    "or class folders (train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png)"
)


def data_root(option: str | None) -> str:
    """Where the data is: the option, else ``CIFAR10_ROOT``, else ``./data``."""
    return option or os.environ.get("CIFAR10_ROOT") or "data"


def load(root: str, split: Split, side: int = SIDE, *, download: bool = False) -> DataSet:
    """The split of the data set found under ``root``, or of the built-in ``"digits"``.

    ``side`` is what images in class folders are resized to, unless all of them have 32×32 pixels.

    Raises
    ------
    TrainingError
        If ``root`` is missing, empty, of another layout, or damaged.
    """
    if root == "digits":
        return read_digits(split)
    folder = Path(root)
    if folder.is_dir():
        readers = (torchvision_reader(folder, split), parquet_reader(folder, split), folder_reader(folder, split, side))
        if read := next(filter(None, readers), None):
            return read()
    if download:
        _download(folder)
        return load(root, split, side)
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
    train = load(root, "train", side, download=download)
    folder = Path(root)
    if train.notes and split_folder(folder, "test") is None:
        return train, None
    test = load(root, "test", side)
    if train.classes != test.classes:
        raise TrainingError(f"{root}: expected one set of classes, not {train.classes} and {test.classes}")
    return train, test


@dataclass(frozen=True)
class Shards:
    """The Parquet files of a split, the class names of all splits, and the split's digest once it is asked for."""

    files: list[Path]
    classes: tuple[str, ...]
    split: str

    def digest(self) -> str:
        """`DataSet.fingerprint` of the split."""
        return digest_of(self.files, self.classes, self.split)


def parquet_shards(root: str, split: str) -> Shards | None:
    """What `load` would read from Parquet files, without reading the images; None if it reads something else.

    Raises
    ------
    TrainingError
        If the labels can't be read.
    """
    folder = Path(root)
    if root == "digits" or not folder.is_dir() or (BATCHES in (folder.name, *(p.name for p in folder.iterdir()))):
        return None
    files = parquet_files(folder, split)
    return Shards(files, parquet_classes(folder), split) if files else None


def reads(root: str, split: str) -> bool:
    """Whether `load` is to read what is there: the digits, CIFAR-10's published files, or nothing at all.

    False leaves class folders and other layouts to other readers. Of Parquet files the first image's header decides.
    """
    folder = Path(root)
    if root == "digits" or not folder.exists() or _is_empty(folder):
        return True
    if split not in ("train", "test") or not folder.is_dir():
        return False
    if folder.name == BATCHES or (folder / BATCHES).is_dir():
        return True
    shards = parquet_files(folder, split)
    return bool(shards) and _first_is_small(shards[0])


def _first_is_small(shard: Path) -> bool:
    import polars as pl

    try:
        table = pl.scan_parquet(shard)
        if not {"img", "label"} <= set(table.collect_schema()):
            return False
        cell = table.select("img").head(1).collect()["img"]
        return len(cell) > 0 and size_of(io.BytesIO(cell.struct.field("bytes")[0])) == (SIDE, SIDE)
    except (pl.exceptions.PolarsError, OSError, TypeError):  # the reader of the file reports it
        return True


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _download(folder: Path) -> None:
    from torchvision.datasets import CIFAR10, utils

    try:  # not through CIFAR10's constructor, which would unpickle what it fetched
        utils.download_and_extract_archive(CIFAR10.url, str(folder), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f"could not download CIFAR-10 into {folder} ({error}): check the network, point --data at a copy "
            f"({_LAYOUTS}), or use the built-in `--data digits`"
        ) from error
