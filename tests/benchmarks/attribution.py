"""Attributions against the libraries' own paths, on the shipped checkpoint and real errors; run it by itself.

The images are those of ``CIFAR10_ROOT``, else ``./data``. The libraries run as their documentation shows: a float32
model in PyTorch's default layout, 64 images a batch. Keys that end in ``_float32`` compare like with like: ours in
float32, too; ratios of seconds in the same round, above 1 where ours is faster. ``…_vs_forward_float32`` are our
seconds over those of the forward pass alone, below 1 where ours is faster. ``…_bfloat16_gain``, where the processor
multiplies bfloat16: our seconds in float32 over those in bfloat16, with the mean rank correlation of the two maps.
``one_image`` are single images, one after the other, as the explorer asks for them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from captum.attr import (
    FeatureAblation,
    GradientShap,
    IntegratedGradients,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from pytorch_grad_cam import GradCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor

from tests.benchmarks.timing import interleaved, report
from training.execution import has_fast_bfloat16
from workbench.attribution.attribute import attribute
from workbench.attribution.exact import class_maps
from workbench.attribution.gradient import starting_points
from workbench.attribution.targets import Targets
from workbench.core.records import Precision
from workbench.evidence.stability import rank_correlation
from workbench.runs.opening import SHIPPED, open_run

ROWS, FEW, SINGLE, BATCH, STEPS = 192, 8, 2, 64, 32
PARTS = ("cams", "paths", "perturbing", "gains")


def likeness(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.nanmean(rank_correlation(ours, reference)))


class Sides:
    """Each map by the library and by us, on the same images and targets."""

    def __init__(self, rows: int) -> None:
        run = open_run(SHIPPED)
        if run.classifier is None or run.images is None:
            raise SystemExit("the benchmark needs the images: set CIFAR10_ROOT")
        self.classifier = run.classifier
        self.rows = run.predictions.index[~run.predictions.correct][:rows]
        self.pixels = run.classifier.seen(run.images).stack(self.rows)
        places = [run.predictions.position(int(row)) for row in self.rows]
        self.targets = Targets(run.predictions.predicted[places])
        plain = open_run(SHIPPED).classifier
        assert plain is not None
        self.plain: Any = plain.module.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        self.x = self.classifier.prepare(self.pixels).contiguous()
        self.start = starting_points(self.classifier, self.pixels, "black").contiguous()
        self.of = torch.from_numpy(self.targets.of)

    def ours(self, method: str, precision: Precision, count: int, at_once: int, **settings: Any) -> np.ndarray:
        """Our maps of the first ``count`` images, ``at_once`` a call."""
        parts = []
        for k in range(0, count, at_once):
            part = slice(k, min(k + at_once, count))
            found = attribute(
                self.classifier,
                self.pixels[part],
                self.rows[part],
                self.targets.part(part),
                method,
                precision=precision,
                **settings,
            )
            parts.append(next(iter(found.values())).values)
        return np.concatenate(parts)

    def theirs(self, compute: Callable[[Tensor, Tensor, Tensor], Any], count: int, at_once: int) -> np.ndarray:
        """The library's maps of the same images; ``compute(x, start, targets)``."""
        parts = []
        for k in range(0, count, at_once):
            part = slice(k, min(k + at_once, count))
            parts.append(np.asarray(torch.as_tensor(compute(self.x[part], self.start[part], self.of[part])).detach()))
        return np.concatenate(parts)

    @torch.inference_mode()
    def forward(self, precision: Precision) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            for k in range(0, len(self.x), BATCH):
                self.classifier.module(self.classifier.prepare(self.pixels[k : k + BATCH]))


def by_grad_cam(sides: Sides, kind: Any) -> Callable[[Tensor, Tensor, Tensor], Any]:
    def compute(x: Tensor, _: Tensor, of: Tensor) -> Any:
        with kind(sides.plain, [sides.plain.stage4]) as cam:
            return cam(x, [ClassifierOutputTarget(int(t)) for t in of])

    return compute


def perturbing(sides: Sides) -> dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Any], dict[str, Any]]]:
    """What runs the model many times for each image, by the library, and our settings for the same map."""
    plain, cells = sides.plain, (torch.arange(32) // 4)[:, None] * 8 + torch.arange(32) // 4
    return {
        "Occlusion": (
            lambda x, start, of: Occlusion(plain).attribute(
                x, sliding_window_shapes=(3, 8, 8), strides=(3, 4, 4), baselines=start, target=of
            ),
            {"baseline": "black", "window": 8, "stride": 4},
        ),
        "Feature ablation": (
            lambda x, start, of: FeatureAblation(plain).attribute(
                x, baselines=start, feature_mask=cells[None, None], target=of
            ),
            {"baseline": "black", "cell": 4},
        ),
        "SmoothGrad": (
            lambda x, _, of: NoiseTunnel(Saliency(plain)).attribute(
                x.requires_grad_(), nt_samples=16, stdevs=0.1 * float(x.max() - x.min()), target=of, abs=False
            ),
            {"samples": 16},
        ),
        "GradientSHAP": (
            lambda x, start, of: GradientShap(plain).attribute(x, start, n_samples=32, stdevs=0.05, target=of),
            {"samples": 32},
        ),
        "Score-CAM": (by_grad_cam(sides, ScoreCAM), {}),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    sides = Sides(options.rows)
    count, few = len(sides.rows), min(FEW, len(sides.rows))
    figures: dict[str, Any] = {}
    if "cams" in options.parts:
        figures |= _cams(sides, count, options.rounds)
    if "paths" in options.parts:
        figures |= _paths(sides, few, options.rounds)
    if "perturbing" in options.parts:
        figures |= _perturbing(sides, few)
    if "gains" in options.parts and has_fast_bfloat16(sides.classifier.device):
        figures |= _gains(sides, count, few, options.rounds)
    report("attribution", {**figures, "precision_theirs": "float32", "images": count, "images_of_many_passes": few})


def _cams(sides: Sides, count: int, rounds: int) -> dict[str, float]:
    taken = interleaved(
        {
            "pytorch_grad_cam": lambda: sides.theirs(by_grad_cam(sides, GradCAM), count, BATCH),
            "captum": lambda: sides.theirs(
                lambda x, _, of: LayerGradCam(sides.plain, sides.plain.stage4).attribute(x, target=of), count, BATCH
            ),
            "ours": lambda: sides.ours("Grad-CAM", "float32", count, count),
            "forward": lambda: sides.forward("float32"),
            "all": lambda: class_maps(sides.classifier, sides.pixels),
        },
        rounds,
    )
    return {
        "gradcam_vs_pytorch_grad_cam_float32": taken.ratio("pytorch_grad_cam", "ours"),
        "gradcam_vs_captum_float32": taken.ratio("captum", "ours"),
        "gradcam_vs_forward_float32": taken.ratio("ours", "forward"),
        "all_targets_vs_forward_float32": taken.ratio("all", "forward"),
        "gradcam_images_per_s_float32": count / taken.seconds("ours"),
    }


def _paths(sides: Sides, few: int, rounds: int) -> dict[str, float]:
    def integrated(x: Tensor, start: Tensor, of: Tensor) -> Tensor:
        method = IntegratedGradients(sides.plain)
        found: Tensor = method.attribute(x, start, target=of, n_steps=STEPS, internal_batch_size=BATCH)
        return found

    taken = interleaved(
        {
            "captum": lambda: sides.theirs(integrated, few, few),
            "ours": lambda: sides.ours("Integrated gradients", "float32", few, few, steps=STEPS),
        },
        rounds,
    )
    return {"integrated_gradients_vs_captum_float32": taken.ratio("captum", "ours")}


def _perturbing(sides: Sides, few: int) -> dict[str, float]:
    """Three rounds each, of several images at once and of single ones."""
    figures = {}
    for method, (compute, settings) in perturbing(sides).items():
        name = method.lower().replace(" ", "_").replace("-", "_")
        for words, at_once in (("", few), ("_one_image", 1)):
            number = few if at_once > 1 and method != "Score-CAM" else SINGLE  # which takes 512 passes an image
            taken = interleaved(
                {
                    "theirs": lambda c=compute, n=number, a=at_once: sides.theirs(c, n, a),
                    "ours": lambda m=method, n=number, a=at_once, s=settings: sides.ours(m, "float32", n, a, **s),
                },
                3,
            )
            figures[f"{name}_vs_library{words}_float32"] = taken.ratio("theirs", "ours")
    return figures


def _gains(sides: Sides, count: int, few: int, rounds: int) -> dict[str, float]:
    """What bfloat16 adds to our own side, and how like its maps are to those in float32."""
    found: dict[str, float] = {}
    for method, number, settings in (("Grad-CAM", count, {}), ("Integrated gradients", few, {"steps": STEPS})):
        taken = interleaved(
            {
                "float32": lambda m=method, n=number, s=settings: sides.ours(m, "float32", n, n, **s),
                "bfloat16": lambda m=method, n=number, s=settings: sides.ours(m, "bfloat16", n, n, **s),
            },
            rounds,
        )
        name = method.lower().replace("-", "").replace(" ", "_")
        found[f"{name}_bfloat16_gain"] = taken.ratio("float32", "bfloat16")
        maps = [sides.ours(method, precision, number, number, **settings) for precision in ("float32", "bfloat16")]
        found[f"{name}_bfloat16_rank_correlation"] = likeness(maps[1], maps[0])
    return found


if __name__ == "__main__":
    main()
