"""The gallery: one picture of every figure function, drawn from the handwritten digits' model."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import workbench
from workbench import figures
from workbench.analysis.baselines import curves
from workbench.analysis.baselines import ranking as ranking_of_classes
from workbench.analysis.calibration import class_reliability, reliability, risk_coverage
from workbench.analysis.classes import class_report
from workbench.analysis.compare import compare
from workbench.analysis.confusion import asymmetries, confusion_matrix
from workbench.analysis.dynamics import read_dynamics
from workbench.analysis.forecasts import RepairForecast
from workbench.analysis.index import sample_errors
from workbench.analysis.influence import influence
from workbench.analysis.labels import label_suspects
from workbench.analysis.neighbours import join_neighbours
from workbench.analysis.projection import principal
from workbench.analysis.retraining import Forecaster
from workbench.analysis.votes import human_confusion, join_votes
from workbench.attribution.attribute import attribute
from workbench.attribution.stages import stage_maps
from workbench.attribution.targets import targets_of
from workbench.concepts.ledger import means
from workbench.concepts.selection import selection_concepts
from workbench.core.predictions import Predictions
from workbench.core.records import IntArray
from workbench.evidence.faithfulness import Bench, Others
from workbench.evidence.groups import mean_map, region_of
from workbench.evidence.ranking import ranking, try_methods
from workbench.figures.robustness import Flip
from workbench.findings.causes import causes, where_to_work
from workbench.findings.find import find
from workbench.findings.record import Findings
from workbench.models.predict import predict
from workbench.reports.robustness import flips_of
from workbench.robustness.curves import Corruptions, accuracy_curves
from workbench.robustness.fragility import fragility
from workbench.runs.training import load_images

HELPERS = ("encode", "figure_of", "save")


class Material:
    """What the figures are drawn from: the digits' run, a linear model beside it, and invented human labels."""

    def __init__(self) -> None:
        self.run = workbench.train_digits()
        self.predictions = self.run.predictions
        if self.run.classifier is None or self.run.checkpoint is None:
            raise RuntimeError("the digits' run has its model and checkpoint")
        self.classifier, self.checkpoint = self.run.classifier, self.run.checkpoint
        self.train_images, self.images = load_images("digits", "train"), load_images("digits", "test")

    @cached_property
    def findings(self) -> Findings:
        """What the linear model gets wrong."""
        return find(dataclasses.replace(self.run, predictions=self.linear, classifier=None))

    @cached_property
    def linear(self) -> Predictions:
        """Logistic regression on the pixels, on the same test rows."""
        from sklearn.linear_model import LogisticRegression

        train, test = (np.asarray(one.pixels).reshape(len(one), -1) / 255 for one in (self.train_images, self.images))
        fitted = LogisticRegression(max_iter=200).fit(train, self.train_images.labels)
        shares = fitted.predict_proba(test)
        return Predictions.from_arrays(self.images.labels, shares, self.images.classes)

    @cached_property
    def with_people(self) -> Predictions:
        """The run with invented human labels: thirty draws from a flattened answer of the model."""
        flat = self.predictions.probability.astype(float) ** 0.3 + 6 * np.eye(10)[self.predictions.label]
        drawn = np.random.default_rng(0).multinomial(30, flat / flat.sum(1, keepdims=True))
        return join_votes(self.predictions, drawn)

    @cached_property
    def with_neighbours(self) -> Predictions:
        """The run with the nearest train images."""
        return join_neighbours(self.predictions, predict(self.classifier, self.train_images))

    def corrupted(self) -> pl.DataFrame:
        """Accuracy of 150 rows under five corruptions."""
        names = ("gaussian noise", "motion blur", "fog", "contrast", "pixelate")
        with tempfile.TemporaryDirectory() as folder:
            measured = Corruptions(self.classifier, self.images, self.predictions.index[:150], Path(folder), names)
            measured.measure()
            return accuracy_curves(measured.answers(), self.predictions)

    def repairs(self) -> list[RepairForecast]:
        """What more of three digits would bring."""
        forecaster = Forecaster(self.predictions, predict(self.classifier, self.train_images), 0.0)
        return [forecaster.collect(digit)[0] for digit in (1, 8, 9)]

    def maps(self, count: int) -> Any:
        """Grad-CAM of some errors for the predicted class."""
        rows = sample_errors(self.predictions, count)
        images = self.classifier.seen(self.images).stack(rows)
        found = attribute(self.classifier, images, rows, targets_of(self.predictions, rows, "predicted"))
        return next(iter(found.values()))

    def trials(self) -> pl.DataFrame:
        """Three methods, tried on eight errors; maps of 100 other images are the controls."""
        rows, seen = sample_errors(self.predictions, 8), self.classifier.seen(self.images)
        beside = self.predictions.index[~np.isin(self.predictions.index, rows)][:100]
        others = Others(seen.stack(beside), beside, targets_of(self.predictions, beside, "predicted"))
        targets = targets_of(self.predictions, rows, "predicted")
        bench = Bench(self.classifier, seen.stack(rows), rows, targets, others=others)
        return ranking(list(try_methods(bench, ["Grad-CAM", "Saliency", "Input x gradient"])))


def drawn(of: Material) -> dict[str, Callable[[], Axes | Figure]]:
    """How each figure function is called, by its name."""
    p, classes = of.predictions, of.predictions.classes
    matrix = confusion_matrix(of.linear)  # of the model with more errors
    people, human = of.with_people, human_confusion(of.with_people)
    errors = sample_errors(p, 8)
    chosen = np.isin(p.index, errors)
    near = of.with_neighbours.columns("nearest_similarity", "correct")
    maps = of.maps(6)
    return {
        "asymmetries": lambda: figures.asymmetries(asymmetries(matrix), classes),
        "attribution_grid": lambda: figures.attribution_grid(of.images, p, stage_maps(of.run, errors[:3])),
        "cartography": lambda: figures.cartography(read_dynamics(of.checkpoint / "dynamics.parquet")),
        "causes": lambda: figures.causes(where_to_work(causes(of.linear, of.findings))),
        "class_calibration": lambda: figures.class_calibration(classes, class_reliability(of.linear)),
        "class_differences": lambda: figures.class_differences(compare(of.linear, p)),
        "class_error_rates": lambda: figures.class_error_rates(class_report(matrix)),
        "class_rates": lambda: figures.class_rates(class_report(matrix)),
        "concept_strips": lambda: concepts(of, errors),
        "confusion_beside_people": lambda: figures.confusion_beside_people(confusion_matrix(people), human),
        "confusion_matrix": lambda: figures.confusion_matrix(matrix),
        "corruption_curves": lambda: figures.corruption_curves(of.corrupted()),
        "embedding_map": lambda: figures.embedding_map(principal(embedding_of(p)), p.label, classes, chosen),
        "flips": lambda: figures.flips(flipped(of, errors[:5])),
        "forecasts": lambda: figures.forecasts(of.repairs()),
        "group_map": lambda: figures.group_map(mean_map(maps), region_of(mean_map(maps), 32, 0.15)),
        "human_against_model": lambda: figures.human_against_model(class_report(matrix), class_report(human)),
        "image_grid": lambda: figures.image_grid(of.images, p, errors),
        "method_ranking": lambda: figures.method_ranking(of.trials()),
        "neighbours": lambda: figures.neighbours(*(near[name].to_numpy() for name in near.columns)),
        "outcomes": lambda: figures.outcomes(compare(of.linear, p)),
        "reliability": lambda: figures.reliability(reliability(of.linear), compared=reliability(p)),
        "precision_recall": lambda: figures.precision_recall(curves(of.linear), ranking_of_classes(of.linear)),
        "roc": lambda: figures.roc(curves(of.linear), ranking_of_classes(of.linear)),
        "risk_coverage": lambda: figures.risk_coverage(risk_coverage(of.linear)),
        "findings": lambda: figures.findings(of.findings.table().head(6)),
        "suspects": lambda: figures.suspects(label_suspects(of.linear), classes),
        "train_strips": lambda: train_rows(of, errors[:3]),
        "whole_matrix": lambda: figures.whole_matrix(matrix),
    }


def concepts(of: Material, errors: IntArray) -> Figure:
    """What concepts add to the answers to the digits that were misclassified, and to as many others."""
    rows = np.union1d(errors, of.predictions.index[:20])
    found = selection_concepts(of.run, rows, count=4, seeds=2)
    seen = of.classifier.seen(of.images)
    return figures.concept_strips(seen, found.patches, means(found.account), "the lead of the predicted class")


def flipped(of: Material, errors: IntArray) -> list[Flip]:
    """The smallest rotation that changes the answers to some digits."""
    found = fragility(of.classifier, of.images, of.predictions, errors, changes=["rotate"])
    return flips_of(of.run, of.classifier, of.images, found)


def train_rows(of: Material, errors: IntArray) -> Figure:
    """The train images behind some errors."""
    train = predict(of.classifier, of.train_images)
    return figures.train_strips(
        of.images, of.predictions, influence(of.predictions, train, errors), train, of.train_images
    )


def embedding_of(predictions: Predictions) -> Any:
    """The embeddings, which the digits' run has."""
    if predictions.embedding is None:
        raise RuntimeError("the digits' run has embeddings")
    return predictions.embedding


def write_gallery(folder: Path) -> None:
    """Draw every figure function into ``folder``, with a page that shows them.

    Raises
    ------
    RuntimeError
        If a figure function has no picture here.
    """
    folder.mkdir(parents=True)
    calls = drawn(Material())
    if missing := sorted(set(figures.__all__) - set(HELPERS) ^ set(calls)):
        raise RuntimeError(f"docs/gallery.py: expected one picture for each figure function, look at {missing[0]!r}")
    page = [
        "# Gallery of figures",
        "",
        "Every function of `workbench.figures`, drawn from the handwritten digits' model, or from a linear model of "
        "the same images where that has more errors to show. The human labels are invented.",
    ]
    for name, draw in calls.items():
        made = draw()
        figures.save(made if isinstance(made, Figure) else figures.figure_of(made), folder / name)
        words = (getattr(figures, name).__doc__ or "").splitlines()[0].replace("``", "`")
        page += ["", f"## {name}", "", words, "", f"![{name}]({name}.png)"]
    (folder / "index.md").write_text("\n".join(page) + "\n", encoding="utf-8")
