"""Features of an inner layer, averaged over the image."""

from __future__ import annotations

import numpy as np

from workbench.core.records import ImageSet, IntArray, Precision, ProbabilityArray
from workbench.errors import DataError
from workbench.models.classifier import Classifier


def pooled_features(
    classifier: Classifier,
    images: ImageSet,
    layer: str,
    rows: IntArray | None = None,
    *,
    precision: Precision = "float32",
    memory_gb: float | None = None,
) -> ProbabilityArray:
    """The mean of each channel of a layer's output over its grid, float32 ``(n, C)``; of all images, or of ``rows``.

    ``layer`` is a CAM layer's name or any other module's whose output has a grid (`Classifier.layer`). The pass stops
    behind it, so that an early layer costs less than a prediction. The model is left unchanged.

    Raises
    ------
    AttributionError
        If the model has no such layer.
    DataError
        If an image can't be read, or features are not finite.
    """
    import torch

    from workbench.images.batches import batches
    from workbench.models.budget import forward_batch
    from workbench.models.execution import products
    from workbench.models.hooks import preserve

    chosen = classifier.layer(layer)
    wanted = images.rows if rows is None else rows
    batch = forward_batch(classifier, memory_gb)
    found: list[ProbabilityArray] = []

    def stop(_: torch.nn.Module, __: object, output: torch.Tensor) -> None:
        raise _ReachedError(chosen.spatial(output).flatten(2).mean(2).float().cpu().numpy())

    with preserve(classifier.module), torch.inference_mode(), products(classifier.device, precision):
        classifier.module.get_submodule(chosen.name).register_forward_hook(stop)
        for _, pixels, bad in batches(classifier.seen(images), wanted, batch):
            if bad:
                raise DataError(next(iter(bad.values())))
            try:
                classifier.module(classifier.prepare(pixels))
            except _ReachedError as reached:
                found.append(reached.features)
    whole = np.concatenate(found)
    if not np.isfinite(whole).all():
        raise DataError(f"the output of layer {layer!r} is not finite: the weights are damaged")
    return whole


class _ReachedError(Exception):
    """The layer's features, on their way out of a pass that need not go on."""

    def __init__(self, features: ProbabilityArray) -> None:
        super().__init__("the layer was reached")
        self.features = features
