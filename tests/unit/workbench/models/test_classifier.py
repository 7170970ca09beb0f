"""Foreign models through the whole path: predict, analysis, attribution, explorer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import albumentations
import numpy as np
import pytest
import timm
import torch
import torchvision
from albumentations.pytorch import ToTensorV2
from PIL import Image
from torch import nn
from torchvision import transforms

import workbench
from tests.unit.workbench.explorer.test_widget import Heard
from workbench.analysis.confusion import confusion_matrix
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import targets_of
from workbench.core.records import ImageSet
from workbench.errors import CheckpointError, DataError
from workbench.images import from_arrays
from workbench.models.classifier import Classifier
from workbench.models.crops import crop

CLASSES = ("ant", "bee", "cow", "dog")


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(16 * 8 * 8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x))


def small_vit() -> nn.Module:
    net = torchvision.models.VisionTransformer(64, 16, 3, 4, 32, 64, num_classes=4)
    nn.init.normal_(net.heads.head.weight)  # torchvision starts it at zero
    return net


def small_swin() -> nn.Module:
    return torchvision.models.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=4)


MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, object]]] = {
    "plain CNN": (Plain, {"transform": "half", "image_size": 64}),
    "ResNet (torchvision)": (lambda: torchvision.models.resnet18(num_classes=4), {"transform": "imagenet"}),
    "MobileNet (torchvision)": (
        lambda: torchvision.models.mobilenet_v3_small(num_classes=4),
        {"transform": "imagenet", "image_size": 96},
    ),
    "ConvNeXt (torchvision)": (
        lambda: torchvision.models.ConvNeXt(
            [torchvision.models.convnext.CNBlockConfig(*c) for c in ((16, 32, 1), (32, None, 1))], num_classes=4
        ),
        {"transform": "imagenet", "image_size": 64},
    ),
    "ViT (torchvision)": (small_vit, {"transform": "imagenet"}),
    "Swin (torchvision)": (small_swin, {"transform": "imagenet", "image_size": 64}),
    "ResNet (timm)": (lambda: timm.create_model("resnet10t", num_classes=4), {"image_size": 96}),
    "ViT (timm)": (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=64, depth=3), {}),
    "Swin (timm)": (
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224", num_classes=4, img_size=64, window_size=4, depths=(1, 1, 1, 1)
        ),
        {},
    ),
    "ConvNeXt (timm)": (lambda: timm.create_model("convnext_atto", num_classes=4), {"image_size": 64}),
}


def pictures(rows: int = 12) -> ImageSet:
    """Images of several sizes, larger than most models."""
    drawn = np.random.default_rng(0)
    images = [drawn.integers(0, 256, (70 + row, 90 + 3 * row, 3), np.uint8) for row in range(rows)]
    return ImageSet(images, np.arange(rows) % 4, CLASSES, "test", "d" * 64)


def wrapped(name: str) -> Classifier:
    torch.manual_seed(0)
    make, options = MODELS[name]
    return Classifier.from_module(make(), CLASSES, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MODELS)
def test_the_whole_path(name: str, tmp_path: Path) -> None:
    classifier, images = wrapped(name), pictures()
    run = workbench.analyse(classifier, images, tmp_path, name=name)
    assert confusion_matrix(run.predictions).counts.sum() == 12
    assert run.predictions.embedding is not None
    assert len(classifier.cam_layers) >= 2
    rows = run.predictions.index[:2]
    targets = targets_of(run.predictions, rows, "predicted")
    pixels = classifier.seen(images).stack(rows)
    layers = list(classifier.cam_layers)
    for method in ("Grad-CAM", "Eigen-CAM"):
        maps = attribute(classifier, pixels, rows, targets, method, layers=layers)
        assert all(maps[k].values.shape == (2, *classifier.cam_layers[k].grid) for k in layers)
        assert all(np.isfinite(found.values).all() for found in maps.values())
    (saliency,) = attribute(classifier, pixels, rows, targets, "Saliency").values()
    assert saliency.values.shape == (2, classifier.image_size, classifier.image_size)
    assert saliency.values.any()
    heard = Heard(workbench.Explorer(run))
    start, _, _ = heard.ask("start")
    assert [layer["name"] for layer in start["layers"]] == layers
    detail, (image,), _ = heard.ask("detail", row=3)
    assert len(image) == 3 * classifier.image_size**2
    assert detail["whole"] == [73, 99]
    what = {"row": 3, "methods": ["Grad-CAM"], "layers": [], "targets": ["predicted"]}
    found, buffers, _ = heard.ask("explain", **what, second=False)
    assert (found["maps"][0]["refused"], len(buffers)) == ("", 1)
    print(f"{name}: {classifier.image_size} pixels, layers {', '.join(layers)}")


@pytest.mark.parametrize("name", ["Swin (torchvision)", "Swin (timm)", "ViT (timm)"])
def test_ablation_zeroes_channels_wherever_they_lie(name: str) -> None:
    classifier, rows = wrapped(name), np.arange(1)
    pixels = classifier.seen(pictures()).stack(rows)
    last = list(classifier.cam_layers)[-1]
    from workbench.attribution.targets import Targets

    maps = attribute(classifier, pixels, rows, Targets(np.array([1])), "Ablation-CAM", layers=[last])[last]
    module, layer = classifier.module.eval(), classifier.cam_layers[last]
    with torch.no_grad():
        x = classifier.prepare(pixels)
        kept: list[torch.Tensor] = []
        handle = module.get_submodule(last).register_forward_hook(lambda _, __, output: kept.append(output))
        whole = module(x)[0, 1]
        handle.remove()

        def without(channel: int) -> torch.Tensor:
            changed = kept[0].clone()
            changed.select(layer.channel_axis, channel).zero_()
            handle = module.get_submodule(last).register_forward_hook(lambda *_: changed)
            found = module(x)[0, 1]
            handle.remove()
            return found

        spatial = layer.spatial(kept[0])[0]
        expected = sum((whole - without(c)) / whole.abs() * spatial[c] for c in range(len(spatial)))
    np.testing.assert_allclose(maps.values[0], expected.numpy(), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def compose(*steps: object) -> transforms.Compose:
    return transforms.Compose([*steps])


NORMALISE = transforms.Normalize((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
EVALUATION = compose(transforms.Resize(72), transforms.CenterCrop(64), transforms.ToTensor(), NORMALISE)


def test_a_transform_is_read_off_and_kept() -> None:
    c = Classifier.from_module(Plain(), CLASSES, EVALUATION)
    np.testing.assert_allclose([c.mean, c.std], [(0.4, 0.5, 0.6), (0.2, 0.25, 0.3)], rtol=1e-5)
    image = pictures().image(3)
    theirs = EVALUATION(Image.fromarray(image))
    ours = c.prepare(c.fit(image)[None])[0]  # type: ignore[misc]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_albumentations_and_torchvisions_presets_are_transforms_too() -> None:
    steps = [albumentations.Resize(64, 64), albumentations.Normalize((0.4,) * 3, (0.2,) * 3)]
    for ending in ([], [ToTensorV2()]):
        c = Classifier.from_module(Plain(), CLASSES, albumentations.Compose([*steps, *ending]))
        np.testing.assert_allclose([c.mean, c.std], [(0.4,) * 3, (0.2,) * 3], rtol=1e-4)
    preset = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    c = Classifier.from_module(torchvision.models.resnet18(num_classes=4), CLASSES, preset)
    assert c.image_size == 224
    np.testing.assert_allclose(c.mean, (0.485, 0.456, 0.406), rtol=1e-4)


def test_names_resize_and_crop_as_torchvision_does() -> None:
    image = pictures().image(5)
    theirs = compose(transforms.Resize(73), transforms.CenterCrop(64))(Image.fromarray(image))
    ours = crop(image, 64, 0.875).astype(int)
    assert np.abs(ours - np.asarray(theirs).astype(int)).max() <= 1 or np.abs(ours - np.asarray(theirs)).mean() < 8
    square = from_arrays(np.zeros((1, 64, 64, 3), np.uint8), [0], CLASSES).image(0)
    assert crop(square, 64, 0.875) is square


class Head(nn.Module):
    """Answers with a function of 4 or 1 logits."""

    def __init__(self, outputs: int, answer: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.body, self.head, self.answer = nn.Conv2d(3, 6, 3), nn.Linear(6, outputs), answer

    def forward(self, x: torch.Tensor) -> object:
        return self.answer(self.head(self.body(x).mean((2, 3))))


class Record:
    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits


def test_probabilities_records_and_single_values_become_logits() -> None:
    torch.manual_seed(0)
    images = pictures(6)
    plain = Head(4, lambda z: z)
    same = Head(4, lambda z: z.softmax(1))
    same.load_state_dict(plain.state_dict())
    record = Head(4, Record)
    record.load_state_dict(plain.state_dict())
    found = [
        workbench.analyse(Classifier.from_module(m, CLASSES, "none", image_size=32), images).predictions
        for m in (plain, same, record)
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other.probability, found[0].probability, atol=1e-6)
    binary, two = Head(1, lambda z: 9 * z), ImageSet(images.pixels, images.labels % 2, ("no", "yes"), "test", "d")
    shares = Head(1, lambda z: (9 * z).sigmoid()[:, 0])
    shares.load_state_dict(binary.state_dict())
    one, other = (
        workbench.analyse(
            Classifier.from_module(m, ("no", "yes"), "none", image_size=32, outputs=o),
            two,  # type: ignore[arg-type]
        ).predictions
        for m, o in ((binary, "logits"), (shares, "probabilities"))
    )
    np.testing.assert_allclose(one.probability, other.probability, atol=1e-6)


class Two(nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image


def broken() -> nn.Module:
    net = Plain()
    nn.init.constant_(net.classifier[1].bias, float("nan"))
    return net


@pytest.mark.parametrize(
    ("module", "options", "words"),
    [
        (lambda: Two(), {}, r"takes 2 inputs \(image, mask\)"),
        (Plain, {"transform": None}, "does not say how its input is normalised"),
        (Plain, {"transform": "cmyk"}, "transform: expected a function or one of imagenet, half, none"),
        (Plain, {"image_size": (64, 64, 3)}, "expected a number of pixels, or"),
        (Plain, {"image_size": (64, True)}, "expected a number of pixels, or"),
        (Plain, {"image_size": 0}, "expected a number of pixels, or"),
        (Plain, {"image_size": 48}, r"does not run on float32 images \(n, 3, 48, 48\)"),
        (lambda: nn.Conv2d(5, 4, 3), {}, "does not run on float32 images"),
        (lambda: nn.Conv2d(3, 4, 3), {}, r"gives \(n, 4, 62, 62\) where 4 classes"),
        (lambda: Head(4, lambda z: (z[:, :2], z[:, :3])), {}, "gives a tuple"),
        (lambda: Head(4, lambda z: z.numpy()), {}, "gives a ndarray"),
        (lambda: Head(1, lambda z: z), {}, r"gives \(n, 1\) where 4 classes are named"),
        (lambda: Head(1, lambda z: z.sigmoid()), {"classes": ("a", "b")}, "may be a logit or a probability"),
        (lambda: Head(4, lambda z: z.sigmoid()), {}, "as for several labels an image"),
        (
            Plain,
            {
                "transform": compose(
                    transforms.Resize((64, 64)), transforms.RandomHorizontalFlip(), transforms.ToTensor(), NORMALISE
                )
            },
            "draws random numbers",
        ),
        (lambda: Head(4, lambda z: z), {"outputs": "probabilities"}, "do not lie in 0 to 1"),
        (broken, {}, "not finite: its weights are damaged"),
        (Plain, {"classes": ("a",)}, "at least two different names"),
        (
            Plain,
            {"transform": transforms.ToTensor()},
            "depends on an image's shape .*give the size of your images as image_size",
        ),
        (Plain, {"transform": compose(transforms.Resize(64), transforms.PILToTensor())}, "expected floats"),
        (
            Plain,
            {"transform": compose(transforms.RandomResizedCrop(64), transforms.ToTensor(), NORMALISE)},
            "draws random numbers",
        ),
        (Plain, {"transform": compose(transforms.Resize(64), transforms.ToTensor()), "image_size": 32}, "gives 64"),
        (Plain, {"transform": lambda image: 1 / 0 if image else image}, None),
    ],
)
def test_what_does_not_fit_gets_a_clear_answer(
    module: Callable[[], nn.Module], options: dict[str, object], words: str | None
) -> None:
    given: dict[str, object] = {"classes": CLASSES, "transform": "half", "image_size": 64, **options}
    if callable(given["transform"]) and "image_size" not in options:
        given["image_size"] = None
    if words is None:  # a fault of the user's own code keeps its traceback
        with pytest.raises(ZeroDivisionError):
            Classifier.from_module(module(), **given)  # type: ignore[arg-type]
        return
    with pytest.raises(DataError, match=words):
        Classifier.from_module(module(), **given)  # type: ignore[arg-type]


def test_a_model_without_a_grid_has_maps_on_the_input() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    c = Classifier.from_module(flat, CLASSES, "none", image_size=32)
    assert c.cam_layers == {}
    run = workbench.analyse(c, pictures(4))
    heard = Heard(workbench.Explorer(run))
    what = {"row": 1, "methods": ["Grad-CAM", "Saliency"], "layers": [], "targets": ["true"]}
    _, buffers, (ahead,) = heard.ask("explain", **what, second=False)
    assert "needs a layer with a grid" in ahead["maps"][0]["refused"]
    assert len(buffers) == 1


def test_weights_come_from_safetensors_and_from_tensors_of_a_pickle(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(3)
    source = Plain()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, tmp_path / "w.pt")
    for name in ("w.safetensors", "w.pt"):
        target = Plain()
        workbench.load_weights(target, tmp_path / name)
        assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


WRAPPINGS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "a tutorial": lambda s: {"epoch": 3, "model_state_dict": s, "optimizer_state_dict": {"state": {}}, "loss": 0.3},
    "net": lambda s: {"net": s, "acc": 91.2},
    "with arguments": lambda s: {"state_dict": s, "best": torch.tensor(3.0), "arch": "x"},
    "Lightning": lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, "epoch": 1},
    "compiled": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "parallel and compiled": lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
    "compiled and parallel": lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()},
    "averaged": lambda s: {"ema": {"n_averaged": torch.tensor(3), **{f"module.{k}": v for k, v in s.items()}}},
}


@pytest.mark.parametrize("kind", WRAPPINGS)
def test_weights_are_found_under_the_usual_keys_and_prefixes(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    source, target = Plain(), Plain()
    torch.save(WRAPPINGS[kind](source.state_dict()), tmp_path / "w.pth")
    workbench.load_weights(target, tmp_path / "w.pth")
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_what_is_left_over_is_counted(tmp_path: Path) -> None:
    state = Plain().state_dict()
    del state["features.0.bias"]
    torch.save({"net": {**state, "more": torch.zeros(1)}}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="of its 6 tensors 5 fit; 1 tensors are missing, such as features.0.bias"):
        workbench.load_weights(Plain(), tmp_path / "w.pth")


def test_dropout_that_is_never_off_is_told() -> None:
    class Drops(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = nn.Dropout()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(nn.functional.dropout(x, 0.5, training=True))

    with pytest.raises(DataError, match=r"changes from call to call \(it has Dropout\)"):
        Classifier.from_module(Drops(), CLASSES, "half", image_size=64)


@pytest.mark.parametrize("module", [Plain().state_dict(), "model.pth", Plain().forward, Plain])
def test_what_is_no_module_is_told(module: object) -> None:
    with pytest.raises(DataError, match=r"expected a torch\.nn\.Module"):
        Classifier.from_module(module, CLASSES, "half", image_size=64)  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [dict(zip(CLASSES, range(4), strict=True)), dict(enumerate(CLASSES))])
def test_class_names_of_a_dictionary_are_taken_by_meaning(classes: dict[object, object]) -> None:
    turned = dict(reversed(classes.items()))
    assert Classifier.from_module(Plain(), turned, "half", image_size=64).classes == CLASSES


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_malicious_checkpoint_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "owned"
    torch.save({"state_dict": Evil(mark)}, tmp_path / "evil.pt")
    target = Plain()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(CheckpointError, match="code of a file is never run"):
        workbench.load_weights(target, tmp_path / "evil.pt")
    assert not mark.exists()
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "is missing"),
        (lambda path: path.write_bytes(b"PK\x03\x04 no zip"), "truncated or of another format|more than tensors"),
        (
            lambda path: torch.save([1, 2], path),
            "expected a dictionary of tensors, or one under state_dict, .*, not list",
        ),
        (lambda path: torch.save(nn.Linear(2, 2).state_dict(), path), "does not fit the model: of its 6 tensors 0 fit"),
    ],
)
def test_bad_weights_are_told(make: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    make(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=words):
        workbench.load_weights(Plain(), tmp_path / "w.pt")


def test_another_way_from_pixels_is_another_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=4)
    kinds = (("imagenet", 64), ("none", 64), ("imagenet", 96))
    ways = [Classifier.from_module(net, CLASSES, name, image_size=size) for name, size in kinds]
    assert len({way.provenance.checkpoint for way in ways}) == 3
    first = workbench.analyse(ways[0], pictures(), tmp_path)
    with pytest.raises(CheckpointError, match="other weights"):
        workbench.analyse(ways[1], pictures(), tmp_path)
    again = Classifier.from_module(net, CLASSES, "imagenet", image_size=64)
    assert workbench.analyse(again, pictures(), tmp_path).predictions.digest == first.predictions.digest


def test_the_same_weights_and_images_are_not_predicted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.models import sharding

    c, images = wrapped("plain CNN"), pictures()
    first = workbench.analyse(c, images, tmp_path)
    monkeypatch.setattr(sharding, "predict_into", lambda *_, **__: pytest.fail("predicted again"))
    assert workbench.analyse(c, images, tmp_path).predictions.digest == first.predictions.digest
    with pytest.raises(CheckpointError, match="other weights"):
        workbench.analyse(Classifier.from_module(Plain(), CLASSES, "half", image_size=64), images, tmp_path)
    other = ImageSet(images.pixels, images.labels, CLASSES, "test", "e" * 64)
    with pytest.raises(DataError, match="predictions on other images"):
        workbench.analyse(c, other, tmp_path)
