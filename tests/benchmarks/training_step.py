"""One training step of the fast recipe's model against a plain float32 NCHW loop; run it by itself.

The last line is one JSON object. ``speedup`` is images/s of the step over those of the plain loop (Adam in both,
so that only the execution differs), ``share_of_peak`` its arithmetic over that of the machine's best matrix product
in bfloat16 or, where that is slower because it is emulated, in float32; ``precision`` says which the step used.
"""

from __future__ import annotations

import json
import statistics
import timeit
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from training import loop
from training.model import ResNet18LN, summary

BATCH, REPEATS = 128, 5


def median_seconds(step: Callable[[], object]) -> float:
    step()
    return statistics.median(timeit.repeat(step, number=1, repeat=REPEATS))


def forward_flop(model: ResNet18LN) -> float:
    """Two for each multiply-add of convolutions and the head, for one 32×32 image."""
    shapes = {row.layer: row.output_shape for row in summary(model)}
    flop = 0.0
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            flop += 2 * module.weight.numel() * shapes[name][2] * shapes[name][3]
        elif isinstance(module, torch.nn.Linear):
            flop += 2 * module.weight.numel()
    return flop


def peak_flops(dtype: torch.dtype, side: int = 1024) -> float:
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    return 2 * side**3 / median_seconds(lambda: a @ b)


def main() -> None:
    torch.manual_seed(0)
    device = torch.device("cpu")
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))

    plain = ResNet18LN()
    plain_optimizer = torch.optim.Adam(plain.parameters())

    def plain_step() -> None:
        plain_optimizer.zero_grad()
        functional.cross_entropy(plain(images), labels).backward()
        plain_optimizer.step()

    ours = ResNet18LN().to(memory_format=torch.channels_last)
    our_optimizer = torch.optim.Adam(ours.parameters())
    dtype = loop.pick_precision("auto", device)
    prepared: Tensor = images.to(memory_format=torch.channels_last)

    def our_step() -> None:
        our_optimizer.zero_grad()
        loop.backward(ours, prepared, labels, smoothing=0.0, device=device, dtype=dtype)
        our_optimizer.step()

    plain_s, ours_s = median_seconds(plain_step), median_seconds(our_step)
    peak = max(peak_flops(torch.bfloat16), peak_flops(torch.float32))
    figures = {
        "speedup": plain_s / ours_s,
        "share_of_peak": 3 * BATCH * forward_flop(plain) / ours_s / peak,
        "precision": str(dtype).removeprefix("torch."),
        "images_per_s": BATCH / ours_s,
        "plain_images_per_s": BATCH / plain_s,
        "peak_gflop_per_s": peak / 1e9,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
