"""Data sets of Hugging Face, by stand-ins with the parts of `datasets.Dataset` that are read, and its files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from torch.utils.data import ConcatDataset, Subset

from workbench.errors import DataError
from workbench.images import from_dataset, load_images

CLASSES = ("zebra", "ant")
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3)).astype(np.uint8)
LABELS = [0, 1, 1, 0, 1, 0]


def encoded(values: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG", **options)
    return stream.getvalue()


CELLS = [{"bytes": encoded(values), "path": None} for values in PIXELS]
ImageFeature = type("Image", (), {"__init__": lambda self, decode=True: setattr(self, "decode", decode)})
ClassLabel = type("ClassLabel", (), {"names": list(CLASSES)})


class Hub:
    """Rows by number, as dictionaries whose image is Pillow's until decoding is turned off; columns by name."""

    def __init__(
        self, cells: Sequence[dict[str, Any]] = CELLS, labels: Sequence[Any] = LABELS, **features: Any
    ) -> None:
        self.cells, self.labels, self.format = list(cells), list(labels), {"type": "torch"}
        self.features = features or {"image": ImageFeature(), "label": ClassLabel()}

    def _changed(self, **what: Any) -> Hub:
        new = Hub(self.cells, self.labels, **self.features)
        new.format = self.format
        for name, value in what.items():
            setattr(new, name, value)
        return new

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: int | str) -> Any:
        image, label = self.features
        if isinstance(key, str):
            return self.labels
        cell = self.cells[key]
        if self.features[image].decode:
            cell = np.zeros((3, 8, 10)) if self.format["type"] == "torch" else Image.open(io.BytesIO(cell["bytes"]))
        return {image: cell, label: self.labels[key]}

    def with_format(self, kind: str | None) -> Hub:
        return self._changed(format={"type": kind})

    def cast_column(self, name: str, feature: Any) -> Hub:
        return self._changed(features={**self.features, name: feature})

    def select(self, rows: Sequence[int]) -> Hub:
        return self._changed(cells=[self.cells[k] for k in rows], labels=[self.labels[k] for k in rows])


@pytest.mark.parametrize(
    ("make", "rows"),
    [
        (Hub, range(6)),
        (lambda: Hub().with_format(None), range(6)),
        (lambda: Subset(Hub(), [5, 1, 2]), [5, 1, 2]),
        (lambda: Subset(Subset(Hub(), [5, 1, 2]), [2, 0]), [2, 5]),
        (lambda: ConcatDataset([Hub(), Subset(Hub(), [3])]), [*range(6), 3]),
        (lambda: Subset(Hub(img=ImageFeature(), fine_label=ClassLabel()), [4]), [4]),
    ],
)
def test_images_labels_and_names_whatever_wraps_them(make: Callable[[], Any], rows: Sequence[int]) -> None:
    found = from_dataset(make())
    assert (found.classes, found.labels.tolist()) == (CLASSES, [LABELS[k] for k in rows])
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(found.image(place), PIXELS[row])


def test_the_files_and_the_data_set_give_one_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = (PIXELS[..., 0].astype(np.uint16) * 16)[0]
    palette = Image.fromarray(PIXELS[1]).convert("P")
    stream = io.BytesIO()
    palette.save(stream, "PNG")
    contents = [encoded(PIXELS[0], exif=exif), encoded(grey), stream.getvalue()]
    cells = [{"bytes": content, "path": None} for content in contents]
    pl.DataFrame({"image": cells, "label": [0, 1, 0]}).write_parquet(tmp_path / "test.parquet")
    for orient in (False, True):
        doors = (
            load_images(tmp_path / "test.parquet", orient=orient),
            from_dataset(Hub(cells, [0, 1, 0]), orient=orient),
        )
        for place in range(3):
            np.testing.assert_array_equal(doors[0].image(place), doors[1].image(place))
        assert doors[1].image(0).shape == ((10, 8, 3) if orient else (8, 10, 3))


def test_images_that_are_paths(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(PIXELS[2]))
    cells = [{"bytes": None, "path": str(tmp_path / name)} for name in ("a.png", "b.png")]
    found = from_dataset(Hub(cells, [1, 0]))
    np.testing.assert_array_equal(found.image(0), PIXELS[2])
    with pytest.raises(DataError, match=r"b\.png is missing"):
        found.image(1)
    pl.DataFrame({"image": cells, "label": [1, 0]}).write_parquet(tmp_path / "paths.parquet")
    with pytest.raises(DataError, match="keeps paths of files"):
        load_images(tmp_path / "paths.parquet")


def test_a_transform_of_the_user_is_kept() -> None:
    class Transformed(Hub):
        def __getitem__(self, key: int | str) -> Any:
            if isinstance(key, str):
                return super().__getitem__(key)
            return {"pixel_values": PIXELS[key] // 2, "labels": self.labels[key]}

    shown = Transformed()
    shown.format = {"type": "custom"}
    np.testing.assert_array_equal(from_dataset(shown).image(3), PIXELS[3] // 2)


def test_several_classes_a_row_are_refused() -> None:
    several = type("List", (), {"feature": ClassLabel()})
    with pytest.raises(DataError, match="one class a row, not the several of column 'label'"):
        from_dataset(Hub(image=ImageFeature(), label=several()))
    with pytest.raises(DataError, match="not several of some"):
        from_dataset(Hub(labels=[[0], [0, 1], [1], [0], [1], [0]]))


def arrow(path: Path, rows: Sequence[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"image": [CELLS[k] for k in rows], "label": [LABELS[k] for k in rows]}).write_ipc_stream(path)


def test_what_the_library_caches_is_not_read(tmp_path: Path) -> None:
    arrow(tmp_path / "data-00000-of-00002.arrow", [0, 1])
    arrow(tmp_path / "data-00001-of-00002.arrow", [2])
    arrow(tmp_path / "cache-0123.arrow", [3, 4, 5])
    state = {"_data_files": [{"filename": f"data-0000{k}-of-00002.arrow"} for k in range(2)], "_split": "train"}
    (tmp_path / "state.json").write_text(json.dumps(state))
    found = load_images(tmp_path)
    assert (len(found), found.split, found.labels.tolist()) == (3, "train", LABELS[:3])
    (tmp_path / "state.json").unlink()
    assert len(load_images(tmp_path)) == 3
    for damaged in ("[" * 50_000, "{}", '{"_data_files": 3}'):
        (tmp_path / "state.json").write_text(damaged)
        with pytest.raises(DataError, match=r"state\.json is damaged"):
            load_images(tmp_path)


def test_the_cache_of_load_dataset(tmp_path: Path) -> None:
    arrow(tmp_path / "parquet-train.arrow", range(6))
    arrow(tmp_path / "parquet-test-00000-of-00002.arrow", [1])
    arrow(tmp_path / "parquet-test-00001-of-00002.arrow", [0, 2])
    for split, rows in ((None, [1, 0, 2]), ("test", [1, 0, 2]), ("train", range(6))):
        assert load_images(tmp_path, split).labels.tolist() == [LABELS[k] for k in rows]


def flat(root: Path) -> None:
    for row, values in enumerate(PIXELS):
        path = root / ("train" if row < 4 else "test") / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(values))


def test_splits_are_no_classes(tmp_path: Path) -> None:
    flat(tmp_path)
    with pytest.raises(DataError, match="holds splits"):
        load_images(tmp_path)
    assert load_images(tmp_path, classes=("test", "train")).classes == ("test", "train")


@pytest.mark.parametrize("beside", [True, False])
def test_labels_in_a_table_beside_the_images(tmp_path: Path, beside: bool) -> None:
    flat(tmp_path)
    for split, rows in (("train", range(4)), ("test", range(4, 6))):
        names = [f"{row}.png" if beside else f"{split}/{row}.png" for row in rows]
        table = pl.DataFrame({"file_name": names, "label": [CLASSES[LABELS[k]] for k in rows]})
        if beside:
            table.write_ndjson(tmp_path / split / "metadata.jsonl")
        elif split == "train":
            first = table
        else:
            pl.concat([first, table]).write_csv(tmp_path / "metadata.csv")
    for wanted, rows in ((None, range(4, 6)), ("test", range(4, 6)), ("train", range(4))):
        found = load_images(tmp_path, wanted)
        assert [found.classes[k] for k in found.labels] == [CLASSES[LABELS[k]] for k in rows]
        np.testing.assert_array_equal(found.pixels[0], PIXELS[rows[0]])
    if beside:
        assert (len(load_images(tmp_path / "train")), load_images(tmp_path / "train").split) == (4, "train")


def deep(row: int, top: int = 4_000) -> np.ndarray:
    return np.random.default_rng(row).integers(0, top if row else 200, (8, 10)).astype(np.uint16)


@pytest.mark.parametrize("kind", ["array", "Pillow", "stored", "files"])
def test_one_range_for_all_images_of_a_set(tmp_path: Path, kind: str) -> None:
    arrays = [deep(row) for row in range(6)]
    pictures = [Image.fromarray(values) for values in arrays]
    if kind == "files":
        for row, values in enumerate(arrays):
            (tmp_path / CLASSES[LABELS[row]]).mkdir(exist_ok=True)
            (tmp_path / CLASSES[LABELS[row]] / f"{row}.png").write_bytes(encoded(values))
        found = load_images(tmp_path, classes=CLASSES)
        order = sorted(range(6), key=lambda row: (LABELS[row], row))
    else:
        items = {
            "array": list(zip(arrays, LABELS, strict=True)),
            "Pillow": list(zip(pictures, LABELS, strict=True)),
            "stored": Hub([{"bytes": encoded(values), "path": None} for values in arrays]),
        }[kind]
        found, order = from_dataset(items), range(6)
    assert "12-bit data" in found.notes[-1]
    for place, row in enumerate(order):  # the dark one stays dark beside the others
        np.testing.assert_array_equal(found.image(place)[..., 0], np.rint(arrays[row] * (255 / 4095)).astype(np.uint8))


def test_an_image_brighter_than_the_sample_is_refused(tmp_path: Path) -> None:
    rows = [(deep(1, 4_000), 0) for _ in range(100)]
    rows[1] = (np.full((8, 10), 30_000, np.uint16), 1)  # not among the 32 looked at
    found = from_dataset(rows)
    with pytest.raises(DataError, match="from 0 to 4095, as in a sample of the set, not 30000 to 30000"):
        found.image(1)
    assert from_dataset(rows, range="full").image(1)[0, 0, 0] == round(30_000 / 257)


def test_an_item_that_fails_is_named() -> None:
    class Failing(Hub):
        def __getitem__(self, key: int | str) -> Any:
            if key == 3:
                raise RuntimeError("stream ended\nat byte 7")
            return {"image": PIXELS[int(key)], "label": LABELS[int(key)]}

    failing = Failing()
    failing.features, failing.targets = None, LABELS  # type: ignore[assignment, attr-defined]
    with pytest.raises(DataError, match=r"^item 3 can't be read \(stream ended\): repair or remove it$"):
        from_dataset(failing, CLASSES).image(3)


def test_a_table_of_something_else_beside_class_folders(tmp_path: Path) -> None:
    for row, values in enumerate(PIXELS):
        path = tmp_path / "test" / CLASSES[LABELS[row]] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(values))
    (tmp_path / "metadata.csv").write_text("camera,taken\na,2020\n")
    assert load_images(tmp_path).classes == tuple(sorted(CLASSES))
