"""``workbench.models.predict`` against a plain eager float32 forward pass over the same images; run it by itself.

The last line is one JSON object of ratios of images/s, preparation and softmax included in both: ``speedup_float32`` at
the default precision, ``speedup_bfloat16`` with ``precision="bfloat16"``, each with the largest difference of a
probability beside it, ``speedup``, the better of the two, and for ResNet-50 on photographs ``photos_vs_dataloader``
(see `tests.benchmarks.photos`).
"""

from __future__ import annotations

import json
import statistics
import timeit
from collections.abc import Callable

import numpy as np
import torch

from tests.benchmarks import photos
from training.model import ResNet18LN
from workbench.core.records import ImageSet
from workbench.models import predict
from workbench.models.classifier import Classifier

ROWS, REPEATS = 250, 5


def median_seconds(call: Callable[[], object]) -> float:
    call()
    return statistics.median(timeit.repeat(call, number=1, repeat=REPEATS))


def main() -> None:
    torch.manual_seed(0)
    classes = tuple(map(str, range(10)))
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 32, 32, 3)).astype(np.uint8)
    images = ImageSet(pixels, np.zeros(ROWS, np.int64), classes, "test", "")
    plain = ResNet18LN().eval()
    module = ResNet18LN().eval()
    module.load_state_dict(plain.state_dict())
    classifier = Classifier(
        module.to(memory_format=torch.channels_last), classes, (0.5,) * 3, (0.25,) * 3, 32, {}, "head"
    )

    @torch.no_grad()
    def eager() -> np.ndarray:
        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255 - 0.5) / 0.25
        return torch.cat([plain(part).softmax(1) for part in x.split(predict.BATCH)]).numpy()

    def half() -> predict.Predictions:
        return predict.predict(classifier, images, precision="bfloat16")

    right = eager()
    difference = float(np.abs(predict.predict(classifier, images).probability - right).max())
    eager_s, half_s = median_seconds(eager), median_seconds(half)
    ours_s = median_seconds(lambda: predict.predict(classifier, images))
    figures = {
        "speedup": eager_s / min(ours_s, half_s),
        "speedup_float32": eager_s / ours_s,
        "speedup_bfloat16": eager_s / half_s,
        "images_per_s": ROWS / min(ours_s, half_s),
        "eager_images_per_s": ROWS / eager_s,
        "largest_difference_float32": difference,
        "largest_difference_bfloat16": float(np.abs(half().probability - right).max()),
        "threads": torch.get_num_threads(),
        **photos.measure(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
