"""Augmentation: a recipe's albumentations pipeline, drawn anew for each row and epoch."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # read at import: otherwise it looks for a newer version online

import albumentations
import cv2
from albumentations.pytorch import ToTensorV2

from training.dataset import SIDE, DataSet, Labels
from training.pixels import fit
from training.recipe import Recipe

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
Batch = tuple[Tensor, Tensor, Tensor]


def pipeline(
    recipe: Recipe, statistics: Statistics, size: int, *, train: bool, side: int = SIDE
) -> albumentations.Compose:
    """Transform of uint8 ``(side, side, 3)`` to a normalised float32 tensor ``(3, size, size)``.

    The cutout's hole lies wholly inside the image, where that of DeVries & Taylor 2017
    (arXiv 1708.04552) may be clipped by the edge. Holes are filled with the data's mean.
    """
    mean, deviation = statistics

    def pixels(of_32: int) -> int:
        return round(of_32 * side / SIDE)

    fill = tuple(round(255 * m) for m in mean)
    steps: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a misspelt argument only warns and runs with defaults
        if train and recipe.flip:
            steps.append(albumentations.HorizontalFlip(p=0.5))
        if train and recipe.crop_padding:
            border = cv2.BORDER_REFLECT_101 if recipe.pad_reflect else cv2.BORDER_CONSTANT
            steps.append(albumentations.Pad(padding=pixels(recipe.crop_padding), border_mode=border, fill=0))
            steps.append(albumentations.RandomCrop(side, side))
        if train and recipe.cutout:
            hole = (pixels(recipe.cutout),) * 2
            steps.append(
                albumentations.CoarseDropout(
                    num_holes_range=(1, 1), hole_height_range=hole, hole_width_range=hole, fill=fill, p=1.0
                )
            )
        if train and recipe.rotate_degrees:
            steps.append(albumentations.Rotate(limit=recipe.rotate_degrees, border_mode=cv2.BORDER_REFLECT_101))
        if train and recipe.coarse_dropout:
            small = (pixels(2), pixels(4))
            steps.append(
                albumentations.CoarseDropout(
                    num_holes_range=(1, 8), hole_height_range=small, hole_width_range=small, fill=fill, p=0.5
                )
            )
        if size != side and train:
            steps.append(albumentations.Resize(size, size, interpolation=cv2.INTER_AREA))
        elif size != side:  # as everything that takes the checkpoint will see the images
            steps.append(albumentations.Lambda(image=functools.partial(fit, side=size), name="fit"))
        steps += [albumentations.Normalize(mean, deviation), ToTensorV2()]
        return albumentations.Compose(steps)


class AugmentedRows(Dataset[tuple[Tensor, int, int]]):
    """Rows ``(image, label, row)`` of a data set in a given order, transformed.

    The random numbers for a row depend on the seed, the epoch and the row alone: neither the number of
    worker processes, nor the batch, nor the rank, nor a restart in mid-epoch changes it.
    """

    def __init__(
        self, data: DataSet, order: Labels, transform: albumentations.Compose, seed: tuple[int, int] | None
    ) -> None:
        self.data, self.order, self.transform, self.seed = data, order, transform, seed

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> tuple[Tensor, int, int]:
        row = int(self.order[position])
        if self.seed is not None:
            self.transform.set_random_seed(int(np.random.SeedSequence((*self.seed, row)).generate_state(1)[0]))
        image = self.transform(image=self.data.images[row])["image"]
        return image, int(self.data.labels[row]), row


def _single_thread(_: int) -> None:
    cv2.setNumThreads(0)


def batches(rows: AugmentedRows, positions: list[list[int]], workers: int, *, pinned: bool = False) -> Iterator[Batch]:
    """Batches of images float32 ``(n, 3, s, s)``, labels and rows int64 ``(n,)`` at the given positions.

    ``pinned``: in memory from which a GPU copies while it computes.
    """
    cv2.setNumThreads(0)
    loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
        rows,
        batch_sampler=positions,
        num_workers=workers,
        pin_memory=pinned,
        worker_init_fn=_single_thread,
        generator=torch.Generator().manual_seed(0),
    )
    yield from loader
