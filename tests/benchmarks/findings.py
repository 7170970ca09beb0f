"""Findings on planted truth: what is found, how often first, with which rows; and on data where nothing is wrong.

``python -m tests.benchmarks.findings [--seeds 20]``, or ``--rows 100000`` for time and memory; the last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence

import numpy as np
import polars as pl

import workbench
from tests.benchmarks.planted import MAKERS
from tests.benchmarks.timing import peak_gb
from workbench.core.predictions import Predictions
from workbench.runs.run import Run


def measure(name: str, seeds: Sequence[int]) -> dict[str, float]:
    """Shares of runs in which the planted kind is found, is first, and with any finding; the precision of its rows."""
    found, first, some = [], [], []
    precision: list[float] = []
    recall_of_rows: list[float] = []
    started = time.perf_counter()
    for seed in seeds:
        planted = MAKERS[name](seed)
        result = workbench.findings(planted.run, seeds=planted.seeds)
        some.append(len(result) > 0)
        match = result.of(planted.kind)
        found.append(bool(match))
        first.append(bool(match) and result[0].kind == planted.kind)
        if match:
            rows = match[0].rows
            precision.append(float(planted.rows[rows].mean()))
            recall_of_rows.append(float(planted.rows[rows].sum() / planted.rows.sum()))
    return {
        "found": float(np.mean(found)),
        "first": float(np.mean(first)),
        "precision_of_rows": float(np.mean(precision)) if precision else float("nan"),
        "recall_of_rows": float(np.mean(recall_of_rows)) if recall_of_rows else float("nan"),
        "any": float(np.mean(some)),
        "seconds": (time.perf_counter() - started) / len(seeds),
    }


def large(rows: int, columns: int = 10) -> dict[str, float]:
    """Seconds and peak memory in GB of all findings of many rows with own columns, half of them text."""
    generator = np.random.default_rng(0)
    label = generator.integers(0, 10, rows)
    scores = generator.normal(size=(rows, 10)) + 4 * np.eye(10)[label]
    probability = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    made = Predictions.from_arrays(label, probability, tuple(f"class {k}" for k in range(10)))
    own: dict[str, object] = {f"text {k}": generator.choice(list("abcdefgh"), rows) for k in range(columns // 2)}
    own |= {f"number {k}": generator.normal(size=rows) for k in range(columns - columns // 2)}
    run = Run("large", made.join(pl.DataFrame({"index": made.index, **own})))
    started = time.perf_counter()
    workbench.findings(run)
    seconds = time.perf_counter() - started
    return {"rows": rows, "seconds": seconds, "peak_gb": peak_gb()}


def main() -> None:
    """Print a line a scenario, and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each scenario")
    parser.add_argument("--nothing", type=int, default=100, help="runs of the scenario in which nothing is wrong")
    parser.add_argument("--rows", type=int, help="only measure the time and memory of so many rows")
    options = parser.parse_args()
    if options.rows:
        print(json.dumps(large(options.rows)))
        return
    results = {}
    for name in MAKERS:
        results[name] = measure(name, range(options.nothing if name == "nothing" else options.seeds))
        print(name, {key: round(value, 3) for key, value in results[name].items()}, flush=True)
    planted = {name: result for name, result in results.items() if name != "nothing"}
    print(
        json.dumps(
            {
                "recall": {name: result["found"] for name, result in planted.items()},
                "first_is_right": {name: result["first"] for name, result in planted.items()},
                "precision_of_rows": {name: result["precision_of_rows"] for name, result in planted.items()},
                "false_findings": results["nothing"]["any"],
                "seeds": options.seeds,
                "runs_of_nothing": options.nothing,
            }
        )
    )


if __name__ == "__main__":
    main()
