"""Forecasts of repairs against what came of them, on digits with planted faults.

``python -m tests.benchmarks.forecasts [--repeats 20]``

Each repeat draws 800 train and 700 judged digits and plants faults: 40 % of two classes are labelled as two others, of
a further class six train rows are left and of another one thirty, 80 train rows are copies of others, and a quarter of
the judged images are negatives, of which the train rows have 3 %. Five repairs are forecast, then made: the labels
corrected; thirty rows of the rarest class added, whose features are known; thirty new rows collected of the other one;
the negatives weighted fivefold; the copies left out. And one change that is no repair: a random third of the rows left
out (``thin``, in no coverage). Outcomes are counted on the judged rows, those of the forecast. A small network is
trained again from nothing with the same seed, and from its own weights (``--init``).

``forecast_coverage``: how often the outcome of a repair lies within the interval; ``forecast_order``: how often
relabelling, adding rows and leaving out copies come out in the order forecast; ``order_again``: how often the outcomes
of another seed have the order of the first, which no forecast can be expected to exceed; of each action the mean
forecast, half the interval and the mean outcome in points, and its coverage.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

from tests.benchmarks.timing import processor, report
from training import augment
from training.checkpoint import Initial
from training.data import load
from training.dataset import DataSet, Images, Labels
from training.fixes import Fixes
from training.recipe import RECIPES
from training.session import Session
from training.train import finish, run_epoch
from workbench.analysis.forecasts import RepairForecast, training_noise
from workbench.analysis.retraining import Forecaster
from workbench.core.predictions import Predictions

TRAIN, JUDGED, COPIES, FACTOR = 800, 700, 80, 5.0
ADDED, COLLECTED = (6, 30), (30, 30)  # rows left of a rare class, and more of them
OTHER = 1000  # added to a seed, another one
REPAIRS, ORDERED = ("relabel", "add", "collect", "weight", "copies"), ("relabel", "add", "copies")
RECIPE = dataclasses.replace(
    RECIPES["digits"],
    architecture="convnet_ln",
    epochs=30,
    image_sizes=(16,),
    workers=0,
    precision="float32",
    layout="contiguous",
)


@dataclass(frozen=True)
class Planted:
    """Digits with faults, and what each action makes of the train rows."""

    images: Images
    labels: Labels
    judged: Images
    judged_labels: Labels
    rows: Labels  # of the train rows that there are
    added: Labels
    collected: Labels
    few: int  # the class that is collected
    truth: Labels
    weight: np.ndarray
    without_copies: np.ndarray
    thin: np.ndarray

    def actions(self) -> Mapping[str, tuple[Labels, Labels, np.ndarray | None]]:
        """Rows, labels and weights (0 leaves a row out) of each action."""
        return {
            "relabel": (self.rows, self.truth, None),
            "add": (np.concatenate([self.rows, self.added]), self.labels, None),
            "collect": (np.concatenate([self.rows, self.collected]), self.labels, None),
            "weight": (self.rows, self.labels, self.weight),
            "copies": (self.rows, self.labels, self.without_copies),
            "thin": (self.rows, self.labels, self.thin),
        }


def planted(repeat: int, images: Images, labels: Labels) -> Planted:
    """The faults of one repeat, drawn at random."""
    drawn = np.random.default_rng(repeat)
    order = drawn.permutation(len(labels))
    train, judged = order[:TRAIN], order[TRAIN : TRAIN + JUDGED]
    own, truth, shown = images[train].copy(), labels[train].copy(), images[judged].copy()
    given, (*pairs, rare, few) = truth.copy(), drawn.permutation(10)[:6]
    for of, to in (pairs[:2], pairs[2:]):
        mine = np.flatnonzero(truth == of)
        given[drawn.choice(mine, round(0.4 * len(mine)), replace=False)] = to
    held, others = (np.flatnonzero(truth == k)[left:] for k, (left, _) in ((rare, ADDED), (few, COLLECTED)))
    rows = np.setdiff1d(np.arange(TRAIN), np.concatenate([held, others]))
    negative, shown_negative = drawn.random(TRAIN) < 0.03, drawn.random(JUDGED) < 0.25
    own[negative], shown[shown_negative] = 255 - own[negative], 255 - shown[shown_negative]
    second, first = np.split(drawn.permutation(rows)[: 2 * COPIES], 2)
    for one in (own, given, truth, negative):
        one[second] = one[first]
    weight = np.where(negative[rows], FACTOR, 1.0)
    without, thin = (~np.isin(rows, second)).astype(float), (drawn.random(len(rows)) >= 1 / 3).astype(float)
    thin[truth[rows] == rare] = 1  # which would else be left without a row
    more = held[: ADDED[1]], others[: COLLECTED[1]]
    return Planted(own, given, shown, labels[judged], rows, *more, int(few), truth, weight, without, thin)


def trained(
    images: Images, labels: Labels, seed: int, weight: np.ndarray | None = None, initial: Initial | None = None
) -> Session:
    """A network trained on some rows; from nothing, or tuned from other weights."""
    data = DataSet("digits", "train", np.ascontiguousarray(images), labels, tuple("0123456789"))
    recipe = dataclasses.replace(RECIPE, seed=seed)
    fixes = None
    if weight is not None:
        fixes = Fixes(data, weight > 0, np.where(weight > 0, weight, 1).astype(np.float32), 0, "")
    session = Session(recipe if initial is None else recipe.for_tuning(), data, None, fixes, initial=initial)
    while session.epoch < session.recipe.epochs:
        run_epoch(session, None, lambda *_: None)
    finish(session)
    return session


@torch.no_grad()
def predicted(session: Session, images: Images, labels: Labels) -> Predictions:
    """Its predictions with embeddings."""
    data = DataSet("digits", "test", np.ascontiguousarray(images), labels, session.train.classes)
    plain = augment.pipeline(session.recipe, session.statistics, 16, train=False, side=data.side)
    rows = augment.AugmentedRows(data, np.arange(len(data)), plain, None)
    features: list[torch.Tensor] = []
    model = session.model.eval()
    handle = model.get_submodule("head").register_forward_pre_hook(lambda _, given: features.append(given[0]))
    try:
        shares = model(torch.stack([rows[place][0] for place in range(len(rows))])).softmax(1)
    finally:
        handle.remove()
    return Predictions.from_arrays(labels, shares.numpy(), data.classes, embedding=features[0].numpy())


def forecasts(case: Planted, base: Session, judged: Predictions) -> dict[str, RepairForecast]:
    """What each action is forecast to bring."""
    whole = predicted(base, case.images, case.labels)
    here = Predictions.from_arrays(
        case.labels[case.rows], whole.probability[case.rows], whole.classes, embedding=whole.embedding[case.rows]
    )
    forecaster = Forecaster(judged, here, training_noise(judged))
    added = whole.embedding[case.added], case.labels[case.added]
    return {
        "relabel": forecaster.fixes("relabel", "relabel", label=case.truth[case.rows]),
        "add": forecaster.more("add", "add", *added),
        "collect": forecaster.collect(case.few)[0],
        "weight": forecaster.fixes("weight", "weight", weight=case.weight),
        "copies": forecaster.fixes("copies", "copies", weight=case.without_copies),
        "thin": forecaster.fixes("thin", "thin", weight=case.thin),
    }


def repeated(repeat: int, images: Images, labels: Labels) -> dict[str, list[tuple[RepairForecast, float]]]:
    """Forecast and outcome of each action, in their order: from nothing, from its own weights, with another seed."""
    torch.set_num_threads(1)  # the repeats share the cores
    case = planted(repeat, images, labels)
    base = trained(case.images[case.rows], case.labels[case.rows], repeat)
    judged = predicted(base, case.judged, case.judged_labels)
    forecast = forecasts(case, base, judged)
    weights = {name: value.clone() for name, value in base.model.state_dict().items()}
    start = Initial(weights, "", base.statistics)
    found: dict[str, list[tuple[RepairForecast, float]]] = {"from nothing": [], "from its weights": [], "again": []}

    def accuracy(rows: Labels, given: Labels, *how: Any, seed: int = repeat) -> float:
        session = trained(case.images[rows], given[rows], seed, *how)
        return float(predicted(session, case.judged, case.judged_labels).accuracy)

    other = repeat + OTHER
    base_again = accuracy(case.rows, case.labels, seed=other)
    for name, (rows, given, weight) in case.actions().items():
        for how, initial in (("from nothing", None), ("from its weights", start)):
            found[how].append((forecast[name], accuracy(rows, given, weight, initial) - judged.accuracy))
        if name in ORDERED:
            found["again"].append((forecast[name], accuracy(rows, given, weight, seed=other) - base_again))
    return found


def main() -> None:
    """Repeat, count how often intervals cover and orders agree, and report."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=20)
    repeats = options.parse_args().repeats
    splits = [load("digits", split) for split in ("train", "test")]
    images, labels = (np.concatenate([getattr(one, name) for one in splits]) for name in ("images", "labels"))
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        runs = list(pool.map(repeated, range(repeats), [images] * repeats, [labels] * repeats))
    names = [*REPAIRS, "thin"]
    figures: dict[str, object] = {"processor": processor(), "repeats": repeats, "precision": "float32"}
    again = np.array([[value for _, value in run["again"]] for run in runs])
    for how, key in (("from nothing", ""), ("from its weights", "_tuned")):
        pairs = [run[how] for run in runs]
        low, high, gain = (
            np.array([[getattr(one, name) for one, _ in pair] for pair in pairs]) for name in ("low", "high", "gain")
        )
        outcome = np.array([[value for _, value in pair] for pair in pairs])
        covers = (low <= outcome) & (outcome <= high)
        places = [names.index(name) for name in ORDERED]
        same = np.argsort(gain[:, places], 1) == np.argsort(outcome[:, places], 1)
        figures[f"forecast_coverage{key}"] = round(float(covers[:, : len(REPAIRS)].mean()), 3)
        figures[f"forecast_order{key}"] = round(float(same.all(1).mean()), 3)
        if not key:
            alike = np.argsort(again, 1) == np.argsort(outcome[:, places], 1)
            figures["order_again"] = round(float(alike.all(1).mean()), 3)
        for k, name in enumerate(names):
            means = (100 * gain[:, k].mean(), 100 * (high - low)[:, k].mean() / 2, 100 * outcome[:, k].mean())
            figures[f"{name}{key}"] = [
                *(round(float(value), 2) for value in means),
                round(float(covers[:, k].mean()), 2),
            ]
    report("forecasts", figures)


if __name__ == "__main__":
    main()
