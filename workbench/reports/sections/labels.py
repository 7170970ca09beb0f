"""Doubtful labels."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench import figures
from workbench.analysis.labels import confident_joint, label_scores, label_suspects, out_of_sample
from workbench.analysis.planting import expected_precision
from workbench.analysis.summary import OFF_DIAGONAL
from workbench.core.predictions import Predictions
from workbench.findings.known import known_of
from workbench.reports.bundle import Bundle
from workbench.reports.material import NO_PROBABILITIES, Material

PLANTED = 200  # rows from which labels are planted to see how many are found
_RECORDED = "the model was trained on rows of this split, as its record says"
_CALLED = "the rows' split is called train, and nothing records whether the model was trained on them"


def section(material: Material) -> Bundle:
    """A score of every label, and the suspects among them; of train rows by a model that has not seen them."""
    if not material.predictions.has_probabilities:
        return Bundle(omitted=[f"label_suspects: {NO_PROBABILITIES}"])
    if material.predictions.provenance.split == "train":
        return _of_train_rows(material)
    return _suspects(material, material.predictions)


def _was_trained_on(material: Material) -> bool:
    """Whether the model's own record names the images of these predictions as its train split."""
    model, data = material.run.classifier, material.predictions.provenance.data
    recorded = {} if model is None else model.card.get("data", {})
    return data is not None and recorded.get("fingerprint_train") == data


def _of_train_rows(material: Material) -> Bundle:
    """Doubtful train labels, by a linear classifier on the embeddings that has not seen the row."""
    predictions = material.predictions
    known = _RECORDED if _was_trained_on(material) else _CALLED
    bundle = Bundle(metrics={OFF_DIAGONAL: None})
    if predictions.embedding is None:
        bundle.omitted.append(f"label_suspects: {known}, and there are no embeddings to judge them by")
        return bundle
    judged = out_of_sample(predictions.embedding, predictions.label, predictions.classes, index=predictions.index)
    bundle.metrics[OFF_DIAGONAL] = confident_joint(judged).noise_rate
    bundle.metrics["label_suspects_by"] = "five folds of a linear classifier on the model's embeddings"
    bundle.add(_suspects(material, judged))
    return bundle


def _suspects(material: Material, predictions: Predictions) -> Bundle:
    doubtful, scores, names = label_suspects(predictions), _scores(material, predictions), material.class_names
    metrics = {"label_scores": _precision(predictions)} if len(predictions) >= PLANTED else {}
    return Bundle(
        metrics=metrics,
        figures={"label_suspects": lambda: figures.figure_of(figures.suspects(doubtful, predictions.classes))},
        tables={
            "label_suspects": doubtful.with_columns(names("label"), names("suggested")),
            "label_scores": scores.with_columns(names("label"), names("predicted")),
        },
    )


def _precision(predictions: Predictions) -> dict[str, Any]:
    """What share of the most doubtful labels would be exchanged ones, if one in a hundred was."""
    found = expected_precision(predictions)
    at = {
        str(top): {"value": value, "interval": [low, high]}
        for top, value, low, high in zip(
            found.tops, found.value.tolist(), found.low.tolist(), found.high.tolist(), strict=True
        )
    }
    return {"planted_share": found.planted, "expected_precision_at": at}


def _scores(material: Material, predictions: Predictions) -> pl.DataFrame:
    """Scores of all labels; what was recorded while the model was trained on these rows says nothing of them."""
    known = known_of(material.run, seeds=material.seeds)
    if predictions.provenance.split == "train" or len(known.label) < len(predictions):
        return label_scores(predictions)
    others = [other for other in known.others if other.has_probabilities]
    return label_scores(predictions, epochs=known.epochs, others=others)
