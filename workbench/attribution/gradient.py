"""Attributions on the input, by Captum: gradients, references, perturbations."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from workbench.attribution import guards
from workbench.attribution.batch import Batch, Scored
from workbench.attribution.windows import cell_of, window_of
from workbench.core.records import ImageArray
from workbench.errors import AttributionError
from workbench.models.budget import forward_batch, gradient_batch
from workbench.models.classifier import Classifier

Baseline = Literal["black", "blurred", "mean"]
PASSES_AT_ONCE = 64  # more only leaves the caches (measured)
_DRAWING = threading.Lock()  # Captum draws from global generators


def starting_points(classifier: Classifier, pixels: ImageArray, kind: Baseline) -> Tensor:
    """The normalised baselines ``(n, 3, s, s)`` of methods with a reference.

    ``"black"`` is 0 in every channel, ``"blurred"`` the image under a Gaussian of a quarter of its side, ``"mean"``
    the data's mean colour, which normalises to the zero tensor.
    """
    if kind == "black":
        return classifier.prepare(np.zeros_like(pixels))
    if kind == "mean":
        return torch.zeros_like(classifier.prepare(pixels))
    sigma = pixels.shape[1] / 4
    return classifier.prepare(np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in pixels]))


def _check_baseline(classifier: Classifier, kind: Baseline) -> None:
    guards.check_baseline(classifier, kind, lambda pixels: starting_points(classifier, pixels, kind))


def change_from(classifier: Classifier, batch: Batch, start: Tensor) -> Tensor:
    """The explained output of the images minus that of their baselines, float32 ``(n,)``."""
    with torch.no_grad():
        end, begin = classifier.module(torch.cat([batch.x, start])).float().split(len(start))
    return batch.scored(end) - batch.scored(begin)


Parts = tuple[Tensor, Tensor | None]


def saliency(classifier: Classifier, batch: Batch, _: dict[str, Any]) -> Parts:
    """Gradient of the output with respect to the input."""
    from captum.attr import Saliency

    return Saliency(Scored(classifier.module)).attribute(
        _leaf(batch.x), abs=False, additional_forward_args=batch.extra
    ), None


def input_x_gradient(classifier: Classifier, batch: Batch, _: dict[str, Any]) -> Parts:
    """Input times gradient."""
    from captum.attr import InputXGradient

    return InputXGradient(Scored(classifier.module)).attribute(
        _leaf(batch.x), additional_forward_args=batch.extra
    ), None


def integrated_gradients(classifier: Classifier, batch: Batch, settings: dict[str, Any]) -> Parts:
    """Integrated gradients from a baseline, Gauss-Legendre quadrature; and the output's change from there."""
    from captum.attr import IntegratedGradients

    start = starting_points(classifier, batch.pixels, settings["baseline"])
    _check_baseline(classifier, settings["baseline"])
    method = IntegratedGradients(Scored(classifier.module))
    found = method.attribute(
        batch.x,
        start,
        additional_forward_args=batch.extra,
        n_steps=settings["steps"],
        internal_batch_size=max(gradient_batch(classifier, PASSES_AT_ONCE), len(batch.x)),
    )
    return found, change_from(classifier, batch, start)


def gradient_shap(classifier: Classifier, batch: Batch, settings: dict[str, Any]) -> Parts:
    """Expected gradients over black and blurred baselines and noise (Lundberg & Lee 2017)."""
    from captum.attr import GradientShap

    def one(image: Batch) -> Tensor:
        starts = torch.cat([starting_points(classifier, image.pixels, kind) for kind in ("black", "blurred")])
        method = GradientShap(Scored(classifier.module))
        return method.attribute(  # type: ignore[no-any-return]
            image.x,
            starts,
            n_samples=settings["samples"],
            stdevs=settings["noise"],
            additional_forward_args=image.extra,
        )

    return each(batch, one), None


def expected_gradients(classifier: Classifier, batch: Batch, settings: dict[str, Any]) -> Parts:
    """Integrated gradients from reference images drawn at random, at random points of the way (Erion et al. 2021).

    Captum's GradientShap without noise; the total is the output's mean change from all references.

    Raises
    ------
    AttributionError
        If the classifier has no reference images.
    """
    from captum.attr import GradientShap

    if classifier.references is None:
        raise AttributionError(
            "Expected gradients start from reference images: give some of the train split, with "
            "workbench.with_references(classifier, images), --references DATA, or workbench.with_train(run, DIR)"
        )
    starts = classifier.prepare(classifier.references)

    def one(image: Batch) -> Tensor:
        method = GradientShap(Scored(classifier.module))
        return method.attribute(  # type: ignore[no-any-return]
            image.x, starts, n_samples=settings["samples"], stdevs=0.0, additional_forward_args=image.extra
        )

    with torch.no_grad():
        end = batch.scored(classifier.module(batch.x).float())
        begin = classifier.module(starts).float()
    of, against = batch.extra
    mean = begin.mean(0)
    typical = mean[of] - torch.where(against >= 0, mean[against.clamp_min(0)], torch.zeros_like(mean[of]))
    return each(batch, one), end - typical


def smoothgrad(classifier: Classifier, batch: Batch, settings: dict[str, Any]) -> Parts:
    """Mean gradient under noise, given as a share of the image's range of values (Smilkov et al. 2017)."""
    from captum.attr import NoiseTunnel, Saliency

    def one(image: Batch) -> Tensor:
        method = NoiseTunnel(Saliency(Scored(classifier.module)))
        deviation = settings["noise"] * float(image.x.max() - image.x.min())
        return method.attribute(  # type: ignore[no-any-return]
            image.x,
            nt_type="smoothgrad",
            nt_samples=settings["samples"],
            stdevs=deviation,
            abs=False,
            additional_forward_args=image.extra,
        )

    return each(batch, one), None


def deep_lift(classifier: Classifier, batch: Batch, settings: dict[str, Any]) -> Parts:
    """DeepLIFT's rescale rule from a baseline; and the output's change from there."""
    from captum.attr import DeepLift

    guards.check_separate_relus(classifier)
    start = starting_points(classifier, batch.pixels, settings["baseline"])
    _check_baseline(classifier, settings["baseline"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
        found = DeepLift(Scored(classifier.module)).attribute(
            _leaf(batch.x), start, additional_forward_args=batch.extra
        )
    return found, change_from(classifier, batch, start)


def guided_backprop(classifier: Classifier, batch: Batch, _: dict[str, Any]) -> Parts:
    """Gradient with negative parts cut off at every ReLU."""
    from captum.attr import GuidedBackprop

    guards.check_separate_relus(classifier, needed=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
        method = GuidedBackprop(Scored(classifier.module))
        return method.attribute(_leaf(batch.x), additional_forward_args=batch.extra), None


def occlusion(classifier: Classifier, batch: Batch, settings: dict[str, Any]) -> Parts:
    """Drop of the output when a window is replaced by the baseline, averaged over the windows that cover a pixel."""
    from captum.attr import Occlusion

    height, width = batch.x.shape[2:]
    size, stride = window_of(settings, height, width)
    if not stride <= size <= min(height, width):
        raise AttributionError(
            f"Occlusion: expected stride <= window <= {min(height, width)} pixels, not {stride} and {size}"
        )
    start = starting_points(classifier, batch.pixels, settings["baseline"])
    with torch.no_grad():
        found = Occlusion(Scored(classifier.module)).attribute(
            batch.x,
            sliding_window_shapes=(3, size, size),
            strides=(3, stride, stride),
            baselines=start,
            additional_forward_args=batch.extra,
            perturbations_per_eval=_windows_at_once(classifier, batch),
        )
    return found / 3, None  # Captum gives each channel of a window the whole drop


def feature_ablation(classifier: Classifier, batch: Batch, settings: dict[str, Any]) -> Parts:
    """Drop of the output when a cell of a grid is replaced by the baseline."""
    from captum.attr import FeatureAblation

    height, width = batch.x.shape[2:]
    cell = cell_of(settings, height, width)
    row, column = (torch.arange(side, device=batch.x.device) // cell for side in (height, width))
    cells = (row[:, None] * (int(column[-1]) + 1) + column[None, :])[None, None]
    start = starting_points(classifier, batch.pixels, settings["baseline"])
    with torch.no_grad():
        found = FeatureAblation(Scored(classifier.module)).attribute(
            batch.x,
            baselines=start,
            feature_mask=cells,
            additional_forward_args=batch.extra,
            perturbations_per_eval=_windows_at_once(classifier, batch),
        )
    return found / 3, None


def _windows_at_once(classifier: Classifier, batch: Batch) -> int:
    """How many windows of each image share a forward pass, so that it is full for a single image, too."""
    return max(1, forward_batch(classifier) // len(batch.x))


def relevance(classifier: Classifier, batch: Batch, _: dict[str, Any]) -> Parts:
    """Layer-wise relevance propagation with the epsilon rule, where every layer has one."""
    from captum.attr import LRP

    guards.check_relevance_rules(classifier)
    with guards.rules_kept(classifier.module):
        found = LRP(Scored(classifier.module)).attribute(_leaf(batch.x), additional_forward_args=batch.extra)
    return found, None


def _leaf(x: Tensor) -> Tensor:
    """The images as a tensor whose gradients Captum may compute."""
    return x.detach().requires_grad_()


def each(batch: Batch, compute: Callable[[Batch], Tensor]) -> Tensor:
    """A method that draws numbers, image by image with the image's own seed: batch and order do not matter."""
    parts, cards = [], [batch.x.device] if batch.x.device.type == "cuda" else []
    for k, seed in enumerate(batch.seeds):
        row = slice(k, k + 1)
        one = Batch(batch.x[row], batch.pixels[row], batch.of[row], batch.against[row], (seed,))
        with _DRAWING, torch.random.fork_rng(devices=cards), _numpy_seed(seed):
            torch.manual_seed(seed)
            parts.append(compute(one))
    return torch.cat(parts)


class _numpy_seed:  # noqa: N801
    """NumPy's global generator, which Captum's GradientShap draws from, seeded temporarily and then restored."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self.state = np.random.get_state()
        np.random.seed(self.seed % 2**32)

    def __exit__(self, *_: object) -> None:
        np.random.set_state(self.state)
