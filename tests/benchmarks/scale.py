"""Analyses of ten million rows on disk against the plain Polars query for the same thing; run it by itself.

Each task runs in a process of its own, so that its peak memory is its own, ours and the plain query in turn, three
times: ``seconds`` is the median of three runs after one to warm up, ``ratio`` the median over the turns of ours over
the plain query's, of all tasks the worst; ``peak_gb`` is the largest resident size (opening and checking the table
included), ``open_s`` the time of that check. ``growth`` is time at the full size over time at a hundredth of it,
divided by a hundred: at most 1 is at most linear. ``wide`` is a million rows of 1,000 classes. ``others`` are tasks
that no single plain query stands for, run once. Smaller sizes: ``--rows N --wide-rows M``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from tests.benchmarks.timing import peak_gb, report
from workbench import store
from workbench.analysis.calibration import class_reliability, proper_scores, reliability, risk_coverage
from workbench.analysis.classes import class_report
from workbench.analysis.compare import compare
from workbench.analysis.confusion import confusion_matrix
from workbench.analysis.index import select
from workbench.analysis.labels import label_suspects
from workbench.core.predictions import Predictions
from workbench.core.records import Provenance, Query

REPEATS, TURNS = 3, 3
P, LABEL, PREDICTED = pl.col("probability"), pl.col("label"), pl.col("predicted")
OURS: dict[str, Callable[[Predictions], object]] = {
    "confusion": confusion_matrix,
    "class_intervals": class_report,
    "calibration": reliability,
    "page": lambda p: select(p, Query(true=3, wrong_only=True, order="loss"), count=40),
    "page_by_margin": lambda p: select(p, Query(where="confidence > 0.5", order="margin", descending=False), count=40),
}
OTHERS: dict[str, Callable[[Predictions], object]] = {
    "class_calibration": class_reliability,
    "proper_scores": proper_scores,
    "risk_coverage": risk_coverage,
    "label_suspects": lambda p: label_suspects(p, count=1000),
    "comparison": lambda p: compare(p, p),
}


def plain_margins(table: pl.LazyFrame) -> pl.LazyFrame:
    best = P.list.sort(descending=True)
    other = pl.when(LABEL == PREDICTED).then(best.list.get(1)).otherwise(best.list.get(0))
    found = table.filter(P.list.get(PREDICTED) > 0.5).with_columns(
        confidence=P.list.get(PREDICTED), margin=P.list.get(LABEL) - other
    )
    return found.sort("margin").head(40).select("index", "label", "predicted", "confidence", "margin")


def plain_page(table: pl.LazyFrame) -> pl.LazyFrame:
    found = table.filter((LABEL == 3) & (PREDICTED != 3)).with_columns(
        confidence=P.list.get(PREDICTED), loss=-P.list.get(LABEL).cast(pl.Float64).log()
    )
    return found.sort("loss", descending=True).head(40).select("index", "label", "predicted", "confidence", "loss")


PLAIN: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "confusion": lambda table: table.group_by("label", "predicted").len(),
    "class_intervals": lambda table: table.group_by("label").agg(n=pl.len(), wrong=(LABEL != PREDICTED).sum()),
    "calibration": lambda table: (
        table.select(c=P.list.get(PREDICTED), right=LABEL == PREDICTED)
        .group_by(bin=(pl.col("c") * 15).floor().clip(0, 14))
        .agg(n=pl.len(), accuracy=pl.col("right").mean(), confidence=pl.col("c").mean())
    ),
    "page": plain_page,
    "page_by_margin": plain_margins,
}


def write_table(folder: Path, rows: int, classes: int) -> None:
    """Shards of random predictions, right in about nine of ten rows, as `workbench predict` would leave them."""
    part = max(1, min(rows, 10_000_000 // classes))
    count = -(-rows // part)
    folder.mkdir()
    for number in range(count):
        generator = np.random.default_rng(number)
        index = np.arange(number * part, min(rows, (number + 1) * part))
        label = generator.integers(0, classes, len(index))
        odds = generator.exponential(size=(len(index), classes)).astype(np.float32)
        odds[np.arange(len(index)), label] += 5 * (generator.random(len(index)) < 0.9)
        odds /= odds.sum(1, keepdims=True)
        columns = {"index": index, "label": label, "predicted": odds.argmax(1), "probability": pl.Series(odds)}
        table = store.as_lists(pl.LazyFrame(columns))
        table.sink_parquet(folder / store.shard_name(number, count), compression="uncompressed")
    store.write_provenance(folder, store.origin([str(k) for k in range(classes)], Provenance()))


def measure(folder: Path, task: str, who: str) -> dict[str, float]:
    call: Callable[[], object]
    opened = timeit.default_timer()
    if who == "ours":
        predictions = store.read(folder)
        call = lambda: (OURS | OTHERS)[task](predictions)  # noqa: E731
    else:
        query = PLAIN[task](pl.scan_parquet(sorted(folder.glob(store.SHARDS))))
        call = lambda: query.collect(engine="streaming")  # noqa: E731
    opened = timeit.default_timer() - opened
    if task in OURS:
        call()
    seconds = statistics.median(timeit.repeat(call, number=1, repeat=REPEATS if task in OURS else 1))
    return {"seconds": seconds, "peak_gb": peak_gb(), "open_s": opened}


def in_own_process(folder: Path, task: str, who: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.scale", "--measure", str(folder), task, who]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--wide-rows", type=int, default=1_000_000)
    parser.add_argument("--measure", nargs=3, metavar=("FOLDER", "TASK", "WHO"))
    options = parser.parse_args()
    if options.measure:
        folder, task, who = options.measure
        print(json.dumps(measure(Path(folder), task, who)))
        return
    with tempfile.TemporaryDirectory() as place:
        large, small, wide = (Path(place) / name for name in ("large", "small", "wide"))
        write_table(large, options.rows, 10)
        write_table(small, max(1, options.rows // 100), 10)
        tasks: dict[str, dict[str, float]] = {}
        for task in OURS:
            pairs = [[in_own_process(large, task, who) for who in ("ours", "plain")] for _ in range(TURNS)]
            little = in_own_process(small, task, "ours")
            seconds = statistics.median(ours["seconds"] for ours, _ in pairs)
            tasks[task] = {
                "seconds": seconds,
                "peak_gb": max(ours["peak_gb"] for ours, _ in pairs),
                "open_s": statistics.median(ours["open_s"] for ours, _ in pairs),
                "plain_seconds": statistics.median(plain["seconds"] for _, plain in pairs),
                "plain_peak_gb": max(plain["peak_gb"] for _, plain in pairs),
                "ratio": statistics.median(ours["seconds"] / plain["seconds"] for ours, plain in pairs),
                "growth": seconds / little["seconds"] / 100,
            }
            print(task, json.dumps(tasks[task]), flush=True)
        others = {task: in_own_process(large, task, "ours") for task in OTHERS}
        print(json.dumps(others), flush=True)
        write_table(wide, options.wide_rows, 1000)
        widest = {task: in_own_process(wide, task, "ours") for task in OURS}
    figures = {
        "rows": options.rows,
        "ratio": max(values["ratio"] for values in tasks.values()),
        "peak_gb": max(values["peak_gb"] for values in tasks.values()),
        "growth": max(values["growth"] for values in tasks.values()),
        "open_s": max(values["open_s"] for values in tasks.values()),
        "wide_rows": options.wide_rows,
        "wide_peak_gb": max(values["peak_gb"] for values in widest.values()),
        "wide_open_s": max(values["open_s"] for values in widest.values()),
        "wide_seconds": {task: values["seconds"] for task, values in widest.items()},
        "tasks": tasks,
        "others": others,
    }
    report("scale", figures)


if __name__ == "__main__":
    main()
