import hashlib
import io
import json
import os
import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from tests.factories import CLASSES, data_set, image_folder
from training import data, dataset, readers
from training.errors import TrainingError


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def batches(root: Path, monkeypatch: pytest.MonkeyPatch, content: object) -> Path:
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    path = folder / "test_batch"
    path.write_bytes(pickle.dumps(content, protocol=2))
    checksum = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", checksum]])
    return root


def test_torchvision_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = data_set(9, "test")
    rows = source.images.transpose(0, 3, 1, 2).reshape(9, -1)
    root = batches(tmp_path, monkeypatch, {"data": rows, "labels": source.labels.tolist()})
    read = data.load(str(root), "test")
    np.testing.assert_array_equal(read.images, source.images)
    np.testing.assert_array_equal(read.labels, source.labels)
    assert read.classes == readers.CIFAR10_CLASSES


def test_changed_batch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = batches(tmp_path, monkeypatch, {"data": np.zeros((1, 3072), np.uint8), "labels": [0]})
    with (root / CIFAR10.base_folder / "test_batch").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(TrainingError, match="other checksum|another checksum"):
        data.load(str(root), "test")


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


def test_foreign_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = batches(tmp_path, monkeypatch, {"data": Malicious(), "labels": [0]})
    with pytest.raises(TrainingError, match="refused to unpickle"):
        data.load(str(root), "test")
    assert not (tmp_path / "pwned").exists()


def test_parquet_layout(tmp_path: Path) -> None:
    source = data_set(9, "train")
    cells = [{"bytes": png(image), "path": None} for image in source.images]
    (tmp_path / "plain_text").mkdir()
    frame = pl.DataFrame({"img": cells, "label": source.labels})
    frame.write_parquet(tmp_path / "plain_text" / "train-00000-of-00001.parquet")
    read = data.load(str(tmp_path), "train")
    np.testing.assert_array_equal(read.images, source.images)
    np.testing.assert_array_equal(read.labels, source.labels)


@pytest.mark.parametrize("described", [True, False])
def test_parquet_is_called_what_it_says_of_itself(tmp_path: Path, described: bool) -> None:
    source = data_set(9, "train")
    cells = [{"bytes": png(image), "path": None} for image in source.images]
    names = {"info": {"features": {"label": {"names": ["ant", "bee", "cow"], "_type": "ClassLabel"}}}}
    metadata = {"huggingface": json.dumps(names)} if described else None
    folder = tmp_path / "insects"
    folder.mkdir()
    frame = pl.DataFrame({"img": cells, "label": source.labels % 3})
    frame.write_parquet(folder / "train-00000-of-00001.parquet", metadata=metadata)
    read = data.load(str(folder), "train")
    assert read.name == "insects"
    assert read.classes == (("ant", "bee", "cow") if described else ("0", "1", "2"))


def test_splits_of_a_parquet_folder_agree_on_their_classes(tmp_path: Path) -> None:
    """Without a description the count is that of both splits; ``classes.txt`` names them."""
    source = data_set(9, "train")
    cells = [{"bytes": png(image), "path": None} for image in source.images]
    for split, most in (("train", 3), ("test", 2)):
        frame = pl.DataFrame({"img": cells, "label": np.arange(9) % most})
        frame.write_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    assert data.load(str(tmp_path), "train").classes == data.load(str(tmp_path), "test").classes == ("0", "1", "2")
    (tmp_path / "classes.txt").write_text("ant\nbee\ncow\n")
    assert data.load(str(tmp_path), "test").classes == ("ant", "bee", "cow")
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    with pytest.raises(
        TrainingError, match=r"expected labels from 0 to 1, not 0 to 2: name all classes in .*classes\.txt"
    ):
        data.load(str(tmp_path), "train")


def test_folder_layout_keeps_a_stable_order(tmp_path: Path) -> None:
    read = data.load(str(image_folder(tmp_path)), "test")
    assert read.classes == CLASSES
    assert read.labels.tolist() == sorted(read.labels.tolist())
    assert read.fingerprint == data.load(str(tmp_path), "test").fingerprint


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda root: None, "is missing"),
        (lambda root: root.mkdir(), "is empty"),
        (lambda root: (root / "photos").mkdir(parents=True), "has another layout"),
    ],
)
def test_unusable_folder_names_the_choices(tmp_path: Path, prepare, words: str) -> None:
    prepare(tmp_path / "data")
    with pytest.raises(TrainingError, match=words) as caught:
        data.load(str(tmp_path / "data"), "train")
    for choice in ("cifar-10-batches-py", "parquet", "class folders", "--download", "digits"):
        assert choice in str(caught.value)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "train-0.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(TrainingError, match=r"train-0\.parquet is not a readable parquet"):
        data.load(str(tmp_path), "train")
    root = image_folder(tmp_path / "folders")
    (root / "train" / "ant" / "000.png").write_bytes(b"not an image")
    with pytest.raises(TrainingError, match=r"000\.png is not a readable image"):
        data.load(str(root), "train")


def photos(root: Path, splits: tuple[str, ...] = ("training", "val")) -> Path:
    """Photos of several sizes in class folders, each of the colour of its class."""
    for split in splits:
        for k, name in enumerate(("red", "green")):
            folder = root / split / name / "nested"
            folder.mkdir(parents=True)
            for row, size in enumerate([(90, 60), (50, 70), (64, 64), (200, 100), (70, 71), (80, 40)]):
                colour = [30, 30, 30]
                colour[k] = 200 + row
                Image.new("RGB", size, tuple(colour)).save(folder / f"{row}.png")
            (folder / "._0.png").write_bytes(b"what a Mac leaves")
    return root


def test_folders_of_any_size_are_resized_and_say_so(tmp_path: Path) -> None:
    train, test = data.load_both(str(photos(tmp_path / "photos")), 48)
    assert test is not None
    assert train.images.shape == test.images.shape == (12, 48, 48, 3)
    assert train.classes == ("green", "red")
    assert "resized to cover 48×48 pixels" in train.notes[0]
    assert (train.images[:, 0, 0].argmax(1) == 1 - train.labels).all()


def test_a_folder_of_classes_alone_has_no_test_split(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", ("",))
    train, test = data.load_both(str(root), 40)
    assert (len(train), test) == (12, None)


def test_pixels_and_digest_are_those_that_the_workbench_reads(tmp_path: Path) -> None:
    from workbench.images.load import load_images
    from workbench.models.crops import crop

    root = photos(tmp_path / "photos")
    generator = np.random.default_rng(0)
    for path in root.rglob("[0-9].png"):
        size = Image.open(path).size
        Image.fromarray(generator.integers(0, 255, (size[1], size[0], 3), np.uint8)).save(path)
    read, seen = data.load(str(root), "test", 48), load_images(root, "val")
    assert read.fingerprint == seen.fingerprint
    np.testing.assert_array_equal(read.labels, seen.labels)
    for ours, theirs in zip(read.images, seen.pixels, strict=True):
        np.testing.assert_array_equal(ours, crop(theirs, 48, 1.0))


def test_deep_images_and_strange_classes_are_refused(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    (root / "val" / "blue").mkdir()
    with pytest.raises(TrainingError, match=r"val/blue is no class of .*: expected one of green, red"):
        data.load(str(root), "test")
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(root / "training" / "red" / "deep.png")
    with pytest.raises(TrainingError, match=r"deep\.png has more than 8 bits a channel: convert it"):
        data.load(str(root), "train")


def test_offline_download_says_what_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", offline)
    with pytest.raises(TrainingError, match="could not download CIFAR-10 .*no route.*digits"):
        data.load(str(tmp_path), "train", download=True)


def test_digits_are_complete_and_disjoint() -> None:
    train, test = data.load("digits", "train"), data.load("digits", "test")
    assert len(train) + len(test) == 1797
    assert train.images.shape[1:] == (32, 32, 3)
    assert train.fingerprint != test.fingerprint


def test_channel_statistics_equal_numpy() -> None:
    images = data_set(20).images
    mean, deviation = dataset.channel_statistics(images)
    scaled = images.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, scaled.mean(0), rtol=1e-12)
    np.testing.assert_allclose(deviation, scaled.std(0), rtol=1e-10)


def test_validation_split_is_stratified_and_repeatable() -> None:
    labels = np.repeat(np.arange(10), 100)
    train, validation = dataset.split_validation(labels, 0.1, 0)
    assert np.bincount(labels[validation]).tolist() == [10] * 10
    assert sorted([*train, *validation]) == list(range(1000))
    np.testing.assert_array_equal(validation, dataset.split_validation(labels, 0.1, 0)[1])


def test_where_the_data_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIFAR10_ROOT", raising=False)
    assert data.data_root(None) == "data"
    monkeypatch.setenv("CIFAR10_ROOT", "elsewhere")
    assert data.data_root(None) == "elsewhere"
    assert data.data_root("given") == "given"
