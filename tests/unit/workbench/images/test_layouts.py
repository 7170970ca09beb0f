"""Image sets as people have them: splits under other names, tables of other machines, links, tars, the Hub's."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset, random_split
from torchvision.datasets import ImageFolder

from workbench.errors import DataError
from workbench.images import from_arrays, from_dataset, load_images
from workbench.images.folders import from_table
from workbench.images.reading import Reading

RNG = np.random.default_rng(0)
CLASSES = ("cat", "dog")


def picture(path: Path, kind: str | None = None, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (8, 10, 3), np.uint8)).save(path, kind, **options)


def splits(root: Path, *names: str) -> None:
    for name in names:
        for label in CLASSES:
            for k in range(2):
                picture(root / name / label / f"{k}.png")


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (("train", "val"), None, "val"),
        (("train", "val", "test"), None, "test"),
        (("train", "valid"), "val", "val"),
        (("Training", "Testing"), "test", "test"),
        (("Training", "Testing"), "train", "train"),
        (("train", "val", "test"), "validation", "val"),
        (("train",), None, "train"),
        (("TRAIN", "Validation"), None, "val"),
    ],
)
def test_splits_under_other_names(tmp_path: Path, names: tuple[str, ...], wanted: str | None, chosen: str) -> None:
    splits(tmp_path, *names)
    found = load_images(tmp_path, wanted)
    assert (found.classes, len(found), found.split) == (CLASSES, 4, chosen)
    assert any("is read; there are also" in note for note in found.notes) == (
        wanted is None and chosen != "test" and len(names) > 1
    )


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    splits(tmp_path, "train", "val")
    with pytest.raises(DataError, match="no split 'test': expected one of train, val"):
        load_images(tmp_path, "test")


def test_classes_called_train_and_test_are_classes(tmp_path: Path) -> None:
    for label in ("train", "test", "boat"):
        picture(tmp_path / label / "0.png")
    assert load_images(tmp_path).classes == ("boat", "test", "train")


def test_files_left_aside_are_counted_by_kind(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "c.jfif", "d.ppm", "e.avif", "f.jp2", "i.tga", "noextension"):
        kinds = {".jfif": "JPEG", ".tga": "TGA", "": "PNG"}
        for label in CLASSES:
            picture(tmp_path / label / name, kinds.get(Path(name).suffix))
    (tmp_path / "cat" / "._a.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "__MACOSX").mkdir()
    found = load_images(tmp_path)
    assert len(found) == 12
    assert found.notes == ("5 files beside the images are not read: 1 .db, 2 .tga, 2 no extension.",)
    for row in found.rows:
        assert found.image(int(row)).shape == (8, 10, 3)


def table(root: Path, paths: list[str], column: str = "path", labels: list[object] | None = None) -> Path:
    for label in CLASSES:
        picture(root / "images" / label / "0.png")
    pd.DataFrame({column: paths, "label": labels or ["cat", "dog"]}).to_csv(root / "t.csv", index=False)
    return root / "t.csv"


@pytest.mark.parametrize(
    "paths",
    [
        ["images/cat/0.png", "images/dog/0.png"],
        ["images\\cat\\0.png", "images\\dog\\0.png"],
        ["C:\\data\\cat\\0.png", "C:\\data\\dog\\0.png"],
        ["/home/someone/pets/cat/0.png", "/home/someone/pets/dog/0.png"],
        ["cat/0", "dog/0"],
    ],
    ids=["plain", "backslashes", "a drive", "another machine", "no extension"],
)
@pytest.mark.parametrize("column", ["path", "filename", "image_id"])
def test_paths_of_other_machines(tmp_path: Path, paths: list[str], column: str) -> None:
    found = load_images(table(tmp_path, paths, column))
    wanted = [np.asarray(Image.open(tmp_path / "images" / label / "0.png")) for label in CLASSES]
    for row in range(2):
        np.testing.assert_array_equal(found.image(row), wanted[row])
    assert bool(found.notes) == (not paths[0].startswith("images"))


def test_kaggle_ids_and_what_is_ambiguous(tmp_path: Path) -> None:
    for k in range(3):
        picture(tmp_path / "train_images" / f"img{k}.png")
    pd.DataFrame({"id": [f"img{k}" for k in range(3)], "label": [0, 1, 0]}).to_csv(tmp_path / "train.csv", index=False)
    found = load_images(tmp_path / "train.csv")
    assert len(found) == 3
    np.testing.assert_array_equal(found.image(1), np.asarray(Image.open(tmp_path / "train_images" / "img1.png")))
    assert len(from_table(tmp_path / "train.csv", tmp_path / "train_images")) == 3
    picture(tmp_path / "test_images" / "img1.png")
    with pytest.raises(DataError, match=r"row 1: 'img1' matches 2 files"):
        load_images(tmp_path / "train.csv")
    (tmp_path / "train_images" / "img2.png").unlink()
    (tmp_path / "test_images" / "img1.png").unlink()
    with pytest.raises(DataError, match=r"row 2: 'img2' matches no file"):
        load_images(tmp_path / "train.csv")


@pytest.mark.parametrize("text", ["../secret.png", "/etc/passwd", "a\0b", "", "."])
def test_no_path_leads_out(tmp_path: Path, text: str) -> None:
    picture(tmp_path / "secret.png")
    picture(tmp_path / "in" / "a.png")
    pl.DataFrame({"path": ["a.png", text], "label": ["cat", "dog"]}).write_parquet(tmp_path / "in" / "t.parquet")
    with pytest.raises(DataError, match="leads out of"):
        load_images(tmp_path / "in" / "t.parquet")


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["001", "002"], None, ("001", "002")),
        ([1, 2], None, ("1", "2")),
        ([0, 1], None, ("0", "1")),
        ([1.0, 0.0], None, ("0", "1")),
        ([0, 1], {"cat": 0, "dog": 1}, CLASSES),
    ],
)
def test_labels_of_tables(tmp_path: Path, labels: list, classes: Any, expected: tuple[str, ...]) -> None:
    found = load_images(table(tmp_path, ["images/cat/0.png", "images/dog/0.png"], labels=labels), classes=classes)
    assert found.classes == expected
    assert sorted(found.labels.tolist()) == [0, 1]


def test_links_out_of_the_folder_are_an_option(tmp_path: Path) -> None:
    inside, blobs = tmp_path / "snapshot", tmp_path / "blobs"
    for label in CLASSES:
        picture(blobs / f"{label}.png")
        (inside / "val" / label).mkdir(parents=True)
        (inside / "val" / label / "0.png").symlink_to(blobs / f"{label}.png")
    with pytest.raises(DataError, match="follow_links=True"):
        load_images(inside, "val")
    found = load_images(inside, "val", follow_links=True)
    np.testing.assert_array_equal(found.image(0), np.asarray(Image.open(blobs / "cat.png")))
    assert len(found.fingerprint) == 64
    (inside / "list.csv").write_text("path,label\nval/cat/0.png,cat\nval/dog/0.png,dog\n")
    with pytest.raises(DataError, match="allow links with follow_links=True"):
        load_images(inside / "list.csv")
    assert len(load_images(inside / "list.csv", follow_links=True)) == 2
    (inside / "list.csv").write_text("path,label\n../blobs/cat.png,cat\nval/dog/0.png,dog\n")
    with pytest.raises(DataError, match="leads out of"):
        load_images(inside / "list.csv", follow_links=True)


def cells() -> pl.DataFrame:
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (8, 10, 3), np.uint8)).save(stream, "PNG")
    return pl.DataFrame({"image": [{"bytes": stream.getvalue(), "path": "x.png"}] * 4, "label": [0, 1, 0, 1]})


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/test-00000-of-00001.parquet", None),
        ("default/test/0000.parquet", None),
        ("test.parquet", "test"),
        ("data/validation-00000-of-00001.parquet", "val"),
        ("data/valid.parquet", None),
    ],
)
def test_layouts_of_the_hub(tmp_path: Path, name: str, split: str | None) -> None:
    other = name.replace("validation", "train").replace("valid", "train").replace("test", "train")
    for path, rows in ((name, 4), (other, 2)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        cells().head(rows).write_parquet(tmp_path / path)
    assert len(load_images(tmp_path, split)) == 4
    assert len(load_images(tmp_path, "train")) == 2
    assert load_images(tmp_path, split).image(3).shape == (8, 10, 3)


def saved(folder: Path) -> None:
    folder.mkdir(parents=True)
    cells().write_ipc_stream(folder / "data-00000-of-00001.arrow")
    names = {"label": {"names": list(CLASSES), "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": names}))


def test_what_save_to_disk_writes(tmp_path: Path) -> None:
    saved(tmp_path / "one")
    found = load_images(tmp_path / "one")
    assert (found.classes, len(found), found.image(0).shape) == (CLASSES, 4, (8, 10, 3))
    for name in ("train", "validation"):
        saved(tmp_path / "all" / name)
    (tmp_path / "all" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    found = load_images(tmp_path / "all")
    assert (found.classes, found.split) == (CLASSES, "val")
    assert "'validation' is read; there are also train" in found.notes[0]
    (tmp_path / "all" / "dataset_dict.json").write_text("[" * 50_000)
    with pytest.raises(DataError, match="damaged"):
        load_images(tmp_path / "all")


def tar(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def encoded(k: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 10, 3), 20 * k, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("label", ["cls", "name", "json"])
def test_tars_of_webdataset(tmp_path: Path, label: str) -> None:
    for number in range(2):
        members: dict[str, bytes] = {}
        for k in range(3):
            key = f"a/{number}{k}"
            members[f"{key}.png"] = encoded(3 * number + k)
            given = {"cls": str(k % 2), "name": CLASSES[k % 2], "json": json.dumps({"label": k % 2})}[label]
            members[f"{key}.{'json' if label == 'json' else 'cls'}"] = given.encode()
        tar(tmp_path / f"train-{number:04d}.tar", members)
    found = load_images(tmp_path, "train")
    assert found.classes == (CLASSES if label == "name" else ("0", "1"))
    np.testing.assert_array_equal(found.labels, [0, 1, 0, 0, 1, 0])
    assert [int(found.image(k)[0, 0, 0]) for k in range(6)] == [0, 20, 40, 60, 80, 100]
    assert len(load_images(tmp_path / "train-0000.tar")) == 3


def test_bad_tars(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"x")
    with pytest.raises(DataError, match="damaged or compressed"):
        load_images(tmp_path / "x.tar")
    with pytest.raises(DataError, match=r"0 has no label: expected 0\.cls"):
        load_images(tar(tmp_path / "y.tar", {"0.png": encoded(1)}))
    with pytest.raises(DataError, match="holds no image"):
        load_images(tar(tmp_path / "z.tar", {"0.cls": b"1"}))


def test_what_fiftyone_exports(tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / "data" / f"{k}.png")
    told = {"classes": list(CLASSES), "labels": {str(k): k % 2 for k in range(4)}}
    (tmp_path / "labels.json").write_text(json.dumps(told))
    found = load_images(tmp_path)
    assert (found.classes, found.labels.tolist()) == (CLASSES, [0, 1, 0, 1])
    assert found.image(3).shape == (8, 10, 3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: (d / "a.zip", (d / "a.zip").write_bytes(b"PK"))[0], "unpack it and name its folder"),
        (lambda d: (picture(d / "0.png"), d)[1], "without class folders; list their paths and labels"),
        (lambda d: [str(d)], "expected one path, not list"),
        (lambda d: d / "none", "is missing"),
    ],
)
def test_what_is_no_image_set_is_named(tmp_path: Path, make: Callable[[Path], Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_images(make(tmp_path))


def test_data_sets_keep_their_names_through_wrappers(tmp_path: Path) -> None:
    splits(tmp_path, "f")
    folder = ImageFolder(tmp_path / "f")
    first, _ = random_split(folder, [0.5, 0.5], torch.Generator().manual_seed(0))
    for wrapped in (
        Subset(folder, [2, 0]),
        Subset(folder, [0, 1]),
        first,
        ConcatDataset([folder, Subset(folder, [3])]),
    ):
        found = from_dataset(wrapped)
        assert found.classes == CLASSES
        assert found.labels.tolist() == [wrapped[k][1] for k in range(len(wrapped))]
        np.testing.assert_array_equal(found.image(1), np.asarray(wrapped[1][0]))


X = torch.randint(0, 256, (4, 3, 8, 10), dtype=torch.uint8)


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([0, 1, 0, 1]),
        torch.tensor([0.0, 1.0, 0.0, 1.0]),
        torch.tensor([[0], [1], [0], [1]]),
        torch.tensor([False, True, False, True]),
        torch.eye(2)[[0, 1, 0, 1]],
        torch.eye(2, dtype=torch.long)[[0, 1, 0, 1]],
    ],
    ids=["numbers", "floats", "column", "bool", "one-hot", "one-hot integers"],
)
def test_labels_in_memory(labels: torch.Tensor) -> None:
    for found in (
        from_dataset(TensorDataset(X, labels), CLASSES),
        from_dataset(
            [{"image": x.permute(1, 2, 0).numpy(), "label": y} for x, y in zip(X, labels, strict=True)], CLASSES
        ),
        from_arrays(X.permute(0, 2, 3, 1).numpy(), labels.numpy(), CLASSES),
        from_arrays(X, labels, CLASSES),
    ):
        assert (found.labels.tolist(), found.classes) == ([0, 1, 0, 1], CLASSES)
        np.testing.assert_array_equal(found.image(2), X[2].permute(1, 2, 0).numpy())


class HubDataset:
    """What `datasets.Dataset` gives: rows as records, columns by name."""

    def __init__(self) -> None:
        kinds = {"Image": type("Image", (), {}), "ClassLabel": type("ClassLabel", (), {"names": list(CLASSES)})}
        self.features = {"img": kinds["Image"](), "label": kinds["ClassLabel"]()}

    def __len__(self) -> int:
        return 4

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return [0, 1, 0, 1]
        return {"img": Image.fromarray(X[key].permute(1, 2, 0).numpy()), "label": key % 2}


def test_data_sets_of_hugging_face() -> None:
    found = from_dataset(HubDataset())
    assert (found.classes, found.labels.tolist()) == (CLASSES, [0, 1, 0, 1])
    np.testing.assert_array_equal(found.image(3), X[3].permute(1, 2, 0).numpy())
    with pytest.raises(DataError, match="one split, not a dict of train, test"):
        from_dataset({"train": HubDataset(), "test": HubDataset()})


class Endless(IterableDataset):
    def __iter__(self) -> Any:
        return iter(())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DataLoader(TensorDataset(X, torch.zeros(4))), r"from_dataset\(loader\.dataset\)"),
        (Endless, "put them into a list first"),
        (lambda: [{"picture": 1}], "expected one of image"),
        (lambda: TensorDataset(X, torch.ones(4, 2)), "or one-hot rows"),
        (lambda: TensorDataset(X.float() / 100 - 1, torch.tensor([0, 1, 0, 1])), None),
    ],
)
def test_what_is_no_data_set_is_named(make: Callable[[], Dataset], words: str | None) -> None:
    if words is None:  # normalised: only the pixels before help, no range
        with pytest.raises(DataError, match="before any normalisation$"):
            from_dataset(make()).image(0)
        return
    with pytest.raises(DataError, match=words):
        from_dataset(make())


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(path, exif=exif)


def test_two_doors_one_picture_one_switch(tmp_path: Path) -> None:
    for label in CLASSES:
        turned(tmp_path / label / "0.png")
    folder = ImageFolder(tmp_path)
    for orient, shape in ((False, (8, 10, 3)), (True, (10, 8, 3))):
        doors = load_images(tmp_path, orient=orient), from_dataset(folder, orient=orient)
        for found in doors:
            assert found.image(0).shape == shape
        np.testing.assert_array_equal(doors[0].image(1), doors[1].image(1))
        assert bool(doors[0].notes) == (not orient)
    assert "2 of 2 files looked at have an EXIF turn" in load_images(tmp_path).notes[0]
    plain, flipped = (load_images(tmp_path, orient=orient) for orient in (False, True))
    assert plain.fingerprint != flipped.fingerprint
    assert Reading.of_remark(flipped.reading) == Reading(orient=True)


def deep(path: Path, bits: int) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.tile(np.linspace(0, 2**bits - 1, 32), (8, 1)).astype(np.uint16)
    Image.fromarray(ramp).save(path)
    return ramp


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_one_range_for_all_images_of_a_set(tmp_path: Path, bits: int) -> None:
    ramps = [deep(tmp_path / label / "0.png", depth) for label, depth in (("cat", bits), ("dog", 9))]
    found = load_images(tmp_path)
    for row, ramp in enumerate(ramps):
        np.testing.assert_allclose(found.image(row)[..., 0], ramp / (2**bits - 1) * 255, atol=0.51)
    assert bool(found.notes) == (bits < 16)
    if found.notes:
        assert f"{bits}-bit data, so 0 to {2**bits - 1}" in found.notes[0]
    full = load_images(tmp_path, range="full")
    np.testing.assert_allclose(full.image(0)[..., 0], ramps[0] / 257, atol=0.51)
    named = load_images(tmp_path, range=(100, 400))
    np.testing.assert_allclose(named.image(1)[..., 0], np.clip((ramps[1] - 100.0) / 300, 0, 1) * 255, atol=0.51)
    assert load_images(tmp_path, range="data").image(1).max() == 255
    array = from_arrays(np.stack(ramps), [0, 1])
    np.testing.assert_array_equal(array.pixels[1], found.image(1))
    for bad in ((5, 5), (1, float("nan")), "black", (1,), 7):
        with pytest.raises(DataError, match="range: expected"):
            load_images(tmp_path, range=bad)


def test_hounsfield_units_need_a_range(tmp_path: Path) -> None:
    values = (3000 * RNG.random((2, 8, 8)) - 1000).astype(np.float32)
    for label, one in zip(CLASSES, values, strict=True):
        (tmp_path / label).mkdir()
        Image.fromarray(one).save(tmp_path / label / "0.tif")
    with pytest.raises(DataError, match=r"range=\(0, 255\)"):
        load_images(tmp_path).image(0)
    shown = load_images(tmp_path, range=(-1000, 2000)).image(1)[..., 0]
    np.testing.assert_allclose(shown, (values[1] + 1000) / 3000 * 255, atol=0.51)


def test_colour_of_12_bits_is_not_black(tmp_path: Path) -> None:
    import cv2

    values = RNG.integers(0, 4096, (8, 10, 3)).astype(np.uint16)
    for label in CLASSES:
        (tmp_path / label).mkdir()
        cv2.imwrite(str(tmp_path / label / "0.png"), values[..., ::-1])
    np.testing.assert_allclose(load_images(tmp_path).image(0), values / 4095 * 255, atol=0.51)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_goes_through_its_window(tmp_path: Path, kind: str) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values = np.tile(np.linspace(0, 4095, 32), (8, 1)).astype(np.uint16)
    found = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    found.update({})
    found.PhotometricInterpretation, found.SamplesPerPixel, found.PixelRepresentation = kind, 1, 0
    found.Rows, found.Columns = values.shape
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 12, 11
    found.RescaleSlope, found.RescaleIntercept, found.WindowCenter, found.WindowWidth = 1, -1024, 40, 400
    found.PixelData = values.tobytes()
    for label in CLASSES:
        (tmp_path / label).mkdir()
        found.save_as(tmp_path / label / "0.dcm", enforce_file_format=True)
    shown = load_images(tmp_path).image(0)[..., 0].astype(float)
    units = values.astype(float) - 1024
    expected = np.clip((units - (40 - 0.5)) / (400 - 1) + 0.5, 0, 1) * 255  # DICOM PS3.3, C.11.2.1.2
    np.testing.assert_allclose(255 - shown if kind == "MONOCHROME1" else shown, expected, atol=1)
    wide = load_images(tmp_path, range=(-1024, 3071)).image(0)[..., 0].astype(float)
    np.testing.assert_allclose(255 - wide if kind == "MONOCHROME1" else wide, values / 4095 * 255, atol=1)
    (tmp_path / "cat" / "1.dcm").write_bytes(b"none")
    with pytest.raises(DataError, match="not a readable DICOM image"):
        load_images(tmp_path).image(1)


def test_other_folders_beside_the_splits_are_no_classes(tmp_path: Path) -> None:
    splits(tmp_path, "train", "test")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m.pt").write_bytes(b"x")
    assert load_images(tmp_path).classes == CLASSES
    assert len(load_images(tmp_path, "testing")) == 4
    with pytest.raises(DataError, match="no split 'val'"):
        load_images(tmp_path, "val")


def test_one_file_is_not_shown_for_two_paths(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.png")
    picture(tmp_path / "dog" / "2.png")
    rows = {"path": ["/x/cat/1.png", "/x/dog/1.png", "/x/dog/2.png"], "label": ["cat", "dog", "dog"]}
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"row 1: '/x/dog/1.png' and '/x/cat/1.png' both match 1.png"):
        load_images(tmp_path / "t.csv")


def test_a_column_of_splits_chooses_the_rows(tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / f"{k}.png")
    rows = {
        "path": [f"{k}.png" for k in range(4)],
        "label": ["cat", "dog"] * 2,
        "split": ["train", "train", "val", "val"],
    }
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    found = load_images(tmp_path / "t.csv")
    assert (found.split, found.rows.tolist()) == ("val", [2, 3])
    assert "'val' is read" in found.notes[0]
    assert load_images(tmp_path / "t.csv", "train").rows.tolist() == [0, 1]
    with pytest.raises(DataError, match="no split 'test'"):
        load_images(tmp_path / "t.csv", "test")


def test_a_key_of_a_tar_has_one_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.jpg and b\.seg\.png are two images of one key"):
        load_images(tar(tmp_path / "a.tar", {"b.jpg": encoded(1), "b.seg.png": encoded(2), "b.cls": b"1"}))
    captions = {
        f"{k}.{kind}": content
        for k in range(2)
        for kind, content in (
            ("png", encoded(k)),
            ("txt", b"a cat on a mat"),
            ("json", json.dumps({"label": k}).encode()),
        )
    }
    assert load_images(tar(tmp_path / "b.tar", captions)).labels.tolist() == [0, 1]


def test_configurations_of_a_data_set_are_not_mixed(tmp_path: Path) -> None:
    for config in ("small", "large"):
        (tmp_path / config / "test").mkdir(parents=True)
        cells().write_parquet(tmp_path / config / "test" / "0000.parquet")
    with pytest.raises(DataError, match="several configurations of a data set: name one of .*large.*small"):
        load_images(tmp_path)
    assert len(load_images(tmp_path / "small")) == 4


def test_tables_beside_class_folders_are_no_images(tmp_path: Path) -> None:
    for label in CLASSES:
        picture(tmp_path / label / "0.png")
    pl.DataFrame({"label": [0], "probability": [0.5]}).write_parquet(tmp_path / "test_predictions.parquet")
    (tmp_path / "backup.tar").write_bytes(b"x")
    assert load_images(tmp_path).classes == CLASSES


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_one_range_for_all_images_in_one_file(tmp_path: Path, kind: str) -> None:
    contents = []
    for value in (200, 4000, 800):
        stream = io.BytesIO()
        Image.fromarray(np.full((8, 8), value, np.uint16)).save(stream, "PNG")
        contents.append(stream.getvalue())
    if kind == "parquet":
        pl.DataFrame({"image": contents, "label": [0, 1, 1]}).write_parquet(tmp_path / "test.parquet")
        found = load_images(tmp_path / "test.parquet")
    else:
        members = {f"{k}.png": one for k, one in enumerate(contents)} | {
            f"{k}.cls": str(k % 2).encode() for k in range(3)
        }
        found = load_images(tar(tmp_path / "a.tar", members))
    assert [int(found.image(k)[0, 0, 0]) for k in range(3)] == [12, 249, 50]
    assert "12-bit data" in found.notes[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_colour_turns_as_shallow_colour_does(tmp_path: Path, orientation: int) -> None:
    import cv2

    values = RNG.integers(0, 256, (4, 6, 3)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for label in CLASSES:
        (tmp_path / label).mkdir()
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "cat" / "0.png", exif=exif)
    _, content = cv2.imencode(".png", (values * 257)[..., ::-1])
    raw = content.tobytes()
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    import struct
    import zlib

    whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "dog" / "0.png").write_bytes(raw[:33] + whole + raw[33:])
    found = load_images(tmp_path, orient=True)
    np.testing.assert_array_equal(found.image(0), found.image(1))


def test_names_that_are_not_utf_8_have_a_fingerprint(tmp_path: Path) -> None:
    import os

    for label in CLASSES:
        picture(tmp_path / label / "0.png")
        os.rename(tmp_path / label / "0.png", os.fsencode(tmp_path / label) + b"/caf\xe9.png")  # noqa: PTH104
    found = load_images(tmp_path)
    assert (len(found), len(found.fingerprint), found.image(0).shape) == (2, 64, (8, 10, 3))


def test_arrays_of_several_sizes_are_named() -> None:
    with pytest.raises(DataError, match="one array of images of one size"):
        from_arrays([np.zeros((8, 8)), np.zeros((4, 8))], [0, 1])
    assert len(from_arrays(torch.rand(2, 3, 8, 8, requires_grad=True), [0, 1])) == 2
