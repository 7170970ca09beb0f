"""Doubtful labels, and a verdict for every error."""

from __future__ import annotations

import polars as pl

from workbench import figures
from workbench.analysis.causes import causes, where_to_work
from workbench.analysis.labels import confident_joint, label_suspects, out_of_sample
from workbench.analysis.summary import OFF_DIAGONAL
from workbench.core.predictions import Predictions
from workbench.reports.bundle import Bundle
from workbench.reports.material import NO_PROBABILITIES, Material

_RECORDED = "the model was trained on rows of this split, as its record says"
_CALLED = "the rows' split is called train, and nothing records whether the model was trained on them"


def section(material: Material) -> Bundle:
    """Label suspects; for rows of other splits than train, also the causes of the errors."""
    if not material.predictions.has_probabilities:
        return Bundle(omitted=[f"label_suspects and causes: {NO_PROBABILITIES}"])
    if material.predictions.provenance.split == "train":
        return _of_train_rows(material)
    bundle = _suspects(material, material.predictions)
    verdicts = causes(material.predictions)
    work = where_to_work(verdicts)
    bundle.tables |= {
        "causes": verdicts.with_columns(material.class_names("label"), material.class_names("predicted")),
        "where_to_work": work.with_columns(pl.col("examples").cast(pl.List(pl.String))),
    }
    bundle.figures["causes"] = lambda: figures.figure_of(figures.causes(work))
    return bundle


def _was_trained_on(material: Material) -> bool:
    """Whether the model's own record names the images of these predictions as its train split."""
    model, data = material.run.classifier, material.predictions.provenance.data
    recorded = {} if model is None else model.card.get("data", {})
    return data is not None and recorded.get("fingerprint_train") == data


def _of_train_rows(material: Material) -> Bundle:
    """Doubtful train labels, by a linear classifier on the embeddings that has not seen the row."""
    predictions = material.predictions
    known, special = (_RECORDED, "are") if _was_trained_on(material) else (_CALLED, "would then be")
    bundle = Bundle(
        metrics={OFF_DIAGONAL: None},
        omitted=[f"causes: {known}; its errors there {special} few and special"],
    )
    if predictions.embedding is None:
        bundle.omitted.append(f"label_suspects: {known}, and there are no embeddings to judge them by")
        return bundle
    judged = out_of_sample(predictions.embedding, predictions.label, predictions.classes, index=predictions.index)
    bundle.metrics[OFF_DIAGONAL] = confident_joint(judged).noise_rate
    bundle.metrics["label_suspects_by"] = "five folds of a linear classifier on the model's embeddings"
    bundle.add(_suspects(material, judged))
    return bundle


def _suspects(material: Material, predictions: Predictions) -> Bundle:
    doubtful, classes = label_suspects(predictions), predictions.classes
    named = doubtful.with_columns(material.class_names("label"), material.class_names("suggested"))
    return Bundle(
        figures={"label_suspects": lambda: figures.figure_of(figures.suspects(doubtful, classes))},
        tables={"label_suspects": named},
    )
