from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import torchvision
from PIL import Image

import workbench
from tests.factories import CLASSES, classifier, image_set
from workbench import store
from workbench.__main__ import main
from workbench.core.records import ImageSet
from workbench.errors import DataError
from workbench.images import from_arrays, from_dataset, from_folder, from_parquet, from_table, load_images
from workbench.images.decode import as_rgb, decode
from workbench.models import predict, sharding
from workbench.runs.opening import open_predictions

RGB = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def photos(root: Path, rows: int = 12, *, side: int = 50) -> Path:
    """Class folders of JPEG files of several sizes."""
    drawn = np.random.default_rng(1)
    for row in range(rows):
        folder = root / CLASSES[row % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = drawn.integers(0, 256, (side + row, side + 2 * row, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{row:02}.jpg", quality=90)
    return root


def same_size(root: Path) -> ImageSet:
    """Photos that fit the tiny model as they are, one of them damaged, one gone."""
    drawn = np.random.default_rng(3)
    for row in range(9):
        (root / CLASSES[row % 3]).mkdir(parents=True, exist_ok=True)
        pixels = drawn.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(root / CLASSES[row % 3] / f"{row}.png")
    images = from_folder(root)
    (root / "bee" / "4.png").write_bytes(b"no image")
    (root / "cow" / "8.png").unlink()
    return images


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"expected an image"),
        (np.zeros((0, 4, 3), np.uint8), r"expected an image"),
        (np.full((4, 4), np.nan), "expected floats from 0 to 1"),
        (np.full((4, 4), 1.5), "before any normalisation"),
        (np.zeros((4, 4), complex), "not complex128"),
        (np.full((4, 4), -1, np.int32), "expected values from 0 to 65535"),
    ],
)
def test_arrays_of_other_kinds_are_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        as_rgb(array, "x")


def test_class_folders_with_and_without_a_split(tmp_path: Path) -> None:
    one, two = from_folder(photos(tmp_path / "a")), load_images(photos(tmp_path / "b" / "val").parent, "val")
    assert one.classes == two.classes == CLASSES
    assert one.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (one.image(5) == two.image(5)).all()
    assert one.fingerprint == two.fingerprint
    (tmp_path / "a" / "classes.txt").write_text("cow\nbee\nant\n")
    assert from_folder(tmp_path / "a").classes == ("cow", "bee", "ant")
    (tmp_path / "a" / "zebra").mkdir()
    with pytest.raises(DataError, match="zebra is of no class"):
        from_folder(tmp_path / "a")


def test_the_fingerprint_follows_every_file(tmp_path: Path) -> None:
    root = photos(tmp_path)
    before = from_folder(root).fingerprint
    path = root / "bee" / "04.jpg"
    content = bytearray(path.read_bytes())
    content[-30] ^= 1  # same name, same size
    path.write_bytes(content)
    assert from_folder(root).fingerprint != before


def test_tables_of_paths(tmp_path: Path) -> None:
    photos(tmp_path)
    paths = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg"))
    named = pl.DataFrame({"file": paths, "kind": [p.split("/")[0] for p in paths]})
    named.write_csv(tmp_path / "list.csv")
    named.with_columns(kind=pl.Series([CLASSES.index(p.split("/")[0]) for p in paths])).write_parquet(
        tmp_path / "l.parquet"
    )
    called = {"path": "file", "label": "kind"}
    csv = from_table(tmp_path / "list.csv", columns=called)
    parquet = load_images(tmp_path / "l.parquet", classes=CLASSES, columns=called)
    assert csv.classes == parquet.classes == CLASSES
    assert csv.labels.tolist() == parquet.labels.tolist()
    assert csv.fingerprint == parquet.fingerprint
    with pytest.raises(DataError, match="has no column 'label'; it has file, kind"):
        from_table(tmp_path / "list.csv")


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../secret.png", "", "link/secret.png"])
def test_paths_stay_inside_the_root(path: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    Image.fromarray(RGB).save(tmp_path / "secret.png")
    (root / "link").symlink_to(tmp_path)
    pl.DataFrame({"path": [path], "label": ["a"]}).write_csv(root / "list.csv")
    with pytest.raises(DataError, match="leads out of|expected a label"):
        from_table(root / "list.csv")


def test_hugging_faces_parquet(tmp_path: Path) -> None:
    cells = [{"bytes": encoded(Image.fromarray(RGB[k:, k:]), "PNG"), "path": f"{k}.png"} for k in range(6)]
    described = {"info": {"features": {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}}}
    frame = pl.DataFrame({"image": cells, "label": [0, 1, 2, 0, 1, 2]})
    for part in range(2):
        frame.slice(3 * part, 3).write_parquet(
            tmp_path / f"val-0000{part}-of-00002.parquet", metadata={"huggingface": json.dumps(described)}
        )
    images = load_images(tmp_path, "val")
    assert images.classes == CLASSES
    assert (images.image(4) == RGB[4:, 4:]).all()
    bare = from_parquet([tmp_path / "val-00000-of-00002.parquet"], classes=("x", "y", "z"))
    assert bare.classes == ("x", "y", "z")
    (tmp_path / "val-00001-of-00002.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match="readable Parquet"):
        load_images(tmp_path, "val")


def test_data_sets_and_arrays(tmp_path: Path) -> None:
    folder = torchvision.datasets.ImageFolder(photos(tmp_path / "photos"))
    ours, theirs = from_folder(tmp_path / "photos"), from_dataset(folder)
    assert theirs.classes == CLASSES
    assert theirs.labels.tolist() == ours.labels.tolist()
    assert (theirs.image(7) == ours.image(7)).all()
    pixels = np.random.default_rng(2).integers(0, 256, (5, 8, 8, 3), np.uint8)
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(pixels / 255.0).permute(0, 3, 1, 2), torch.arange(5) % 2)
    found = from_dataset(tensors, ("a", "b"))
    assert (found.image(3) == pixels[3]).all()
    assert found.labels.tolist() == [0, 1, 0, 1, 0]
    scaled = torch.utils.data.TensorDataset(torch.randn(4, 3, 8, 8), torch.arange(4) % 2)
    with pytest.raises(DataError, match="before any normalisation"):
        from_dataset(scaled, ("a", "b")).image(0)
    np.savez(tmp_path / "all.npz", images=pixels, labels=np.array(["b", "a", "b", "a", "b"]))
    kept = load_images(tmp_path / "all.npz")
    assert kept.labels.tolist() == [1, 0, 1, 0, 1]
    grey = from_arrays(pixels[..., 0] / 255.0, [0, 1, 0, 1, 0])
    assert (grey.image(2) == pixels[2, ..., :1]).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: root / "nowhere", "is missing: expected a folder of class folders"),
        (lambda root: (root / "one").mkdir(), "expected a folder of class folders"),
        (lambda root: [(root / name).mkdir() for name in "ab"], "holds class folders but no image"),
        (lambda root: np.savez(root / "x.npz", images=np.zeros(3)), "has no array 'labels'"),
        (lambda root: (root / "x.csv").write_text("path,label\na.png,\n"), "expected a label for every row"),
        (lambda root: (root / "x.npz").write_bytes(b"PK"), "damaged or of another format"),
    ],
)
def test_places_without_images_are_told(make: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    made = make(tmp_path)
    path = made if isinstance(made, Path) else next((p for p in tmp_path.iterdir() if p.is_file()), tmp_path)
    with pytest.raises(DataError, match=words):
        load_images(path)


def test_unreadable_images_are_fatal_or_skipped_and_counted(tmp_path: Path) -> None:
    images, model = same_size(tmp_path / "photos"), classifier()
    with pytest.raises(DataError, match=r"4.png is not a readable image.*--skip-unreadable"):
        predict.predict(model, images)
    run = workbench.analyse(model, images, tmp_path / "run", skip=True)
    assert len(run.predictions) == 7
    assert sorted(store.skipped(tmp_path / "run" / "predictions")) == [4, 8]
    assert "2 images can't be read and are omitted. For example, row 4" in run.notes[0]
    again = open_predictions(tmp_path / "run" / "predictions", data=str(tmp_path / "photos"))
    assert "2 images can't be read" in again.notes[-1]
    one = predict.predict(model, images, rows=np.array([0, 1, 2]))
    np.testing.assert_allclose(one.probability, run.predictions.probability[:3], atol=1e-6)


def test_images_of_several_sizes_need_a_transform(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected one size.*transform that resizes"):
        predict.predict(classifier(), from_folder(photos(tmp_path)))


def test_bare_predictions_with_paths_have_images(tmp_path: Path) -> None:
    photos(tmp_path)
    paths = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg"))
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 12)
    frame = pl.DataFrame({"path": paths, "label": [p.split("/")[0] for p in paths], "index": np.arange(12) * 5 + 7})
    frame = frame.with_columns(pl.Series(f"probability_{k}", shares[:, k]) for k in range(3))
    frame.write_csv(tmp_path / "theirs.csv")
    run = open_predictions(tmp_path / "theirs.csv")
    assert run.images is not None
    assert (run.images.image(12) == decode(tmp_path / paths[1])).all()
    assert main(["report", "--predictions", str(tmp_path / "theirs.csv"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "misclassified.png").is_file()
    frame.with_columns(path=pl.lit("../x.jpg")).write_csv(tmp_path / "theirs.csv")
    with pytest.raises(DataError, match="leads out of"):
        open_predictions(tmp_path / "theirs.csv")


def test_class_files_and_links_stay_inside(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    Image.fromarray(RGB).save(tmp_path / "secret.png")
    (root / "ant" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match=r"link.png is a link that leads out of .*follow_links=True"):
        from_folder(root)
    (root / "ant" / "link.png").unlink()
    for name in ("../secret", str(tmp_path), ".."):
        (root / "classes.txt").write_text(f"ant\nbee\ncow\n{name}\n")
        with pytest.raises(DataError, match="expected names of folders within"):
            from_folder(root)
    (root / "classes.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="expected text in UTF-8"):
        from_folder(root)


def test_names_with_brackets_are_no_patterns(tmp_path: Path) -> None:
    for name, rows in (("theirs[1].csv", 2), ("theirs1.csv", 1)):
        frame = pl.DataFrame({"label": [1] * rows, "probability_0": [0.4] * rows, "probability_1": [0.6] * rows})
        frame.write_csv(tmp_path / name)
    assert len(store.read(tmp_path / "theirs[1].csv")) == 2


def test_labels_are_those_of_the_items(tmp_path: Path) -> None:
    root = photos(tmp_path)
    turned = torchvision.datasets.ImageFolder(root, target_transform=lambda label: 2 - label)
    assert from_dataset(turned).labels.tolist() == [2] * 4 + [1] * 4 + [0] * 4
    (root / "bee" / "04.jpg").write_bytes(b"nothing")
    broken = from_dataset(torchvision.datasets.ImageFolder(root))
    with pytest.raises(DataError, match="item 5 can't be read|item 4 can't be read"):
        [broken.image(row) for row in range(12)]
    deep = [(Image.fromarray((np.arange(64).reshape(8, 8) * 1000).astype(np.uint16)), 0), (Image.fromarray(RGB), 1)]
    assert from_dataset(deep, ("a", "b")).image(0)[..., 0].ravel()[5] == round(5000 / 257)


def test_a_part_without_a_readable_image_is_skipped_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "PART", 4)
    images = same_size(tmp_path / "photos")  # nine images; the last part is row 8 alone, which is gone
    sharding.predict_into(classifier(), images, tmp_path / "p", skip=True)
    assert store.read(tmp_path / "p").index.tolist() == [0, 1, 2, 3, 5, 6, 7]
    assert sorted(store.skipped(tmp_path / "p")) == [4, 8]


@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(40), b"\x93NUMPY"])
def test_damaged_archives_are_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    for read in (load_images, store.read):
        with pytest.raises(DataError, match="damaged or of another format"):
            read(tmp_path / "x.npz")


def test_images_that_nobody_named_are_left_aside_if_they_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR10_ROOT", str(photos(tmp_path / "others", rows=6)))
    images = image_set()
    store.write(predict.predict(classifier(), images), tmp_path / "predictions")
    run = open_predictions(tmp_path / "predictions")
    assert run.images is None
    assert "are not those of these predictions" in run.notes[0]
    with pytest.raises(DataError, match="the images are not those of the predictions"):
        open_predictions(tmp_path / "predictions", data=str(tmp_path / "others"))


def test_what_programs_leave_in_folders_is_ignored(tmp_path: Path) -> None:
    whole = from_folder(photos(tmp_path))
    for place in (CLASSES[0], "__MACOSX", f"__MACOSX/{CLASSES[0]}", f"{CLASSES[0]}/.ipynb_checkpoints"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "._a.jpg").write_bytes(b"no image")
    (tmp_path / CLASSES[0] / ".ipynb_checkpoints" / "b.jpg").write_bytes(b"a copy")
    again = from_folder(tmp_path)
    assert (again.classes, len(again), again.fingerprint) == (whole.classes, len(whole), whole.fingerprint)
