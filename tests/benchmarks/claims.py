"""Each kind of finding on the shipped run, checked by what it did not see; prints the table of docs/findings.md.

``CIFAR10_ROOT=... python -m tests.benchmarks.claims --votes cifar10h-counts.npy``
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import workbench
from workbench.analysis.labels import label_suspects
from workbench.findings.features import features_of
from workbench.findings.find import findings_of
from workbench.findings.groups import excess_within_classes
from workbench.findings.known import Known, known_of
from workbench.findings.record import Finding, Findings
from workbench.findings.registry import KINDS
from workbench.runs.run import Run

CHECKPOINT = Path(__file__).resolve().parents[2] / "artifacts" / "resnet18_ln_cifar10"
Line = tuple[str, str, str]


def lines(run: Run, votes: NDArray[np.int64]) -> Iterator[Line]:
    """Kind, claim and what the check says, for each kind that found something."""
    voted = workbench.with_votes(run, votes)
    found = workbench.findings(voted)
    plain = workbench.findings(run)
    majority = votes.argmax(1)
    label = run.predictions.label
    yield from _labels(plain, run, majority != label)
    for finding in found.of("labels"):
        yield "labels, with human labels", finding.sentence, finding.checked
    yield from _people(run, votes, found.of("people")[0].sentence)
    for finding in found.of("unsettled"):
        yield "unsettled", finding.sentence, finding.checked
    for finding in found.of("copies"):
        yield "copies", finding.sentence, finding.checked
    half = np.random.default_rng(1).random(len(label)) < 0.5
    yield from _on_the_other_half(known_of(voted), half)
    parts = [
        f"{len(one.remainder)} of {one.errors} errors ({one.remainder_share:.0%}) lie outside every finding {what}, "
        f"and about {one.unexplained:.0f} are unexplained by each finding's excess alone"
        for one, what in ((found, "with human labels"), (plain, "without them"))
    ]
    yield "remainder", "; ".join(parts), "a count"


def _labels(plain: Findings, run: Run, contested: NDArray[np.bool_]) -> Iterator[Line]:
    doubted = plain.of("labels")
    said = doubted[0].sentence if doubted else "no finding"
    suspects = label_suspects(run.predictions)["index"].to_numpy()
    share = contested[suspects].mean()
    yield "labels, without human labels", said, f"of its {len(suspects)} suspects the majority contests {share:.0%}"


def _people(run: Run, votes: NDArray[np.int64], sentence: str) -> Iterator[Line]:
    """The finding of all votes; called ambiguous by one half of each image's votes, checked by the other."""
    generator = np.random.default_rng(0)
    first = generator.hypergeometric(votes, votes.sum(1, keepdims=True) - votes, votes.sum(1, keepdims=True) // 2)
    first = np.minimum(first, votes)
    second = votes - first
    finding = workbench.findings(workbench.with_votes(run, first)).of("people")[0]
    inside = np.isin(run.predictions.index, finding.rows)
    against = 1 - second.max(1) / np.maximum(second.sum(1), 1)
    yield (
        "people",
        sentence,
        f"called so by half of each image's votes; of the other half {against[inside].mean():.0%} are against the "
        f"majority there, {against[~inside].mean():.1%} elsewhere",
    )


def _on_the_other_half(known: Known, half: NDArray[np.bool_]) -> Iterator[Line]:
    """Findings of one half of the rows, and the same quantity on the other."""
    one = findings_of(known.part(half))
    for kind in ("slices", "confusions", "calibration"):
        effects = [(f, _again(known, ~half, f)) for f in one.of(kind)]
        if not effects:
            yield kind, "none on this half", "-"
            continue
        same = sum(f.effect * value > 0 for f, value in effects)
        first, value = effects[0]
        yield (
            kind,
            f"on half of the rows: {first.sentence}",
            f"{first.measure} {first.effect:+.1%} there, {value:+.1%} on the other half; of {len(effects)} findings "
            f"{same} have the same sign there",
        )


def _again(known: Known, rest: NDArray[np.bool_], finding: Finding) -> float:
    """The effect of a finding of the same kind and subject on other rows; 0 if its rule does not name it there."""
    if KINDS[finding.kind].groups:
        inside = np.ones(len(known.label), bool)
        named = known.predictions.classes
        starts = [k for k, name in enumerate(named) if finding.subject.startswith(f"{name}, ")]
        for feature in features_of(known):
            for code, words in enumerate(feature.words):
                if words in finding.subject:
                    inside &= feature.codes == code
        for k in starts:
            inside &= known.label == k
        return excess_within_classes(known, inside, rest).difference
    part = known.part(rest)
    again = [one for one in KINDS[finding.kind].find(part).candidates if one.subject == finding.subject]
    return again[0].effect if again else 0.0


def main() -> None:
    """Print the table as Markdown, and as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--votes", type=Path, required=True, help="human labels of CIFAR-10's test split, counts")
    options = parser.parse_args()
    run = dataclasses.replace(workbench.open_run(CHECKPOINT), classifier=None)
    table = list(lines(run, np.load(options.votes, allow_pickle=False)))
    print("| kind | what it says | checked |\n| --- | --- | --- |")
    for kind, said, checked in table:
        print(f"| {kind} | {said} | {checked} |")
    print(json.dumps([dict(zip(("kind", "said", "checked"), line, strict=True)) for line in table]))


if __name__ == "__main__":
    main()
