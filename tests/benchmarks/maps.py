"""How often a map is called supported that is true, and one that is not: on models whose reason is planted.

``python -m tests.benchmarks.maps [--seeds 10] [--images 8] [--methods Grad-CAM,RISE]``

Four kinds of models (`reasons.SCENARIOS`), each trained anew for each seed. True maps mark the place of what decides.
False maps mark a decoy, the place of another image, edges, the centre, or come from a model with random weights.
"""

from __future__ import annotations

import argparse
import functools
from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from tests.benchmarks.reasons import GRID, MARKS, SCENARIOS, SIDE, Net, Planted, group, planted
from workbench.analysis.statistics import wilson_interval
from workbench.attribution.targets import Targets
from workbench.core.records import Attribution, FloatArray, ImageArray
from workbench.errors import AttributionError
from workbench.evidence.agreement import Reference, agreement
from workbench.evidence.cells import CellEffects, cell_effects, evidence_grid, pooled
from workbench.evidence.faithfulness import Bench
from workbench.evidence.groups import shared_place
from workbench.evidence.sanity import SanityCheck, sanity_check
from workbench.evidence.verdicts import Evidence
from workbench.models.classifier import Classifier
from workbench.models.layer import Layer

METHODS = (
    "Grad-CAM",
    "LayerCAM",
    "Input x gradient",
    "Saliency",
    "Guided Backprop",
    "Integrated gradients",
    "Occlusion",
    "LRP-LN",
    "ShapleyCAM",
    "KPCA-CAM",
    "GradientSHAP",
    "RISE",
    "KernelSHAP",
)
REFERENCES, GROUP = 120, 40
Counts = dict[str, list[tuple[bool, bool, float]]]  # by kind of map: supported, supported but for sanity, p-value


def main() -> None:
    """Run the trials and print the shares."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--images", type=int, default=8, help="tested for each model")
    options.add_argument("--scenarios", default=",".join(SCENARIOS))
    options.add_argument("--methods", default=",".join(METHODS), help="whose maps are tested")
    given = options.parse_args()
    torch.set_num_threads(2)
    true: Counts = defaultdict(list)
    false: Counts = defaultdict(list)
    pointed: Counts = defaultdict(list)
    hits: dict[str, list[bool]] = defaultdict(list)
    for scenario in given.scenarios.split(","):
        for seed in range(given.seeds):
            one_model(scenario, seed, given.images, given.methods.split(","), true, false, pointed, hits)
        print(f"{scenario}: {given.seeds} models", flush=True)
    groups(given.seeds)
    report("true maps", true, goal="at least 0.80")
    report("false maps", false, goal="at most 0.05")
    report("maps of methods that point at what decides", {k: v for k, v in pointed.items() if k in METHODS})
    report("maps of methods that point elsewhere", {k[5:]: v for k, v in pointed.items() if k.startswith("else ")})
    print("\npointing at what decides (chance: the share of the area)")
    for name, found in hits.items():
        print(f"  {name:22} {np.mean(found):.2f} of {len(found)}")
    values = [(p, 0) for found in true.values() for *_, p in found] + [(p, 1) for f in false.values() for *_, p in f]
    area = roc_auc_score([kind for _, kind in values], [p for p, _ in values])
    print(f"area under the ROC of the p-value, false against true: {area:.3f}")


def one_model(
    scenario: str,
    seed: int,
    count: int,
    methods: Sequence[str],
    true: Counts,
    false: Counts,
    pointed: Counts,
    hits: dict[str, list[bool]],
) -> None:
    """Test all maps of one model's images."""
    found = planted(scenario, seed, REFERENCES)
    rows, tested = np.arange(len(found.images)), slice(0, count)
    targets = Targets(found.labels)
    grid = evidence_grid(found.classifier)
    effects = cell_effects(found.classifier, found.images[tested], rows[tested], targets.part(tested), grid)
    passes, fails = fixed_check(0.0), fixed_check(1.0)

    def test(
        into: Counts, name: str, maps: FloatArray, check: SanityCheck, reference: FloatArray | None = None
    ) -> None:
        of = Reference.of(maps if reference is None else reference, rows, grid)
        into[name] += judged(effects, maps[tested], rows[tested], of, check)

    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 1.5) for one in found.relevant])
    decoys = np.stack([cv2.GaussianBlur(one, (0, 0), 1.5) for one in found.decoy])
    if found.relevant.any():
        test(true, scenario, soft, passes)
        test(false, "another image's place", np.roll(soft, 1, axis=0), passes, soft)
    test(false, "a decoy's place", decoys, passes)
    test(false, "edges", edges(found), fails)
    test(false, "the centre", centre(len(rows)), fails)
    test(false, "a random model's Grad-CAM", random_model(found, seed), fails)
    if not found.relevant.any():  # what a cell's own colour does to the answer is then what a method should show
        return
    bench = Bench(found.classifier, found.images, rows, targets)
    for method in methods:
        try:
            maps = bench.maps(method)
        except AttributionError:  # a linear model has no layer, no ReLU
            continue
        check = sanity_check(found.classifier, functools.partial(few_maps, bench, method), whole=False)
        points = pointing(maps.values[tested], soft[tested], grid)
        hits[method] += points.tolist()
        results: Counts = defaultdict(list)
        test(results, method, maps.values, check)
        for hit, result in zip(points, results[method], strict=True):
            pointed[method if hit else f"else {method}"].append(result)


def groups(seeds: int) -> None:
    """The causal check of a group with what decides in one corner, and of groups that differ in nothing."""
    special, shown = [], []
    for seed in range(seeds):
        model = planted("watermark", seed).classifier
        inside, beside = group(model, seed, GROUP, marked=True), group(model, seed, 11 * GROUP, marked=False)
        others = beside.images[:GROUP], Targets(beside.labels[:GROUP])
        shown.append(_special(inside, slice(0, GROUP), others))
        parts = [slice(first, first + GROUP) for first in range(GROUP, 11 * GROUP, GROUP)]
        special += [_special(beside, part, others) for part in parts]
    print("\nwhat a group shares: the place of a watermark is found, and found special to the group,")
    print(f"  in {sum(shown)} of {len(shown)} models; in {sum(special)} of {len(special)} groups without one")


def _special(of: Planted, part: slice, others: tuple[ImageArray, Targets]) -> bool:
    rows, targets = np.arange(len(of.images))[part], Targets(of.labels[part])
    maps = Bench(of.classifier, of.images[part], rows, targets).maps("Grad-CAM")
    return shared_place(of.classifier, maps, of.images[part], others).special


def few_maps(bench: Bench, method: str, model: Classifier) -> Attribution:
    """Maps of the first eight images by a model in place of the bench's own."""
    return bench.maps(method, classifier=model, part=slice(0, 8))


def judged(
    effects: CellEffects, maps: FloatArray, rows: np.ndarray, reference: Reference, check: SanityCheck
) -> list[tuple[bool, bool, float]]:
    """For each map whether it is supported, whether it were without the sanity check, and its p-value."""
    values = maps.astype(np.float32)
    attribution = Attribution(values, rows, np.zeros(len(rows), np.int64), "planted")
    found = agreement(effects, values, reference)
    whole, bare = (Evidence(attribution, found, np.ones(len(rows)), one) for one in (check, fixed_check(0.0)))
    pairs = list(zip(whole.p_value, whole.p_below, strict=True))
    return [
        (whole.verdict(k, *pair)[0] == "supported", bare.verdict(k, *pair)[0] == "supported", float(pair[0]))
        for k, pair in enumerate(pairs)
    ]


def fixed_check(correlation: float) -> SanityCheck:
    """What the check finds of maps that never look at the model, 1, or that wholly depend on it, 0."""
    curve = np.full((1, 8), correlation)
    return SanityCheck(("all",), curve, curve, curve, 0, True, np.full(8, np.nan))


def edges(found: Planted) -> FloatArray:
    """The size of each image's brightness gradient."""
    grey = found.images.astype(float).mean(3)
    return np.stack([cv2.GaussianBlur(np.hypot(*np.gradient(one)), (0, 0), 1.0) for one in grey])


def centre(count: int) -> FloatArray:
    """A Gaussian in the middle, the same for every image."""
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    return np.repeat(np.exp(-(x**2 + y**2) / 80)[None], count, axis=0)


def random_model(found: Planted, seed: int) -> FloatArray:
    """Grad-CAM of a net that was never trained."""
    torch.manual_seed(1000 + seed)
    net = Net(len(found.classifier.classes)).eval()
    like = planted_layers(net)
    bench = Bench(like, found.images, np.arange(len(found.images)), Targets(np.minimum(found.labels, 4)))
    return bench.maps("Grad-CAM").values


def planted_layers(net: torch.nn.Module) -> Classifier:
    """A classifier of any `Net`."""
    return Classifier(net, MARKS, (0.5,) * 3, (0.25,) * 3, SIDE, {"last": Layer("last", GRID)}, "head")


def pointing(maps: FloatArray, relevant: FloatArray, grid: tuple[int, int]) -> np.ndarray:
    """Whether each map's highest cell is of the most relevant tenth, after Zhang et al. 2016 (arXiv 1608.00507)."""
    best = pooled(maps, grid).argmax(1)
    truth = pooled(relevant, grid)
    return truth[np.arange(len(best)), best] >= np.quantile(truth, 0.9, axis=1)


def report(title: str, counts: Counts, goal: str = "") -> None:
    """Print the share supported by kind of map, and over all."""
    print(f"\n{title}{f' (goal: {goal})' if goal else ''}")
    everything = [one for found in counts.values() for one in found]
    for name, found in [*counts.items(), ("all", everything)]:
        if not found:
            continue
        supported = sum(verdict for verdict, *_ in found)
        low, high = wilson_interval(supported, len(found))
        bare = np.mean([bare for _, bare, _ in found])
        share = f"{supported / len(found):.3f} ({low:.3f} to {high:.3f}) of {len(found)}"
        print(f"  {name:40} {share}; without the sanity check {bare:.3f}")


if __name__ == "__main__":
    main()
