"""Attributions against the libraries' own paths, on the shipped checkpoint and real errors; run it by itself.

The images are those of ``CIFAR10_ROOT``, else ``./data``. The libraries run as their documentation shows: a float32
model in PyTorch's default layout, 64 images a batch. Ours runs at the faster precision of this processor. The last
line is one JSON object: ratios of seconds, above 1 where ours is faster, except ``all_targets_vs_forward``, our seconds
for the maps of all 10 targets over those of one forward pass at the same precision; each with the mean rank correlation
of our maps with the float32 reference beside it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from training.loop import has_fast_bfloat16
from workbench.attribution.attribute import attribute
from workbench.attribution.exact import class_maps
from workbench.attribution.gradient import starting_points
from workbench.attribution.targets import Targets
from workbench.core.records import Precision
from workbench.evidence.stability import rank_correlation
from workbench.runs.opening import SHIPPED, open_run

ROWS, FEW, REPEATS, BATCH, STEPS = 192, 32, 3, 64, 32


def seconds(call: Callable[[], object]) -> float:
    call()
    found = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def likeness(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.nanmean(rank_correlation(ours, reference)))


def main() -> None:
    run = open_run(SHIPPED)
    classifier, images = run.classifier, run.images
    if classifier is None or images is None:
        raise SystemExit("the benchmark needs the images: set CIFAR10_ROOT")
    precision: Precision = "bfloat16" if has_fast_bfloat16(classifier.device) else "float32"
    wrong = run.predictions.index[~run.predictions.correct][:ROWS]
    pixels = images.pixels[wrong]
    targets = Targets(run.predictions.predicted[[run.predictions.position(int(row)) for row in wrong]])
    plain = open_run(SHIPPED).classifier.module.to(memory_format=torch.contiguous_format).eval()  # type: ignore[union-attr]
    x = classifier.prepare(pixels).contiguous()
    of = torch.from_numpy(targets.of)

    def library() -> np.ndarray:
        with GradCAM(plain, [plain.stage4]) as cam:
            parts = [
                cam(x[k : k + BATCH], [ClassifierOutputTarget(int(t)) for t in of[k : k + BATCH]])
                for k in range(0, len(x), BATCH)
            ]
        return np.concatenate(parts)

    def captum() -> np.ndarray:
        method = LayerGradCam(plain, plain.stage4)
        parts = [method.attribute(x[k : k + BATCH], target=of[k : k + BATCH]) for k in range(0, len(x), BATCH)]
        return torch.cat(parts)[:, 0].detach().numpy()

    def ours() -> np.ndarray:
        return attribute(classifier, pixels, wrong, targets, precision=precision)["stage4"].values

    few, few_targets = slice(0, FEW), targets.part(slice(0, FEW))
    start = starting_points(classifier, pixels[few], "black").contiguous()

    def captum_ig() -> np.ndarray:
        method = IntegratedGradients(plain)
        found = method.attribute(x[few], start, target=of[few], n_steps=STEPS, internal_batch_size=BATCH)
        return found.sum(1).detach().numpy()

    def our_ig() -> np.ndarray:
        return attribute(
            classifier, pixels[few], wrong[few], few_targets, "Integrated gradients", precision=precision, steps=STEPS
        )[""].values

    @torch.inference_mode()
    def forward() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            for k in range(0, len(x), 250):
                classifier.module(classifier.prepare(pixels[k : k + 250]))

    def all_targets() -> np.ndarray:
        return class_maps(classifier, pixels, precision=precision).values

    gradcam_s = seconds(ours)
    figures = {
        "gradcam_vs_pytorch_grad_cam": seconds(library) / gradcam_s,
        "gradcam_vs_captum": seconds(captum) / gradcam_s,
        "gradcam_rank_correlation": likeness(ours(), captum()),
        "integrated_gradients_vs_captum": seconds(captum_ig) / seconds(our_ig),
        "integrated_gradients_rank_correlation": likeness(our_ig(), captum_ig()),
        "all_targets_vs_forward": seconds(all_targets) / seconds(forward),
        "all_targets_rank_correlation": likeness(
            all_targets().reshape(-1, 4, 4), class_maps(classifier, pixels).values.reshape(-1, 4, 4)
        ),
        "precision": precision,
        "images": len(pixels),
        "images_integrated_gradients": FEW,
        "gradcam_images_per_s": len(pixels) / gradcam_s,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
