"""Multiplicity over everything that is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from workbench.findings.record import Finding, Found

LEVEL = 0.05


def adjusted(results: Sequence[Found], *, level: float = LEVEL) -> list[Finding]:
    """The candidates that hold, with their adjusted p-values, and those that are counts and need no test.

    Benjamini & Hochberg 1995 (doi 10.1111/j.2517-6161.1995.tb02031.x) over the tests of all rules together, weighted
    as by Genovese, Roeder & Wasserman 2006 (doi 10.1093/biomet/93.3.509): every rule that made a test has an equal
    share of the weight, whatever the number of its tests, so that a thousand pairs of classes do not hide the one test
    of another rule. The expected share of false findings among the tested ones that are shown is at most ``level``;
    where nothing is wrong, so is the probability of any of them. Counts, such as labels that people contest, pass.
    """
    testing = [result for result in results if result.tests]
    tested = [
        (finding, finding.p_value * result.tests * len(testing))
        for result in testing
        for finding in result.candidates
        if finding.p_value is not None
    ]
    counts = [finding for result in results for finding in result.candidates if finding.p_value is None]
    tested.sort(key=lambda pair: pair[1])
    scaled = np.array([value for _, value in tested])
    steps = np.minimum.accumulate((scaled / np.arange(1, len(scaled) + 1))[::-1])[::-1]
    held = [
        dataclasses.replace(finding, adjusted=float(min(1.0, q)))
        for (finding, _), q in zip(tested, steps, strict=True)
        if q <= level
    ]
    return [*held, *counts]
