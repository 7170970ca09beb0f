"""Models as people have them: precisions, sizes, channels, scripted and quantised, records, ONNX, ensembles."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

import workbench
from workbench.attribution.attribute import attribute
from workbench.attribution.gradient import cell_of, window_of
from workbench.attribution.registry import method_of
from workbench.attribution.targets import Targets
from workbench.core.records import ImageSet
from workbench.errors import AttributionError, CheckpointError, DataError
from workbench.models import budget
from workbench.models.classifier import Classifier
from workbench.models.match import match_classes

CLASSES = ("ant", "bee", "cow")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 40, 40, 3), np.uint8)
IMAGES = ImageSet(PIXELS, np.arange(6) % 3, CLASSES, "test", "d" * 64)
X = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 255


class Net(nn.Module):
    """A small convolutional net whose answers differ visibly between images."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return 30 * self.head(self.body(x).mean((2, 3)))


def plain(module: nn.Module, x: Tensor = X) -> np.ndarray:
    with torch.no_grad():
        return module.eval()(x).float().softmax(1).numpy()


def probabilities(c: Classifier, images: ImageSet = IMAGES) -> np.ndarray:
    return workbench.analyse(c, images).predictions.probability


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_run_as_they_are(dtype: torch.dtype) -> None:
    net = Net().to(dtype)
    c = workbench.classifier_of(net, CLASSES, "none", image_size=40)
    np.testing.assert_allclose(probabilities(c), plain(net, X.to(dtype)), atol=2e-2 if dtype != torch.float64 else 1e-6)
    assert next(net.parameters()).dtype == dtype
    for method in ("Grad-CAM", "Saliency", "Occlusion"):
        (found,) = attribute(c, PIXELS[:2], np.arange(2), Targets(np.array([0, 1])), method).values()
        assert found.values.dtype == np.float32
        assert np.abs(found.values).max() > 0


def exported() -> nn.Module:
    free = ({0: torch.export.Dim.AUTO},)
    return torch.export.export(Net().eval(), (torch.zeros(2, 3, 40, 40),), dynamic_shapes=free).module()


OPAQUE: dict[str, Callable[[], nn.Module]] = {
    "scripted": lambda: torch.jit.script(Net().eval()),
    "traced": lambda: torch.jit.trace(Net().eval(), torch.zeros(1, 3, 40, 40)),
    "exported": exported,
    "quantised": lambda: torch.ao.quantization.quantize_dynamic(Net().eval(), {nn.Linear}, dtype=torch.qint8),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", OPAQUE)
def test_what_can_not_be_looked_into_has_predictions_and_perturbation(kind: str) -> None:
    module = OPAQUE[kind]()
    c = workbench.classifier_of(module, CLASSES, "none", image_size=40)
    np.testing.assert_allclose(probabilities(c), plain(Net()), atol=3e-2 if kind == "quantised" else 1e-6)
    assert c.last_layer is None
    for method in ("Occlusion", "Feature ablation"):
        (found,) = attribute(c, PIXELS[:1], np.arange(1), Targets(np.array([0])), method).values()
        assert found.values.any()
    for method in ("Grad-CAM", "Saliency", "Integrated gradients", "Ablation-CAM"):
        with pytest.raises(AttributionError, match=f"{method} needs the model's layers or gradients, and .*Occlusion"):
            attribute(c, PIXELS[:1], np.arange(1), Targets(np.array([0])), method)
    again = workbench.classifier_of(OPAQUE[kind](), CLASSES, "none", image_size=40)
    assert c.provenance.checkpoint == again.provenance.checkpoint
    other = workbench.classifier_of(module, CLASSES, "half", image_size=40)
    assert c.provenance.checkpoint != other.provenance.checkpoint


@pytest.mark.parametrize(
    "give",
    [
        lambda z: {"logits": z, "loss": z.mean()},
        lambda z: {"features": z[:, :2], "out": z},
        lambda z: (z, z.mean(1)),
        lambda z: [z],
        lambda z: z[..., None, None],
        lambda z: (z.new_zeros(len(z), 7), z),
    ],
    ids=["logits", "out", "tuple", "list", "four axes", "second of a tuple"],
)
def test_records_of_several_values(give: Callable[[Tensor], object]) -> None:
    class Giving(Net):
        def forward(self, x: Tensor) -> object:  # type: ignore[override]
            return give(super().forward(x))

    c = workbench.classifier_of(Giving(), CLASSES, "none", image_size=40)
    np.testing.assert_allclose(probabilities(c), plain(Net()), atol=1e-6)
    assert c.last_layer is not None


def test_a_grey_model_takes_grey_images() -> None:
    net = Net(1)
    grey = transforms.Compose([transforms.Grayscale(), transforms.Resize((40, 40)), transforms.ToTensor()])
    c = workbench.classifier_of(net, CLASSES, grey)
    x = torch.stack([grey(transforms.functional.to_pil_image(one)) for one in PIXELS])
    np.testing.assert_allclose(probabilities(c), plain(net, x), atol=1e-5)
    seen = c.seen(IMAGES).image(0)
    assert (seen[..., 0] == seen[..., 1]).all()
    named = workbench.classifier_of(net, CLASSES, "none", image_size=40)
    np.testing.assert_allclose(probabilities(named), plain(net, x), atol=1e-5)
    with pytest.raises(DataError, match=r"does not run on float32 images \(n, 1, 40, 40\).*3 channels"):
        workbench.classifier_of(Net(), CLASSES, grey)


def test_a_fourth_channel_is_alpha_or_named() -> None:
    net = Net(4)

    def rgba(image: Image.Image) -> Image.Image:
        return image.convert("RGBA")

    scale = transforms.Normalize([0.4, 0.5, 0.6, 0.25], [0.2, 0.3, 0.4, 0.5])
    evaluation = transforms.Compose([rgba, transforms.ToTensor(), scale])
    c = workbench.classifier_of(net, CLASSES, evaluation, image_size=40)
    x = torch.stack([evaluation(Image.fromarray(one)) for one in PIXELS])
    np.testing.assert_allclose(probabilities(c), plain(net, x), atol=1e-5)
    attribute(c, c.seen(IMAGES).stack(np.arange(1)), np.arange(1), Targets(np.arange(1)), "Saliency")
    with pytest.raises(DataError, match=r"four channels.*give the evaluation transform"):
        workbench.classifier_of(net, CLASSES, "none", image_size=40)
    infrared = transforms.Compose([transforms.ToTensor(), lambda x: torch.cat([x, x.mean(0, keepdim=True)])])
    with pytest.raises(DataError, match=r"fourth of its channels to be alpha"):
        workbench.classifier_of(net, CLASSES, infrared, image_size=40)


def test_images_that_are_not_square() -> None:
    net = Net()
    wide = ImageSet(
        [RNG.integers(0, 256, (30, 70, 3), np.uint8) for _ in range(4)], np.arange(4) % 3, CLASSES, "t", "d"
    )
    resize = transforms.Compose([transforms.Resize((24, 48)), transforms.ToTensor()])
    for c in (
        workbench.classifier_of(net, CLASSES, resize),
        workbench.classifier_of(net, CLASSES, "none", image_size=(24, 48)),
    ):
        assert c.size == (24, 48)
        assert c.last_layer is not None
        assert c.last_layer.grid == (6, 12)
        run = workbench.analyse(c, wide)
        seen = c.seen(wide).stack(np.arange(2))
        for method in ("Grad-CAM", "Saliency", "Occlusion", "Feature ablation", "Integrated gradients", "Score-CAM"):
            (found,) = attribute(c, seen, np.arange(2), Targets(np.array([0, 1])), method).values()
            assert found.values.shape[1:] in ((6, 12), (24, 48))
        assert len(run.predictions) == 4


NORMALISE = transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261))


@pytest.mark.parametrize(
    ("steps", "options"),
    [
        ([], {"image_size": 40}),
        ([transforms.CenterCrop(32)], {}),
        ([transforms.CenterCrop((24, 32))], {}),
        ([transforms.Pad(4), transforms.CenterCrop(32)], {}),
        ([transforms.Resize(32)], {"image_size": 32}),
    ],
    ids=["CIFAR's own", "a crop alone", "a crop that is not square", "padding and a crop", "one side"],
)
def test_evaluation_transforms_give_the_numbers_of_a_plain_loop(steps: list, options: dict) -> None:
    transform = transforms.Compose([*steps, transforms.ToTensor(), NORMALISE])
    if options.get("image_size") == 32:  # Resize keeps proportions: square images become 32 by 32 pixels
        with pytest.raises(DataError, match="give the size that both have"):
            workbench.classifier_of(Net(), CLASSES, transform, image_size=(40, 48))
        with pytest.raises(DataError, match="depends on an image's shape"):
            workbench.classifier_of(Net(), CLASSES, transform)
    c = workbench.classifier_of(Net(), CLASSES, transform, **options)
    x = torch.stack([transform(transforms.functional.to_pil_image(one)) for one in PIXELS])
    np.testing.assert_allclose(probabilities(c), plain(Net(), x), atol=2e-2)
    assert np.abs(c.prepare(c.seen(IMAGES).stack(np.arange(6))) - x).max() < 0.05


def test_a_transform_without_a_resize_names_images_of_another_size() -> None:
    c = workbench.classifier_of(Net(), CLASSES, transforms.Compose([transforms.ToTensor(), NORMALISE]), image_size=32)
    with pytest.raises(DataError, match=r"gives 40×40 .* takes 32×32: add a resize"):
        workbench.analyse(c, IMAGES)


@pytest.mark.parametrize(
    "standardise", [lambda x: (x - x.mean()) / (x.std() + 1e-6), lambda x: (x - x.min()) / (x.max() - x.min() + 1e-6)]
)
def test_per_image_standardising_is_moved_into_the_model(standardise: Callable[[Tensor], Tensor]) -> None:
    base = [transforms.Resize((40, 40)), transforms.ToTensor()]
    with pytest.raises(DataError, match="move that step to the front of the model's forward"):
        workbench.classifier_of(Net(), CLASSES, transforms.Compose([*base, transforms.Lambda(standardise)]))

    class Standardised(Net):  # the advice, followed
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(torch.stack([standardise(one) for one in x]))

    c = workbench.classifier_of(Standardised(), CLASSES, transforms.Compose(base))
    np.testing.assert_allclose(probabilities(c), plain(Net(), torch.stack([standardise(one) for one in X])), atol=1e-5)


class Branches(nn.Module):
    """A block with a branch behind its main path, and a module that pads."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.pad = nn.Conv2d(3, 8, 3, 2, 1), nn.ZeroPad2d(1)
        self.main, self.side = nn.Conv2d(8, 8, 3, 2), nn.Conv2d(8, 8, 1, 2)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        padded = self.pad(self.stem(x).relu())
        both = self.main(padded) + self.side(padded)[..., :20, :20].narrow(2, 0, 10).narrow(3, 0, 10)
        return self.head(both.relu().mean((2, 3)))


def test_no_branch_and_no_padding_is_offered() -> None:
    c = workbench.classifier_of(Branches(), CLASSES, "none", image_size=40)
    assert list(c.cam_layers) == ["stem"]
    assert c.layer("main").grid == (10, 10)  # any module by its name
    with pytest.raises(AttributionError, match="no grid of an image"):
        c.layer("head")
    with pytest.raises(AttributionError, match="no module 'nothing'"):
        c.layer("nothing")


class Ensemble(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList([Net(), Net()])
        nn.init.normal_(self.members[1].head.weight)

    def forward(self, x: Tensor) -> Tensor:
        return sum(m(x) for m in self.members) / 2


def test_the_layer_of_an_ensemble_is_named() -> None:
    c = workbench.classifier_of(Ensemble(), CLASSES, "none", image_size=40)
    assert {name.split(".")[1] for name in c.cam_layers} == {"0", "1"}
    assert c.last_layer is None
    request = (c, PIXELS[:1], np.arange(1), Targets(np.array([0])), "Grad-CAM")
    with pytest.raises(AttributionError, match=r"several parts at once \(members\.0.*members\.1.*\); name one"):
        attribute(*request)
    maps = [attribute(*request, layers=[name])[name].values for name in c.cam_layers]
    assert not np.allclose(*maps)


def test_weights_made_in_inference_mode_are_refused() -> None:
    with torch.inference_mode():
        net = Net()
    with pytest.raises(DataError, match="build the model outside of it"):
        workbench.classifier_of(net, CLASSES, "none", image_size=40)


@pytest.mark.parametrize("side", [8, 32, 64, 224, 384, 1024])
def test_perturbation_takes_at_most_about_200_passes(side: int) -> None:
    for name in ("Occlusion", "Feature ablation"):
        method = method_of(name)
        assert sum(method.cost(method.settings, 0, side)) <= 200
        assert sum(method.cost({**method.settings, "window": 4, "stride": 4, "cell": 4}, 0, 64)) == 257
    assert window_of({"window": 0, "stride": 0}, 32, 32) == (8, 4)
    assert cell_of({"cell": 0}, 32, 32) == 4


def test_a_batch_follows_the_memory() -> None:
    c = workbench.classifier_of(torchvision.models.resnet18(num_classes=3), CLASSES, "imagenet", image_size=224)
    need = budget.footprint(c)
    assert need.largest == 4 * 64 * 112 * 112
    assert need.kept > 10 * need.largest
    assert budget.forward_batch(c) * need.largest <= budget.CACHED
    assert budget.forward_batch(c, memory_gb=3 * need.largest * 2 / 2**30) == 2
    assert budget.gradient_batch(c, 64, memory_gb=need.kept * 3.5 / 2**30) == 3
    assert budget.gradient_batch(c, 64, memory_gb=1e-9) == 1
    for bad in (0, -1, float("nan"), float("inf")):
        with pytest.raises(DataError, match="above 0"):
            budget.budget(bad)
    small = workbench.classifier_of(Net(), CLASSES, "none", image_size=40)
    np.testing.assert_allclose(
        workbench.analyse(small, IMAGES, memory_gb=1e-5).predictions.probability, probabilities(small), atol=1e-6
    )


def test_classes_are_matched_by_name() -> None:
    turned = ImageSet(PIXELS, 2 - np.arange(6) % 3, CLASSES[::-1], "test", "d" * 64)
    c = workbench.classifier_of(Net(), CLASSES, "none", image_size=40)
    run = workbench.analyse(c, turned)
    np.testing.assert_array_equal(run.predictions.label, IMAGES.labels)
    assert "another order" in run.notes[0]
    assert run.images is not None
    np.testing.assert_array_equal(run.images.labels, IMAGES.labels)
    few = ImageSet(PIXELS[:4], np.array([0, 1, 0, 1]), ("ant", "cow"), "test", "e" * 64)
    lacking = workbench.analyse(c, few)
    np.testing.assert_array_equal(lacking.predictions.label, [0, 2, 0, 2])
    assert "1 of its 3 have no images" in lacking.notes[0]
    numbered = match_classes(ImageSet(PIXELS, IMAGES.labels, ("0", "1", "2"), "test", "d"), CLASSES)
    assert numbered.classes == CLASSES
    assert "0 stands for 'ant'" in numbered.notes[0]
    for strange in (("ant", "bee", "dog"), ("n01", "n02", "n03"), ("1", "2", "3")):
        with pytest.raises(DataError, match="is not; remove the images of such classes"):
            workbench.analyse(c, ImageSet(PIXELS, IMAGES.labels, strange, "test", "d"))


KERAS = Path(__file__).parents[3] / "data" / "keras_digits.onnx"


def digits() -> ImageSet:
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.repeat(np.repeat(found.images * 255 / 16, 2, 1), 2, 2).round().astype(np.uint8)
    rows = slice(1200, None)
    return ImageSet(
        np.repeat(pixels[rows, ..., None], 3, 3), found.target[rows], tuple(map(str, range(10))), "test", "f" * 64
    )


@pytest.mark.parametrize("converted", [True, False])
def test_a_model_trained_with_keras_through_onnx(converted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not converted:
        monkeypatch.setitem(__import__("sys").modules, "onnx2torch", None)
    images = digits()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        c = workbench.classifier_of(KERAS, images.classes, "bytes")
    run = workbench.analyse(c, images)
    np.testing.assert_allclose(run.predictions.probability, np.load(KERAS.with_suffix(".npy")), atol=1e-5)
    assert c.size == (16, 16)
    assert run.predictions.accuracy == pytest.approx(504 / 597)
    targets = Targets(run.predictions.predicted[:2])
    (occluded,) = attribute(c, images.stack(np.arange(2)), np.arange(2), targets, "Occlusion").values()
    assert occluded.values.any()
    if converted:
        (cam,) = attribute(c, images.stack(np.arange(2)), np.arange(2), targets, "Grad-CAM").values()
        assert cam.values.any()
    else:
        with pytest.raises(AttributionError, match="onnxruntime, which has no gradients"):
            attribute(c, images.stack(np.arange(2)), np.arange(2), targets, "Grad-CAM")


def test_onnx_files_of_torch_and_bad_ones(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        c = workbench.classifier_of(KERAS, tuple(map(str, range(10))), "bytes")
    assert c.provenance.checkpoint is not None
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match="no model that onnxruntime can load"):
        workbench.classifier_of(tmp_path / "bad.onnx", CLASSES, "bytes")
    with pytest.raises(CheckpointError, match="is missing"):
        workbench.classifier_of(str(tmp_path / "none.onnx"), CLASSES, "bytes")


def test_both_of_two_classes_with_one_output_have_maps() -> None:
    class Single(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, :1]

    two = ImageSet(PIXELS, np.arange(6) % 2, ("no", "yes"), "test", "d" * 64)
    c = workbench.classifier_of(Single(), two.classes, "none", image_size=40, outputs="logits")
    with torch.no_grad():
        np.testing.assert_allclose(probabilities(c, two)[:, 1], Single()(X)[:, 0].sigmoid().numpy(), atol=1e-6)
    for method in ("Grad-CAM", "Input x gradient", "Occlusion"):
        first, second = (
            next(iter(attribute(c, PIXELS[:2], np.arange(2), Targets(np.full(2, k)), method).values())).values
            for k in (0, 1)
        )
        assert np.abs(first).max() > 0
        np.testing.assert_allclose(first, -second, atol=1e-5 * np.abs(first).max())


def test_standardising_that_spares_plain_images_is_found() -> None:
    def transform(image: object) -> Tensor:
        x = transforms.functional.to_tensor(image)
        return (x - x.mean()) / x.std() if x.std() > 0 else x

    with pytest.raises(DataError, match="as in standardising each image"):
        workbench.classifier_of(Net(), CLASSES, transform, image_size=40)


def test_inverted_images_are_a_scale_and_a_shift() -> None:
    invert = transforms.Compose([transforms.Resize((40, 40)), transforms.ToTensor(), lambda x: 1 - x])
    np.testing.assert_allclose(
        probabilities(workbench.classifier_of(Net(), CLASSES, invert)), plain(Net(), 1 - X), atol=1e-5
    )


@pytest.mark.parametrize(
    "give",
    [lambda z: (z[:, :1], z), lambda z: {"aux_loss": z.sum(), "y": z}, lambda z: (z.sum(), z)],
    ids=["a confidence first", "a loss in a dictionary", "a loss in a tuple"],
)
def test_one_value_an_image_gives_way_to_one_a_class(give: Callable[[Tensor], object]) -> None:
    class Giving(Net):
        def forward(self, x: Tensor) -> object:  # type: ignore[override]
            return give(super().forward(x))

    np.testing.assert_allclose(
        probabilities(workbench.classifier_of(Giving(), CLASSES, "none", image_size=40)), plain(Net()), atol=1e-6
    )


def test_copies_in_the_batch_have_predictions_and_no_embedding() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, x: Tensor) -> Tensor:
            return sum(self.net(torch.cat([x, x.flip(3)])).chunk(2)) / 2

    c = workbench.classifier_of(Both(), CLASSES, "none", image_size=40)
    np.testing.assert_allclose(probabilities(c), plain(Both()), atol=1e-6)
    assert (c.embedding_layer, c.last_layer) == (None, None)


def test_a_model_that_changes_its_input_gets_a_copy() -> None:
    class InPlace(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.sub_(0.5))

    c = workbench.classifier_of(InPlace(), CLASSES, "none", image_size=40)
    np.testing.assert_allclose(probabilities(c), plain(Net(), X - 0.5), atol=1e-6)


def test_a_forward_without_gradients_is_said() -> None:
    class Closed(Net):
        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    c = workbench.classifier_of(Closed(), CLASSES, "none", image_size=40)
    np.testing.assert_allclose(probabilities(c), plain(Net()), atol=1e-6)
    with pytest.raises(AttributionError, match="turns gradients off: take 'Occlusion'"):
        attribute(c, PIXELS[:1], np.arange(1), Targets(np.array([0])), "Saliency")
    assert attribute(c, PIXELS[:1], np.arange(1), Targets(np.array([0])), "Occlusion")[""].values.any()


def test_channels_are_those_that_the_model_runs_on() -> None:
    grey = transforms.Compose([transforms.Grayscale(), transforms.Resize((40, 40)), transforms.ToTensor()])
    x = torch.stack([grey(transforms.functional.to_pil_image(one)) for one in PIXELS])
    flat = nn.Sequential(nn.Flatten(), nn.Linear(1600, 3))
    np.testing.assert_allclose(probabilities(workbench.classifier_of(flat, CLASSES, grey)), plain(flat, x), atol=1e-5)

    class Gated(Net):
        def __init__(self) -> None:
            super().__init__()
            body, head = self.body, self.head
            del self.body, self.head
            self.gate, self.body, self.head = nn.Conv2d(1, 1, 7, padding=3), body, head

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * self.gate(x.mean(1, keepdim=True)).sigmoid())

    for transform in ("none", transforms.Compose([transforms.Resize((40, 40)), transforms.ToTensor()])):
        c = workbench.classifier_of(Gated(), CLASSES, transform, image_size=40)
        np.testing.assert_allclose(probabilities(c), plain(Gated()), atol=1e-5)


@pytest.mark.parametrize("size", [(128, 1024), (32, 512), (5, 5), (40, 8)])
def test_the_default_window_fits_every_shape(size: tuple[int, int]) -> None:
    window, stride = window_of({"window": 0, "stride": 0}, *size)
    assert stride <= window <= min(size)
    counts = [-(-(side - window) // stride) + 1 for side in size]
    assert counts[0] * counts[1] <= 196
    cell = cell_of({"cell": 0}, *size)
    assert -(-size[0] // cell) * -(-size[1] // cell) <= 196


def test_every_resolution_of_a_regnet_is_offered() -> None:
    net = torchvision.models.regnet_y_400mf(weights=None, num_classes=3)
    c = workbench.classifier_of(net, CLASSES, "imagenet", image_size=64)
    assert [layer.grid[0] for layer in c.cam_layers.values()] == [16, 8, 4, 2]


@pytest.mark.parametrize(("name", "partial"), [("coat_tiny", True), ("vit_tiny_patch16_224", False)])
def test_one_of_several_parallel_scales_is_named(name: str, partial: bool) -> None:
    import timm

    net = timm.create_model(name, num_classes=3, img_size=64, pretrained=False)
    c = workbench.classifier_of(net, CLASSES, "imagenet", image_size=64, outputs="logits")
    assert (c.last_layer is None) == partial
    assert bool(c.no_layer) == partial


def test_weights_outside_of_an_onnx_file_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnx2torch", None)
    digests = []
    for factor in (1.0, 1.5, 1.5):
        model = onnx.load(KERAS)
        for tensor in model.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.ndim == 4:
                tensor.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(factor), tensor.name))
        folder = tmp_path / str(len(digests))
        folder.mkdir()
        onnx.save_model(
            model, folder / "z.onnx", save_as_external_data=True, location="z.onnx.data", size_threshold=1000
        )
        c = workbench.classifier_of(folder / "z.onnx", tuple(map(str, range(10))), "bytes")
        digests.append(c.provenance.checkpoint)
    assert digests[0] != digests[1] == digests[2]


def test_a_model_without_gradients_is_evaluated_in_evaluation_mode() -> None:
    class Closed(Net):
        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(nn.functional.dropout(x, 0.5, self.training))

    c = workbench.classifier_of(Closed().train(), CLASSES, "none", image_size=40)
    np.testing.assert_allclose(probabilities(c), plain(Net()), atol=1e-6)
