"""Predictions on photographs at 224 pixels against a plain torch DataLoader loop over the same model.

Each side runs in a separate process, in turn, both in float32. ``photos_vs_dataloader`` is the ratio of images/s in the
same turn (median), with the images/s, the peak memory in GB and the largest difference of a probability;
`tests.benchmarks.predict` reports them, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader

import workbench
from tests.benchmarks.timing import peak_gb, report

MODELS = {"resnet50": torchvision.models.resnet50, "efficientnet_b0": torchvision.models.efficientnet_b0}
COUNT, TURNS, BATCH, WORKERS = 192, 3, 32, 2


def draw(folder: Path) -> None:
    """Photographs of two classes: noise at several scales, 500 by 375 pixels, as JPEG."""
    drawn = np.random.default_rng(0)
    for row in range(COUNT):
        small = Image.fromarray(drawn.integers(0, 256, (12, 16, 3), np.uint8))
        path = folder / f"class{row % 2}" / f"{row:04d}.jpg"
        path.parent.mkdir(exist_ok=True)
        small.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)


def one(side: str, name: str, folder: Path) -> None:
    """One turn of one side; prints its figures."""
    torch.manual_seed(0)
    net = MODELS[name](weights=None, num_classes=2).eval()
    transform = torchvision.models.ResNet50_Weights.DEFAULT.transforms()
    if side == "ours":
        classifier = workbench.classifier_of(net, ("class0", "class1"), transform)
        images = workbench.load_images(folder)
        begun = time.perf_counter()
        found = workbench.analyse(classifier, images).predictions.probability
    else:
        data = DataLoader(torchvision.datasets.ImageFolder(folder, transform), BATCH, num_workers=WORKERS)
        begun = time.perf_counter()
        with torch.inference_mode():
            found = torch.cat([net(x).softmax(1) for x, _ in data]).numpy()
    seconds = time.perf_counter() - begun
    peak = peak_gb()
    print(json.dumps({"rate": COUNT / seconds, "peak": peak, "found": np.asarray(found, float).tolist()}))


def main() -> None:
    """Both sides in turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="resnet50", choices=MODELS)
    parser.add_argument("--side", choices=("ours", "loop"))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.side:
        one(options.side, options.model, options.folder)
        return
    report("photos", {"model": options.model, **measure(options.model)})


def measure(model: str = "resnet50") -> dict[str, float]:
    """The figures of one model."""
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder))
        turns: dict[str, list[dict]] = {"ours": [], "loop": []}
        for _ in range(TURNS):
            for side, held in turns.items():
                command = [sys.executable, "-m", "tests.benchmarks.photos", "--model", model, "--side", side]
                done = subprocess.run([*command, "--folder", folder], check=True, capture_output=True, text=True)
                held.append(json.loads(done.stdout.splitlines()[-1]))
    differences = np.subtract(turns["ours"][0]["found"], turns["loop"][0]["found"])
    rate = {side: statistics.median(turn["rate"] for turn in held) for side, held in turns.items()}
    return {
        "photos_vs_dataloader": statistics.median(
            ours["rate"] / loop["rate"] for ours, loop in zip(turns["ours"], turns["loop"], strict=True)
        ),
        "photos_per_s": rate["ours"],
        "dataloader_photos_per_s": rate["loop"],
        "photos_peak_gb": max(turn["peak"] for turn in turns["ours"]),
        "dataloader_peak_gb": max(turn["peak"] for turn in turns["loop"]),
        "photos_largest_difference": float(np.abs(differences).max()),
    }


if __name__ == "__main__":
    main()
