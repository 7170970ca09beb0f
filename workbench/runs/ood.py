"""Whether new images are of the kind that a model knows: scores, and how well they tell what is planted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench.analysis.ood import Separation, distance, energy, ranks, scrambled, separation, shuffled
from workbench.analysis.statistics import wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, ImageArray, ImageSet, IntArray, ProbabilityArray
from workbench.errors import DataError
from workbench.images.load import any_images
from workbench.models.classifier import Classifier
from workbench.models.predict import predict
from workbench.runs.run import Run

LEVEL, MOST = 0.05, 2000
PLANTED: dict[str, Callable[[ImageArray, np.random.Generator], ImageArray]] = {
    "parts shuffled": shuffled,
    "phases scrambled": scrambled,
}


@dataclass(frozen=True)
class OutOfDistribution:
    """How foreign images are to a model.

    Parameters
    ----------
    table : pl.DataFrame
        A row for each image, most foreign first: ``row``, ``path`` where there is one, ``predicted``, ``confidence``,
        ``distance`` and ``energy``, and the rank of each of these two among the model's own rows,
        ``p_distance`` and ``p_energy``: 0.05 means that 5 % of those are as foreign.
    shares : dict
        For each score the share of images whose rank is at most 0.05, with its 95 % interval (Wilson); 5 % would be
        expected of images like the model's own.
    judged : dict
        For each score and each planted set of foreign images, how well they are told from its own.
    reference : str
        What distances are taken to.
    """

    table: pl.DataFrame
    shares: dict[str, tuple[float, float, float]]
    judged: dict[str, dict[str, Separation]]
    reference: str

    def to_json(self) -> dict[str, Any]:
        """All but the table as JSON values."""
        judged = {
            score: {name: dataclasses.asdict(one) for name, one in sets.items()} for score, sets in self.judged.items()
        }
        return {"shares": self.shares, "expected": LEVEL, "judged": judged, "reference": self.reference}

    def __str__(self) -> str:
        rows = len(self.table)
        lines = [
            f"{value:.1%} ({low:.1%} to {high:.1%}) of {rows:,} images are more foreign by {score} than 95 % of the "
            "model's own rows; of images like those 5 % would be"
            for score, (value, low, high) in self.shares.items()
        ]
        lines += [
            f"images with {name} are told from the model's by {score} with an AUC of {one.auc:.2f} ({one.low:.2f} to "
            f"{one.high:.2f}); at the limit that accepts 95 % of the model's rows, {one.missed:.0%} of these pass"
            for score, sets in self.judged.items()
            for name, one in sets.items()
        ]
        return "\n".join(lines)


def out_of_distribution(run: Run, images: ImageSet | Path | str, *, seed: int = 0) -> OutOfDistribution:
    """How foreign new images are to a run's model, by distance in its features and by energy.

    A row's distance is that to its nearest train rows (`analysis.ood.distance`), or to the run's own rows where
    there is no train split; its energy is that of its logits (`analysis.ood.energy`). Each is ranked among the
    run's own rows, which the model was not trained on. Both are judged on what is foreign for certain: the run's own
    images with their parts shuffled, and with their phases scrambled. What they tell of those need not hold for other
    kinds of foreign images.

    Parameters
    ----------
    run : Run
        With its model, whose last layer is linear, images and embeddings; of the images at most 2,000 random ones are
        used.
    images : ImageSet or path
        The new images; their labels are not used. A path: whatever `load_images` reads, or a folder of image files.
    seed : int
        Of the sample and of the planted images.

    Returns
    -------
    OutOfDistribution
        A row for each image, most foreign first, the share that is foreign, and how well the scores tell planted sets.

    Raises
    ------
    DataError
        If the run lacks its model, images or embeddings, or the new images can't be read.
    """
    classifier, own = run.classifier, run.images
    if classifier is None or own is None or classifier.embedding_layer is None:
        raise DataError("out of distribution: expected a run with its images and a model whose last layer is linear")
    given = images if isinstance(images, ImageSet) else any_images(Path(images), classifier.classes)
    generator = np.random.default_rng(seed)
    reference, rows = _reference(run, generator)

    def scores(some: ImageSet, rows: IntArray | None = None) -> tuple[Predictions, dict[str, FloatArray]]:
        unlabelled = dataclasses.replace(some, labels=np.zeros(len(some), np.int64), classes=classifier.classes)
        predictions = predict(classifier, unlabelled, rows=rows)
        features = predictions.embedding
        assert features is not None  # as the model has an embedding layer
        return predictions, {
            "distance": distance(features, reference),
            "energy": energy(_logits(classifier, features)),
        }

    _, usual = scores(own, rows)
    new, found = scores(given)
    judged: dict[str, dict[str, Separation]] = {name: {} for name in usual}
    for name, make in PLANTED.items():
        made = [make(own.image(int(row)), generator) for row in rows]
        _, planted = scores(ImageSet(made, rows, classifier.classes, name, "0" * 64))
        for score, values in planted.items():
            judged[score][name] = separation(usual[score], values)
    rank = {f"p_{name}": ranks(values, usual[name]) for name, values in found.items()}
    table = pl.DataFrame(
        {
            "row": new.index,
            **({} if (paths := _names(given)) is None else {"path": paths}),
            "predicted": [classifier.classes[k] for k in new.predicted],
            "confidence": new.confidence,
            **found,
            **rank,
        }
    )
    return OutOfDistribution(
        table.sort("p_distance", "distance", descending=[False, True]),
        {name: _share(rank[f"p_{name}"]) for name in found},
        judged,
        "the run's other rows" if run.train is None else "the train rows",
    )


def _reference(run: Run, generator: np.random.Generator) -> tuple[ProbabilityArray, IntArray]:
    """Embeddings that distances are taken to, and the run's rows, at most 2,000, that are none of them."""
    train = None if run.train is None else run.train.embedding
    count = len(run.predictions) if train is not None else len(run.predictions) // 2
    drawn = generator.permutation(len(run.predictions))
    chosen, rest = drawn[: min(count, MOST)], drawn[min(count, MOST) :]
    if train is None:
        own = run.predictions.embedding
        if own is None or not count:
            raise DataError(
                "out of distribution: expected predictions of two rows or more, with embeddings: predict again"
            )
        train = own[rest]
    return train, np.sort(run.predictions.index[chosen])


def _names(images: ImageSet) -> list[str] | None:
    """The files' names, where images are files."""
    paths = getattr(images.pixels, "paths", None)
    return None if paths is None else [path.name for path in paths]


def _logits(classifier: Classifier, features: Any) -> FloatArray:
    """What the model's linear head makes of embeddings ``(n, D)``."""
    import torch

    head = classifier.module.get_submodule(str(classifier.embedding_layer))
    with torch.inference_mode():
        found = head(torch.from_numpy(np.array(features, np.float32)).to(classifier.device))
    return np.asarray(found.cpu().numpy(), np.float64)


def _share(p_values: FloatArray) -> tuple[float, float, float]:
    far = int((p_values <= LEVEL).sum())
    low, high = wilson_interval(far, len(p_values))
    return far / len(p_values), float(low), float(high)
