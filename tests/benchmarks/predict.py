"""``workbench.models.predict`` against a plain eager float32 forward pass over the same images; run it by itself.

Ratios of images/s of the same round, preparation and softmax included in both: ``speedup_float32`` like for like, at
the default precision; ``speedup_bfloat16`` ours with ``precision="bfloat16"``; each with the largest difference of a
probability beside it; and for ResNet-50 on photographs ``photos_vs_dataloader`` (see `tests.benchmarks.photos`).
"""

from __future__ import annotations

import numpy as np
import torch

from tests.benchmarks import photos
from tests.benchmarks.timing import interleaved, report
from training.model import ResNet18LN
from workbench.core.records import ImageSet
from workbench.models import predict
from workbench.models.classifier import Classifier

ROWS, REPEATS = 1000, 5


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
    taken = interleaved(
        {"eager": eager, "float32": lambda: predict.predict(classifier, images), "bfloat16": half}, REPEATS
    )
    figures = {
        "speedup_float32": taken.ratio("eager", "float32"),
        "speedup_bfloat16": taken.ratio("eager", "bfloat16"),
        "precision_eager": "float32",
        "images_per_s_float32": ROWS / taken.seconds("float32"),
        "images_per_s_bfloat16": ROWS / taken.seconds("bfloat16"),
        "eager_images_per_s": ROWS / taken.seconds("eager"),
        "largest_difference_float32": float(np.abs(predict.predict(classifier, images).probability - right).max()),
        "largest_difference_bfloat16": float(np.abs(half().probability - right).max()),
        **photos.measure(),
    }
    report("predict", figures)


if __name__ == "__main__":
    main()
