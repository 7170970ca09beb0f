import io

import cv2
import numpy as np
from PIL import Image

from workbench.analysis.pictures import blockiness, descriptor, pictures


def scene(seed: int, side: int = 128) -> np.ndarray:
    small = np.random.default_rng(seed).uniform(0, 255, (12, 12, 3)).astype(np.float32)
    return np.clip(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def test_compression_leaves_blocks() -> None:
    for seed in range(5):
        whole = scene(seed)
        assert abs(blockiness(whole)) < 0.1
        assert blockiness(compressed(whole, 5)) > 0.25 > abs(blockiness(compressed(whole, 95)))
    assert blockiness(scene(0, 32)) == 0
    assert blockiness(np.full((80, 80, 3), 9, np.uint8)) == 0


def test_properties_of_images_of_several_sizes() -> None:
    found = pictures([scene(1), scene(2, 60)[:, :40]])
    assert found.table["width"].to_list() == [128, 40]
    assert found.table["height"].to_list() == [128, 60]
    assert found.descriptor.shape == (2, 176)
    assert np.isfinite(found.descriptor).all()


def test_the_descriptor_tells_colour_and_direction() -> None:
    across, down = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 3), np.uint8)
    across[:, ::4], down[::4] = 255, 255
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    one, other, plain = descriptor(across), descriptor(down), descriptor(red)
    assert np.abs(one[48:] - other[48:]).max() > 0.5
    assert np.allclose(plain[:48].reshape(16, 3), [200 / 255, 0, 0], atol=1e-3)
