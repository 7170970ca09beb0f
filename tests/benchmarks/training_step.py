"""One training step of the fast recipe's model against a plain loop; run it by itself.

``speedup`` is images/s of our step, as a recipe with ``precision`` and ``layout`` "auto" takes it, over those of the
plain loop: float32, PyTorch's default layout. ``speedup_float32`` has ours in float32, too. Adam in all, so that only
the execution differs; ratios of the same round. ``share_of_peak`` is our arithmetic over that of the machine's best
matrix product in bfloat16 or, where that is slower because it is emulated, in float32.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable

import torch
from torch.nn import functional

from tests.benchmarks.timing import interleaved, report
from training import loop
from training.execution import Execution, pick_for_training
from training.model import ResNet18LN, summary
from training.recipe import RECIPES


def forward_flop(model: ResNet18LN, side: int) -> float:
    """Two for each multiply-add of convolutions and the head, for one image."""
    shapes = {row.layer: row.output_shape for row in summary(model, (1, 3, side, side))}
    flop = 0.0
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            flop += 2 * module.weight.numel() * shapes[name][2] * shapes[name][3]
        elif isinstance(module, torch.nn.Linear):
            flop += 2 * module.weight.numel()
    return flop


def peak_flops(side: int = 1024) -> float:
    """Floating point operations per second of the better of two square products."""
    matrices = {dtype: torch.randn(side, side).to(dtype) for dtype in (torch.bfloat16, torch.float32)}
    taken = interleaved({str(dtype): (lambda a=a: a @ a) for dtype, a in matrices.items()})
    return max(2 * side**3 / taken.seconds(str(dtype)) for dtype in matrices)


def step_of(execution: Execution | None, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """A step of ours, or of the plain loop if ``execution`` is None."""
    torch.manual_seed(0)
    model = ResNet18LN()
    if execution is not None:
        execution.place(model)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        if execution is None:
            functional.cross_entropy(model(images), labels).backward()
        else:
            loop.backward(model, images, labels, smoothing=0.0, execution=execution)
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    images = torch.randn(options.batch, 3, options.side, options.side)
    labels = torch.randint(10, (options.batch,))
    recipe = dataclasses.replace(RECIPES["fast"], image_sizes=(options.side,), device="cpu")
    auto = pick_for_training(ResNet18LN(), recipe)
    plain32 = pick_for_training(ResNet18LN(), dataclasses.replace(recipe, precision="float32"))
    sides = {"plain": None, "float32": plain32, "auto": auto}
    taken = interleaved({name: step_of(side, images, labels) for name, side in sides.items()}, options.rounds)
    figures = {
        "speedup": taken.ratio("plain", "auto"),
        "speedup_float32": taken.ratio("plain", "float32"),
        "precision": auto.precision,
        "layout": "channels_last" if auto.channels_last else "contiguous",
        "layout_float32": "channels_last" if plain32.channels_last else "contiguous",
        "precision_plain": "float32",
        "images_per_s": options.batch / taken.seconds("auto"),
        "images_per_s_float32": options.batch / taken.seconds("float32"),
        "plain_images_per_s": options.batch / taken.seconds("plain"),
        "batch": options.batch,
        "side": options.side,
    }
    peak = peak_flops()
    flop = 3 * options.batch * forward_flop(ResNet18LN(), options.side)
    report(
        "training_step",
        {**figures, "share_of_peak": flop / taken.seconds("auto") / peak, "peak_gflop_per_s": peak / 1e9},
    )


if __name__ == "__main__":
    main()
