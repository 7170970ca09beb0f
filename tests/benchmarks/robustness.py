"""The smallest changes that flip the shipped model's errors, against a plain loop; run it by itself.

``images_vs_loop`` is the rate of changed images answered, ours over that of a loop which searches image by image and
kind by kind with the same steps, in float32 and PyTorch's default layout; ``images_vs_loop_float32`` has ours in
float32, too. ``fragility_errors_s`` is what all errors take with the six kinds of default and 400 correct rows, in the
precision found fastest; ``flips`` is the share of the smallest changes shown whose answer is another one, and
``nine_tenths_keeps`` that of those of which 90 % leaves it.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable

import numpy as np
import torch

import workbench
from tests.benchmarks.timing import interleaved, report
from workbench.core.records import ImageArray, IntArray, Precision
from workbench.models.classifier import Classifier
from workbench.robustness.changes import apply, probabilities
from workbench.robustness.fragility import Fragility, fragility
from workbench.robustness.kinds import DEFAULT, KINDS, kinds_named
from workbench.robustness.search import CLOSE, LEAST, Answers, searches
from workbench.runs.training import fastest_execution


def answers_of(classifier: Classifier, precision: Precision) -> Answers:
    """The model's answers to images, in a precision."""
    return lambda batch: np.asarray(probabilities(classifier, batch, precision).argmax(1))


def plain_answers(classifier: Classifier) -> Answers:
    """The same by the eager model in PyTorch's default layout."""
    module = classifier.module.to(memory_format=torch.contiguous_format)
    mean, std = (torch.tensor(values)[:, None, None] for values in (classifier.mean, classifier.std))

    def answers(batch: ImageArray) -> IntArray:
        with torch.no_grad():
            x = (torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous().float() / 255 - mean) / std
            return module(x).argmax(1).numpy()

    return answers


def search(images: list[ImageArray], answers: Answers, *, together: bool) -> int:
    """Search all kinds of default for images, all at once or one by one; returns how many images were answered."""
    count = 0

    def counted(batch: ImageArray) -> IntArray:
        nonlocal count
        count += len(batch)
        return answers(batch)

    kinds, before = kinds_named(DEFAULT), answers(np.stack(images))
    if together:
        searches(images, before, kinds, counted)
    else:
        for image, answer in zip(images, before, strict=True):
            for kind in kinds:
                searches([image], np.array([answer]), [kind], counted)
    return count


def held(classifier: Classifier, images: ImageArray, rows: IntArray, found: Fragility) -> tuple[float, float]:
    """The shares of changes that flip the answer, and of which 90 % does not, in float32."""
    answers, flips, keeps = answers_of(classifier, "float32"), [], []
    place = {int(row): k for k, row in enumerate(rows)}
    before = answers(images)
    for name in DEFAULT:
        kind = KINDS[name]
        for values in found.table.filter(found.table[f"{name}_strength"].is_not_null()).iter_rows(named=True):
            k, strength = place[values["index"]], values[f"{name}_strength"]
            make = kind.variants[values[f"{name}_variant"]]
            row = values["index"]
            flips.append(answers(apply(images[k], make(strength).seeded(row))[None])[0] != before[k])
            if not kind.is_switch and not kind.whole and CLOSE * strength > LEAST * kind.grid(images.shape[1])[0]:
                keeps.append(answers(apply(images[k], make(CLOSE * strength).seeded(row))[None])[0] == before[k])
    return float(np.mean(flips)), float(np.mean(keeps))


def seconds_of(call: Callable[[], Fragility]) -> tuple[float, Fragility]:
    begun = time.perf_counter()
    found = call()
    return time.perf_counter() - begun, found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=24, help="for the comparison with the loop")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    run = workbench.open_example()
    if run.classifier is None or run.images is None:
        raise SystemExit("the shipped model and CIFAR-10 are needed: set CIFAR10_ROOT")
    plain = workbench.open_example().classifier
    if plain is None:
        raise SystemExit("the shipped model is needed")
    classifier, precision = fastest_execution(run.classifier, "auto")
    errors = run.predictions.index[~run.predictions.correct]
    images = [run.images.image(int(row)) for row in errors[: options.images]]
    exact = dataclasses.replace(classifier)
    sides = {
        "loop": (plain_answers(plain), False),
        "float32": (answers_of(exact, "float32"), True),
        "auto": (answers_of(classifier, precision), True),
    }
    counts = {name: search(images, answers, together=together) for name, (answers, together) in sides.items()}
    calls = {
        name: (lambda answers=answers, together=together: search(images, answers, together=together))
        for name, (answers, together) in sides.items()
    }
    taken = interleaved(calls, options.rounds)
    seconds, found = seconds_of(lambda: fragility(classifier, run.images, run.predictions, precision=precision))
    exact_found = found if precision == "float32" else fragility(exact, run.images, run.predictions, errors[:200])
    flips, keeps = held(exact, run.images.stack(errors), errors, exact_found)
    report(
        "robustness",
        {
            "images_vs_loop": taken.ratio("loop", "auto") * counts["auto"] / counts["loop"],
            "images_vs_loop_float32": taken.ratio("loop", "float32") * counts["float32"] / counts["loop"],
            "images_per_s": counts["auto"] / taken.seconds("auto"),
            "precision": precision,
            "precision_loop": "float32",
            "fragility_errors_s": seconds,
            "errors": len(errors),
            "kinds": len(DEFAULT),
            "flips": flips,
            "nine_tenths_keeps": keeps,
        },
    )


if __name__ == "__main__":
    main()
