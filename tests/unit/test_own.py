"""The tables of docs/own.md, row by row: what they call read is read, what they call refused is refused."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms as T

import workbench
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.core.records import ImageSet
from workbench.errors import WorkbenchError

OWN = Path(__file__).resolve().parents[2] / "docs" / "own.md"
KERAS = Path(__file__).resolve().parents[1] / "data" / "keras_digits.onnx"
ROW = re.compile(r"^\| (?P<input>(?!---)[^|]+?) \| (?P<outcome>read|refused)(?::[^|]*)? \|$", re.MULTILINE)
RNG = np.random.default_rng(0)
CLASSES = ("cat", "dog", "owl")
PIXELS = RNG.integers(0, 256, (6, 32, 32, 3), np.uint8)
IMAGES = ImageSet(PIXELS, np.arange(6) % 3, CLASSES, "test", "d" * 64)
P = RNG.dirichlet(np.ones(3), 12)
Y = np.arange(12) % 3
FRAME = pd.DataFrame({"label": Y, **{f"probability_{k}": P[:, k] for k in range(3)}})


class Net(nn.Module):
    def __init__(self, channels: int = 3, classes: int = 3, give: Callable[[Tensor], Any] = lambda z: z) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.give = nn.Conv2d(channels, 8, 3, 2, 1), nn.Linear(8, classes), give

    def forward(self, x: Tensor) -> Any:
        return self.give(self.head(self.body(x).relu().mean((2, 3))))


class Views(nn.Module):
    def __init__(self, view: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.view = Net(), view

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.net(self.view(x))


class Ensemble(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList([Net(), Net()])
        nn.init.normal_(self.members[1].head.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.members[0](x) + self.members[1](x)


def model(module: Any, method: str = "Grad-CAM", images: ImageSet = IMAGES, layers: int = 0, **options: Any) -> None:
    """Predictions and a map."""
    given = {"transform": "none", "image_size": 32, **options}
    c = workbench.classifier_of(module, images.classes, **given)
    run = workbench.analyse(c, images)
    assert len(run.predictions) == len(images)
    names = list(c.cam_layers)[:layers]
    seen = c.seen(images).stack(np.arange(1))
    assert attribute(c, seen, np.arange(1), Targets(run.predictions.predicted[:1]), method, layers=names)


def each(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        model(module)


def inference() -> nn.Module:
    with torch.inference_mode():
        return Net()


def exported() -> nn.Module:
    free = ({0: torch.export.Dim.AUTO},)
    return torch.export.export(Net().eval(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=free).module()


TWO = ImageSet(PIXELS, np.arange(6) % 2, ("no", "yes"), "test", "d" * 64)
DIGITS = ImageSet(PIXELS[:, ::2, ::2].copy(), np.arange(6), tuple(map(str, range(10))), "test", "d" * 64)
MODELS: dict[str, Callable[[], None]] = {
    "float16, bfloat16 or float64 weights": lambda: each(
        Net().to(kind) for kind in (torch.float16, torch.bfloat16, torch.float64)
    ),
    "one channel": lambda: model(Net(1)),
    "four channels, with a transform to RGBA": lambda: model(
        Net(4),
        transform=T.Compose([lambda image: image.convert("RGBA"), T.ToTensor(), T.Normalize([0.5] * 4, [0.5] * 4)]),
    ),
    "input that is not square": lambda: model(Net(), image_size=(24, 40)),
    "output in a dictionary, list or tuple": lambda: each(
        Net(give=give) for give in (lambda z: {"logits": z}, lambda z: [z], lambda z: (z, z.mean(1)))
    ),
    "one sigmoid value for two classes": lambda: model(
        Net(classes=1, give=torch.sigmoid), images=TWO, outputs="probabilities"
    ),
    "scripted or traced (TorchScript)": lambda: model(
        torch.jit.trace(Net().eval(), torch.zeros(1, 3, 32, 32)), "Occlusion"
    ),
    "exported (`torch.export`)": lambda: model(exported(), "Occlusion"),
    "dynamically quantised": lambda: model(
        torch.ao.quantization.quantize_dynamic(Net().eval(), {nn.Linear}, dtype=torch.qint8), "Feature ablation"
    ),
    "ONNX file": lambda: model(KERAS, images=DIGITS, transform="bytes", image_size=None),
    "ensemble": lambda: model(Ensemble(), layers=1),
    "flip averaging, Siamese parts": lambda: model(Views(lambda x: x.flip(3))),
    "layers over several crops or scales, recurrent layers": lambda: model(Views(lambda x: x.roll(5, 2)), "Saliency"),
    "dropout left on": lambda: model(Net(give=lambda z: nn.functional.dropout(z, 0.5))),
    "weights made under `inference_mode`": lambda: model(inference()),
}


def transform(*steps: Any, **options: Any) -> None:
    model(Net(), transform=T.Compose([*steps]), **{"image_size": None, **options})


LAST = (T.ToTensor(), T.Normalize([0.5] * 3, [0.25] * 3))
TRANSFORMS: dict[str, Callable[[], None]] = {
    "`ToTensor` and `Normalize` alone, as CIFAR's": lambda: transform(*LAST, image_size=32),
    "`CenterCrop` without `Resize`": lambda: transform(T.CenterCrop(24), *LAST),
    "`Resize` of one side": lambda: transform(T.Resize(24), *LAST),
    "standardising each image": lambda: transform(
        T.Resize((24, 24)), T.ToTensor(), T.Lambda(lambda x: (x - x.mean()) / x.std())
    ),
    "random steps": lambda: transform(T.Resize((24, 24)), T.RandomHorizontalFlip(), *LAST),
    "several crops an image": lambda: transform(
        T.FiveCrop(24), T.Lambda(lambda crops: torch.stack([T.ToTensor()(crop) for crop in crops]))
    ),
}


def picture(path: Path, values: np.ndarray | None = None, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS[0] if values is None else values).save(path, **options)


def folders(root: Path, name: str = "0.png", values: np.ndarray | None = None, **options: Any) -> Path:
    for label in CLASSES:
        picture(root / label / name, values, **options)
    return root


def loaded(path: Path, split: str | None = None, **options: Any) -> ImageSet:
    found = workbench.load_images(path, split, **options)
    assert len(found) >= 2
    assert found.image(int(found.rows[0])).ndim == 3
    return found


def renamed_splits(d: Path) -> None:
    for name in ("Training", "valid"):
        folders(d / name)
    assert "'valid' is read" in loaded(d).notes[0]


def parquet(d: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(PIXELS[0]).save(stream, "PNG")
    frame = pl.DataFrame({"image": [{"bytes": stream.getvalue(), "path": ""}] * 2, "label": [0, 1]})
    (d / "data").mkdir()
    frame.write_parquet(d / "data" / "test-00000-of-00001.parquet")
    (d / "saved").mkdir()
    frame.write_ipc_stream(d / "saved" / "data-00000-of-00001.arrow")
    loaded(d / "data")
    loaded(d / "saved")


def tars(d: Path) -> None:
    folders(d / "in")
    with tarfile.open(d / "a.tar", "w") as archive:
        for number, label in enumerate(CLASSES):
            archive.add(d / "in" / label / "0.png", f"{number}.png")
            (d / "label").write_text(label)
            archive.add(d / "label", f"{number}.cls")
    assert loaded(d / "a.tar").classes == CLASSES


def fiftyone(d: Path) -> None:
    for k in range(2):
        picture(d / "data" / f"{k}.png")
    (d / "labels.json").write_text(json.dumps({"classes": CLASSES, "labels": {"0": 0, "1": 1}}))
    loaded(d)


def listed(d: Path, *paths: str) -> None:
    folders(d / "in")
    pd.DataFrame({"filename": paths, "class": CLASSES}).to_csv(d / "t.tsv", sep="\t", index=False)
    loaded(d / "t.tsv")


def linked(d: Path) -> None:
    folders(d / "store")
    for label in CLASSES:
        (d / "in" / label).mkdir(parents=True)
        (d / "in" / label / "0.png").symlink_to(d / "store" / label / "0.png")
    assert len(workbench.load_images(d / "in", follow_links=True)) == 3
    loaded(d / "in")


def dicom(d: Path) -> None:
    from pydicom.examples import get_path

    for label in CLASSES:
        (d / label).mkdir()
        (d / label / "0.dcm").write_bytes(Path(get_path("ct")).read_bytes())
    assert loaded(d).image(0).std() > 10


def units(d: Path) -> None:
    values = np.linspace(-1000, 2000, 1024, dtype=np.float32).reshape(32, 32)
    assert loaded(folders(d, "0.tif", values), range=(-1000, 2000)).image(0).max() == 255
    loaded(d)


def exif(d: Path) -> None:
    turn = Image.Exif()
    turn[0x0112] = 6
    folders(d, "0.jpg", PIXELS[0][:16], exif=turn)
    assert loaded(d).image(0).shape == (16, 32, 3)
    assert loaded(d, orient=True).image(0).shape == (32, 16, 3)


def others(d: Path) -> None:
    folders(d)
    (d / "cat" / "a.psd").write_bytes(b"x")
    assert "1 .psd" in loaded(d).notes[0]


SETS: dict[str, Callable[[Path], Any]] = {
    "`SPLIT/CLASS/*.jpg` or `CLASS/*.jpg`": lambda d: (loaded(folders(d / "val").parent), loaded(d / "val")),
    "splits called `valid`, `Training` and so on": renamed_splits,
    "Hugging Face's Parquet files and `save_to_disk`": parquet,
    "WebDataset's tars": tars,
    "FiftyOne's `data` and `labels.json`": fiftyone,
    "a table of paths and labels": lambda d: listed(d, *(f"in/{label}/0.png" for label in CLASSES)),
    "ids without extension, paths of another machine": lambda d: listed(d, *(f"C:\\x\\{c}\\0" for c in CLASSES)),
    "`.npz` with `images` and `labels`": lambda d: (
        np.savez(d / "a.npz", images=PIXELS, labels=Y[:6]),
        loaded(d / "a.npz"),
    ),
    "links out of the folder": linked,
    "a folder of images without class folders": lambda d: (picture(d / "0.png"), loaded(d)),
    "`.zip`": lambda d: ((d / "a.zip").write_bytes(b"PK"), loaded(d / "a.zip")),
    "12-bit data in 16-bit files": lambda d: _check(
        loaded(folders(d, values=np.linspace(0, 4095, 1024).reshape(32, 32).astype(np.uint16))).image(0).max() == 255
    ),
    "Hounsfield units and other floats": units,
    "an EXIF turn": exif,
    "DICOM": dicom,
    "files of other kinds": others,
}


def _check(holds: Any) -> None:
    assert holds


def table(d: Path, content: str | bytes, name: str = "t.csv") -> None:
    (d / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    opened(d / name)


def opened(source: Any, classes: int = 3, note: str = "", **options: Any) -> None:
    run = workbench.open_predictions(source, **options)
    assert (len(run.predictions), len(run.predictions.classes)) == (12, classes)
    assert note in " ".join(run.notes)


def kinds(d: Path) -> None:
    pl.from_pandas(FRAME).write_parquet(d / "t.parquet")
    pl.from_pandas(FRAME).write_ipc(d / "t.arrow")
    FRAME.to_csv(d / "t.csv.gz")
    FRAME.to_json(d / "t.jsonl", orient="records", lines=True)
    FRAME.to_json(d / "t.json", orient="records")
    FRAME.to_csv(d / "t.tsv", sep="\t")
    for path in sorted(d.iterdir()):
        opened(path)


def arrays(d: Path) -> None:
    np.savez(d / "t.npz", label=Y, probability=P)
    np.save(d / "pred_probs.npy", P)
    np.save(d / "labels.npy", Y)
    opened(d / "t.npz")
    opened(d / "pred_probs.npy")


def label_kinds(d: Path) -> None:
    for labels in (Y[:, None], np.eye(3)[Y], Y.astype(float)):
        np.savez(d / "t.npz", label=labels, probability=P)
        opened(d / "t.npz")
    opened(FRAME.assign(label=pd.Categorical(np.array(CLASSES)[Y])))
    opened(pd.DataFrame({"label": Y > 0, "probability": P[:, 0]}), classes=2)


def named_columns(d: Path) -> None:
    for name in ("{}", "probability_{}"):
        opened(
            pd.DataFrame({"label": np.array(CLASSES)[Y], **{name.format(c): P[:, k] for k, c in enumerate(CLASSES)}})
        )
    opened(FRAME)
    opened(FRAME.rename(columns=lambda c: c if c == "label" else f"probability_{int(c[-1]) + 1}"))


TABLES: dict[str, Callable[[Path], Any]] = {
    "`.csv`, `.tsv`, `.csv.gz`, `.jsonl`, `.json`, `.parquet`, `.arrow`": kinds,
    "`;`, tab, bar or blanks between fields, decimal commas, UTF-16": lambda d: [
        table(d, content)
        for content in (
            FRAME.to_csv(index=False, sep=";", decimal=","),
            FRAME.to_csv(index=False, sep="\t"),
            FRAME.to_csv(index=False, sep="|"),
            FRAME.to_string(index=False, float_format="%.12f"),
            FRAME.to_csv(index=False).encode("utf-16"),
        )
    ],
    "Latin-1": lambda d: table(d, FRAME.assign(label="Möwe").to_csv().encode("latin-1")),
    "`.npz`, or `pred_probs.npy` beside `labels.npy`": arrays,
    "labels `(N, 1)`, one-hot, bool, float-coded or categorical": label_kinds,
    "`probability_0` or `probability_1` and on, `probability_NAME`, the classes' names": named_columns,
    "one score for two classes": lambda d: opened(
        pd.DataFrame({"label": Y % 2, "probability": P[:, 0]}), classes=2, note="the second", threshold=0.3
    ),
    "rounded probabilities": lambda d: opened(FRAME.round(1), note="divided by its sum"),
    "percent": lambda d: opened(FRAME.assign(**{c: 100 * FRAME[c] for c in FRAME.columns[1:]}), note="percent"),
    "predicted classes alone": lambda d: opened(FRAME[["label"]].assign(predicted=Y), note="no probabilities"),
    "labels that count from 1 beside columns that count from 0": lambda d: opened(FRAME.assign(label=Y + 1)),
    "rows without a label": lambda d: opened(FRAME.assign(label=[None, *Y[1:]])),
}

CASES: dict[str, Callable[[Path], Any]] = {
    **{name: (lambda _, run=run: run()) for name, run in {**MODELS, **TRANSFORMS}.items()},
    **SETS,
    **TABLES,
}
ROWS = {row["input"]: row["outcome"] for row in ROW.finditer(OWN.read_text(encoding="utf-8"))}


def test_every_row_has_a_case() -> None:
    assert set(ROWS) == set(CASES)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("row", CASES)
def test_a_row_holds(row: str, tmp_path: Path) -> None:
    if ROWS[row] == "refused":
        with pytest.raises(WorkbenchError):
            CASES[row](tmp_path)
        return
    CASES[row](tmp_path)
