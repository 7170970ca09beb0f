"""Predictions: a classifier over images, in memory."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from workbench.core.predictions import Predictions
from workbench.core.records import ImageArray, ImageSet, IntArray, Precision, ProbabilityArray, Provenance
from workbench.errors import DataError

if TYPE_CHECKING:
    from workbench.models.classifier import Classifier

BATCH = 250
Progress = Callable[[int, int], None]


def predict(
    classifier: Classifier,
    images: ImageSet,
    *,
    rows: IntArray | None = None,
    batch: int | None = None,
    precision: Precision = "float32",
    memory_gb: float | None = None,
    skipped: dict[int, str] | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Probabilities (float32 softmax), predicted classes and embeddings of every image, or of the row ids ``rows``.

    ``precision`` is that of the model's products; bfloat16 is faster where the processor supports it (AVX512-BF16,
    AMX), and changes probabilities in the third digit. An image that can't be read is an error; with ``skipped`` it is
    omitted, and the reason is stored there by row id. ``batch`` images are taken at once, by default as many as
    ``memory_gb`` allow (see `models.budget`); if memory runs out, the batch is halved with a warning.
    ``progress(done, total)`` is called after each batch. The model is left unchanged.

    Raises
    ------
    DataError
        If the images have a class that the model lacks or are of another size, an image can't be read, or the model's
        output is not finite.
    """
    import torch

    from workbench.images.batches import batches
    from workbench.models.budget import forward_batch
    from workbench.models.execution import products
    from workbench.models.hooks import preserve
    from workbench.models.match import match_classes

    images = match_classes(images, classifier.classes)
    rows = images.rows if rows is None else rows
    batch = forward_batch(classifier, memory_gb) if batch is None else batch
    found: list[tuple[IntArray, ProbabilityArray, ProbabilityArray | None]] = []
    done = 0
    with preserve(classifier.module), torch.inference_mode(), products(classifier.device, precision):
        model = _Model(classifier)
        for good, pixels, bad in batches(classifier.seen(images), rows, batch):
            if bad and skipped is None:
                raise DataError(f"{next(iter(bad.values()))} (or omit such images with --skip-unreadable)")
            if skipped is not None:
                skipped.update(bad)
            if len(good):
                found.append((good, *model(pixels)))
            done += len(good) + len(bad)
            if progress is not None:
                progress(done, len(rows))
    if not found:
        raise DataError(f"none of {len(rows):,} images can be read: {next(iter((skipped or {}).values()), 'no rows')}")
    index, whole = (np.concatenate([part[k] for part in found]) for k in (0, 1))
    embedding = [part[2] for part in found if part[2] is not None]
    if not np.isfinite(whole).all():
        raise DataError("the model's output is not finite: its weights are damaged; train or copy it again")
    return Predictions.from_arrays(
        images.labels_of(index),
        whole,
        classifier.classes,
        index=index,
        embedding=np.concatenate(embedding) if embedding else None,
        provenance=provenance_of(classifier, images, precision),
    )


class _Model:
    """Probabilities and embeddings of batches, in smaller parts once a batch has not fitted into memory."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._most = sys.maxsize
        self._read: list[ProbabilityArray] = []
        if classifier.embedding_layer is not None:
            layer = classifier.module.get_submodule(classifier.embedding_layer)
            layer.register_forward_hook(lambda _, inputs, __: self._read.append(inputs[0].float().cpu().numpy()))

    def __call__(self, pixels: ImageArray) -> tuple[ProbabilityArray, ProbabilityArray | None]:
        """float32 ``(n, K)`` and ``(n, D)``; the second is None without an embedding layer."""
        if len(pixels) > self._most:
            most = self._most  # the parts may shrink further meanwhile
            parts = [self(pixels[first : first + most]) for first in range(0, len(pixels), most)]
            embedding = [part[1] for part in parts if part[1] is not None]
            return np.concatenate([part[0] for part in parts]), np.concatenate(embedding) if embedding else None
        from workbench.models.hooks import out_of_memory

        self._read.clear()
        try:
            logits = self._classifier.module(self._classifier.prepare(pixels))
            return logits.float().softmax(1).cpu().numpy(), self._read[-1] if self._read else None
        except (MemoryError, RuntimeError) as error:
            if len(pixels) == 1 or not out_of_memory(error):
                raise
        self._most = len(pixels) // 2
        warnings.warn(
            f"out of memory at {len(pixels)} images: {self._most} at a time from here on", ResourceWarning, stacklevel=3
        )
        return self(pixels)


def provenance_of(classifier: Classifier, images: ImageSet, precision: Precision) -> Provenance:
    """What predictions of these images by this classifier are computed from."""
    return dataclasses.replace(
        classifier.provenance,
        data=images.fingerprint,
        split=images.split,
        precision=precision,
        reading=images.reading or None,
    )
