import dataclasses
import os

import numpy as np
import pytest
import torch

from tests.factories import TINY, data_set
from training import augment
from training.dataset import channel_statistics
from training.recipe import RECIPES


def collect(workers: int, batch: int, epoch: int = 0) -> dict[int, torch.Tensor]:
    data = data_set(24)
    transform = augment.pipeline(TINY, channel_statistics(data.images), 32, train=True)
    rows = augment.AugmentedRows(data, np.arange(24), transform, (0, epoch))
    positions = [list(range(first, min(first + batch, 24))) for first in range(0, 24, batch)]
    return {int(r): x for xs, _, rs in augment.batches(rows, positions, workers) for x, r in zip(xs, rs, strict=True)}


def test_neither_workers_nor_batches_change_what_is_drawn() -> None:
    alone, others = collect(0, 24), collect(2, 5)
    for row, image in alone.items():
        torch.testing.assert_close(others[row], image, rtol=0, atol=0)


def test_epochs_and_rows_differ() -> None:
    first, second = collect(0, 24), collect(0, 24, epoch=1)
    assert any(not torch.equal(first[row], second[row]) for row in first)


def test_plain_pipeline_is_normalisation() -> None:
    data = data_set(4)
    mean, deviation = statistics = channel_statistics(data.images)
    tensor = augment.pipeline(TINY, statistics, 32, train=False)(image=data.images[1])["image"]
    expected = (data.images[1] / 255 - mean) / deviation
    np.testing.assert_allclose(tensor.numpy().transpose(1, 2, 0), expected, atol=1e-5)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda r: r.name)
@pytest.mark.parametrize("size", [16, 24, 32])
def test_recipes_give_normal_images(recipe, size: int) -> None:
    data = data_set(4)
    transform = augment.pipeline(recipe, channel_statistics(data.images), size, train=True)
    image = transform(image=data.images[0])["image"]
    assert image.shape == (3, size, size)
    assert image.dtype == torch.float32
    assert torch.isfinite(image).all()


@pytest.mark.parametrize("side", [0, 8, 16])
def test_cutout_lies_inside_and_has_its_size(side: int) -> None:
    recipe = dataclasses.replace(TINY, flip=False, crop_padding=0, cutout=side)
    transform = augment.pipeline(recipe, ((0.0,) * 3, (1.0,) * 3), 32, train=True)
    white = np.full((32, 32, 3), 255, np.uint8)
    for seed in range(5):
        transform.set_random_seed(seed)
        hole = transform(image=white)["image"][0] == 0
        assert int(hole.sum()) == side * side


def test_albumentations_does_not_ask_the_network() -> None:
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"
