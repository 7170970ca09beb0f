"""Influence of train rows on the shipped run's errors: time, what reduced features cost, and the proof by a refit.

``python -m tests.benchmarks.influence --train DIR [--rows 40] [--width 64]``

``DIR`` holds predictions on the train split, with embeddings: ``python -m workbench predict --split train --out DIR``.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy import stats
from threadpoolctl import threadpool_limits

import workbench
from workbench import store
from workbench.analysis.index import sample_errors
from workbench.analysis.influence import influence, lead_scores, refit_without, residuals
from workbench.core.predictions import Predictions
from workbench.runs.origins import trained_part


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--train", required=True, help="predictions on the train split")
    options.add_argument("--rows", type=int, default=40, help="errors whose head is fitted again")
    options.add_argument("--width", type=int, default=64, help="directions that the features are reduced to")
    given = options.parse_args()
    run = workbench.open_run("artifacts/resnet18_ln_cifar10", data=os.environ.get("CIFAR10_ROOT"))
    run = workbench.with_train(run, given.train)
    if run.train is None:
        raise SystemExit("expected train rows")
    test, train = run.predictions, trained_part(run, run.train)
    if test.embedding is None or train.embedding is None:
        raise SystemExit("expected embeddings of test and train rows")
    errors = test.index[~test.correct]
    with threadpool_limits(1):
        begun = time.perf_counter()
        found = influence(test, train, errors)
        print(f"{len(errors)} x {len(train):,}: {time.perf_counter() - begun:.1f} s on one thread")
    print("of the 20 strongest, share of the predicted class:", round(share_of(found.speaks_for, train, found.of), 3))
    distinct, counts = np.unique(found.speaks_for, return_counts=True)
    wrong = np.array([not train.correct[train.position(int(row))] for row in distinct])
    share = np.average(wrong, weights=counts)
    print(
        f"the {found.speaks_for.size:,} strongest are {len(distinct):,} images; {share:.0%} are misclassified by the ",
        end="",
    )
    print(f"model, of all train images {1 - train.accuracy:.1%}")
    few = sample_errors(test, given.rows)
    with TemporaryDirectory() as folder:
        kept = Path(folder, "train.npz")
        store.write_reduced(train, kept, given.width)
        size, small = kept.stat().st_size, store.read(kept)
    print(f"reduced to {given.width} directions: {size / 1e6:.1f} MB, ", end="")
    compare(test, train, errors, small)
    begun = time.perf_counter()
    removal = refit_without(test, train, influence(test, train, few), width=given.width)
    print(f"{removal}; {(time.perf_counter() - begun) / len(few):.1f} s a row")


def share_of(rows: np.ndarray, train: Predictions, of: np.ndarray) -> float:
    """The share of train rows, ids ``(n, k)``, whose label is the class ``of`` ``(n,)``."""
    order = np.argsort(train.index)
    places = order[np.searchsorted(train.index, rows, sorter=order)]
    return float((train.label[places] == of[:, None]).mean())


def compare(test: Predictions, train: Predictions, rows: np.ndarray, small: Predictions) -> None:
    """Print how well scores and the twenty strongest rows survive being reduced."""
    places = np.array([test.position(int(row)) for row in rows])
    of, over, residual = test.predicted[places], test.label[places], residuals(train)
    if test.embedding is None or train.embedding is None or small.embedding is None:
        raise SystemExit("expected embeddings")
    exact = lead_scores(test.embedding[places], of, over, train.embedding, residual)
    near = lead_scores(test.embedding[places], of, over, small.embedding, residuals(small))
    kept = [len(set(np.argsort(-a)[:20]) & set(np.argsort(-b)[:20])) / 20 for a, b in zip(exact, near, strict=True)]
    ranks = [stats.spearmanr(a, b).statistic for a, b in zip(exact, near, strict=True)]
    error = np.abs(near - exact).max() / np.abs(exact).max()
    print(f"rank correlation {np.mean(ranks):.4f}, {np.mean(kept):.0%} of the 20 strongest kept, ", end="")
    print(f"largest error {error:.2%} of the largest score")


if __name__ == "__main__":
    main()
