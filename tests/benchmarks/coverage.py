"""How often intervals hold the truth, by simulation, where 95 % is promised.

``python -m tests.benchmarks.coverage [--runs 1000]``; the last line is one JSON object of shares.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from workbench.analysis.baselines import baselines, best_threshold, ranking
from workbench.analysis.calibration import reliability
from workbench.analysis.classes import class_report
from workbench.analysis.compare import compare
from workbench.analysis.conformal import conformal_sets, review_load
from workbench.analysis.confusion import confusion_matrix
from workbench.analysis.gaps import signed_gap
from workbench.analysis.models import equivalence
from workbench.analysis.noise import exchanged_labels
from workbench.analysis.planting import expected_precision
from workbench.analysis.strata import Strata, excess
from workbench.core.predictions import Predictions

LARGE = 400_000
Held = Iterator[tuple[str, bool]]
Array = np.ndarray[Any, Any]


def sample(seed: int, rows: int, classes: int = 4, *, temperature: float = 1.0, noise: float = 0.0) -> Predictions:
    """Predictions whose labels are drawn from them; calibrated at temperature 1, a share of labels exchanged."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(rows, classes)) * 1.5
    scores[np.arange(rows), generator.integers(0, classes, rows)] += generator.normal(3, 1.5, rows)
    truth, shown = _softmax(scores), _softmax(scores / temperature)
    label = (truth.cumsum(1) > generator.random(rows)[:, None]).argmax(1)
    moved = generator.random(rows) < noise
    label = np.where(moved, (label + generator.integers(1, classes, rows)) % classes, label)
    return Predictions.from_arrays(label, shown, tuple(f"class {k}" for k in range(classes)))


def _softmax(scores: Array) -> Array:
    shares = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def rates(runs: int) -> Held:
    """Accuracy, rates of classes, averages over classes."""
    large = confusion_matrix(sample(0, LARGE))
    truth, averages = class_report(large), baselines(large)
    for seed in range(1, runs + 1):
        matrix = confusion_matrix(sample(seed, 400))
        found, own = class_report(matrix), baselines(matrix)
        for name in ("error_rate", "precision", "recall", "f1"):
            rate, true = getattr(found, name), getattr(truth, name)
            yield name, bool(rate.low[0] <= true.value[0] <= rate.high[0])
        for name in ("balanced_accuracy", "macro_f1", "mcc"):
            low, high = own[f"{name}_interval"]
            yield name, low <= averages[name] <= high


def rankings(runs: int) -> Held:
    """Areas under the ROC curve, average precision, costs at a threshold."""
    truth = ranking(sample(0, LARGE, 2), most_rows=LARGE)
    large = sample(1, LARGE, 2)
    score, positive = large.columns("probability")["probability"].to_numpy()[:, 1], large.label == 1

    def cost(threshold: float) -> float:
        return float(np.where(positive, 5.0 * (score < threshold), score >= threshold).mean())

    for seed in range(2, runs + 2):
        part = sample(seed, 400, 2)
        found, best = ranking(part), best_threshold(part, false_negative=5)
        yield "roc_auc", bool(found.auc.low[1] <= truth.auc.value[1] <= found.auc.high[1])
        yield "average_precision", bool(found.precision.low[1] <= truth.precision.value[1] <= found.precision.high[1])
        yield "cost_at_threshold", best.low <= cost(best.threshold) <= best.high
        yield "saved_by_threshold", best.saved_low <= cost(0.5) - cost(best.threshold) <= best.saved_high


def calibration(runs: int) -> Held:
    """Signed gap and debiased error, of a calibrated model and of one whose gap is the same at all confidences."""
    for name, gap in (("calibrated", 0.0), ("gap of 3 points", 0.03)):
        for seed in range(runs):
            generator = np.random.default_rng(seed)
            confidence = generator.uniform(0.55, 0.95, 1000)
            correct = generator.random(1000) < confidence + gap
            given = Predictions.from_arrays(
                (~correct).astype(np.int64), np.stack([confidence, 1 - confidence], 1), ("yes", "no")
            )
            signed, error = signed_gap(confidence, correct), reliability(given).error
            yield f"signed_gap, {name}", signed.low <= gap <= signed.high
            yield f"calibration_error, {name}", error.low <= gap <= error.high


def within_classes(runs: int) -> Held:
    """The difference of error rates within classes, of slices that are common in classes that fail, at two sizes."""
    for name, effect in (("none", 0.0), ("10 points", 0.1)):
        for seed in range(runs):
            generator = np.random.default_rng(seed)
            label = generator.integers(0, 8, 2000)
            inside = generator.random(2000) < 0.05 + 0.03 * label
            wrong = generator.random(2000) < 0.02 + 0.03 * label + effect * inside
            found = excess(Strata.of(inside, wrong, label))
            yield f"excess_within_classes, {name}", found.low <= effect <= found.high


def pairs(runs: int) -> Held:
    """The difference of two models on the same rows, and how often "equivalent" is said at the margin (5 %)."""
    for seed in range(runs):
        generator = np.random.default_rng(seed)
        label = generator.integers(0, 3, 4000)
        draw = generator.random(4000)
        before = np.where(draw < 0.10, (label + 1) % 3, label)
        after = np.where((draw > 0.03) & (draw < 0.125), (label + 2) % 3, label)  # a difference of half a point
        given = [Predictions.from_arrays(label, np.eye(3)[each], ("a", "b", "c")) for each in (before, after)]
        found = compare(*given)
        yield "difference_of_models", found.low <= 0.005 <= found.high
        yield "equivalence_at_the_margin_is_not_said", not equivalence(found, margin=0.005).equivalent


def labels(runs: int) -> Held:
    """The share of exchanged labels, and the precision of the most doubtful ones."""
    for seed in range(max(20, runs // 10)):
        part = sample(seed, 3000, noise=0.04)
        probability = part.columns("probability")["probability"].to_numpy()
        found = exchanged_labels(probability, part.label)
        yield "share_of_exchanged_labels", found.low <= 0.04 <= found.high
        clean = sample(seed, 1000)
        expected = expected_precision(clean, share=0.02, tops=(20,), seed=seed)
        again = expected_precision(clean, share=0.02, tops=(20,), seed=seed + 10_000)
        yield "expected_precision, of a further planting", bool(expected.low[0] <= again.value[0] <= expected.high[0])


def promises(runs: int) -> Held:
    """The accuracy of what needs no person; and the coverage of sets, whose mean over runs is what is promised."""
    large = sample(0, LARGE)
    frame = large.columns("confidence", "correct")
    confidence, correct = frame["confidence"].to_numpy(), frame["correct"].to_numpy()
    for seed in range(1, runs + 1):
        part = sample(seed, 600)
        found = review_load(part, promise=0.9)
        if np.isfinite(found.threshold):
            truth = correct[confidence >= found.threshold].mean()
            yield "accuracy_without_review", bool(found.low <= truth <= found.high)
        sets = conformal_sets(part, seed=seed)
        kept = round(sets.overall * (len(part) - len(part) // 2))
        for place in range(len(part) - len(part) // 2):
            yield "conformal_coverage, row by row", place < kept


SIMULATIONS: tuple[Callable[[int], Held], ...] = (
    rates,
    rankings,
    calibration,
    within_classes,
    pairs,
    labels,
    promises,
)


def main() -> None:
    """Print a line an interval, and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="simulated data sets for each interval")
    options = parser.parse_args()
    held: dict[str, list[bool]] = {}
    for simulation in SIMULATIONS:
        for name, covered in simulation(options.runs):
            held.setdefault(name, []).append(covered)
    shares = {name: round(float(np.mean(each)), 4) for name, each in held.items()}
    for name, share in shares.items():
        print(f"{share:.1%} of {len(held[name]):,}  {name}")
    print(json.dumps({"runs": options.runs, "coverage": shares}))


if __name__ == "__main__":
    main()
