"""Checks before an attribution runs: what would be meaningless is refused with the reason."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from workbench.classifier import Classifier
from workbench.errors import AttributionError
from workbench.records import ImageArray, IntArray

# not nearer to the start: there the normalisation's own epsilon lets the output move a little
_FRACTIONS = (0.1, 0.3, 0.6)


def check_request(classifier: Classifier, images: ImageArray, rows: IntArray, targets: IntArray) -> None:
    """Raise `AttributionError` unless there is one row id and one valid target for each image."""
    if len(images) == 0:
        raise AttributionError("no image to explain: expected at least one")
    for name, values in (("row ids", rows), ("targets", targets)):
        if values.shape != (len(images),):
            raise AttributionError(f"expected {len(images)} {name}, one for each image, not {values.shape}")
    classes = len(classifier.classes)
    if not 0 <= targets.min() <= targets.max() < classes:
        raise AttributionError(f"targets: expected 0 to {classes - 1}, not {targets.min()} to {targets.max()}")


def check_layer(classifier: Classifier, layer: str) -> None:
    """Raise `AttributionError` if the model has no such CAM layer."""
    if layer not in classifier.cam_layers:
        raise AttributionError(f"expected a layer of {', '.join(classifier.cam_layers)}, not {layer!r}")


def check_baseline(classifier: Classifier, x: Tensor, baseline: Tensor, targets: Tensor) -> None:
    """Refuse a baseline from which the straight path to the images carries no gradient.

    Where a bias-free convolution is followed by a normalisation, F(a·x) = F(x) for every a > 0. From
    the zero tensor the path to x is such a ray: the output jumps at its start and is constant
    after, so integrated gradients are zero in exact arithmetic and noise in floating point.
    Refused is therefore a baseline x' for which F at 10, 30 and 60 % of the path equals F(x)
    within 2 % of the change F(x) - F(x'), for every image tried.

    Raises
    ------
    AttributionError
        If the baseline is degenerate in this sense.
    """
    with torch.no_grad():

        def output(z: Tensor) -> Tensor:
            logits: Tensor = classifier.module(z)
            return logits.gather(1, targets[:, None])[:, 0]

        end, start = output(x), output(baseline)
        change = (end - start).abs()
        along = torch.stack([(output(baseline + f * (x - baseline)) - end).abs() for f in _FRACTIONS])
    if bool((along.amax(0) <= 0.02 * change).all()):
        raise AttributionError(
            "degenerate baseline: the model's output is the same all along the path from it to the image (the model "
            "ignores the scale of its input), so integrated gradients mean nothing; take 'black' or 'blurred'"
        )


def completeness_residual(
    attributions: Tensor, end: Tensor, start: Tensor
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """``|sum - (F(x) - F(x'))| / |F(x) - F(x')|`` for each image, float64 ``(n,)`` (arXiv 1703.01365).

    A change smaller than 1e-6 gives nan: a share of nothing is not defined.
    """
    change = (end - start).double()
    gap = (attributions.double().flatten(1).sum(1) - change).abs()
    residual = torch.where(change.abs() > 1e-6, gap / change.abs(), torch.nan)
    return np.asarray(residual.detach().cpu().numpy(), np.float64)
