"""One verdict for every error: its cause, how certain that is, and where the next hour of work would pay off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from workbench.analysis.copies import SAME
from workbench.analysis.labels import label_suspects
from workbench.analysis.neighbours import ALIKE
from workbench.analysis.statistics import proportion
from workbench.analysis.votes import AMBIGUOUS_BITS
from workbench.core.predictions import Predictions

RARE = 0.05
SURE = 0.9

ACTIONS: Mapping[str, str] = {
    "near-duplicate with another label": "compare the two images and settle on one label",
    "doubtful label": "check the label; the prediction may be correct",
    "ambiguous to people": "accept the error, or give the image a soft label",
    "atypical": "collect or generate more images like it",
    "high confidence": "look for what misleads the model; calibration changes no prediction",
    "unexplained": "none of the other rules applies: look at the images and their maps",
}


@dataclass(frozen=True)
class _Rule:
    """A verdict, the columns it needs, when it holds, how certain it is (0 to 1) and the evidence in words."""

    verdict: str
    needs: tuple[str, ...]
    holds: pl.Expr
    certainty: pl.Expr
    evidence: Callable[[dict[str, Any], tuple[str, ...]], str]


def _span(value: pl.Expr, low: float, high: float) -> pl.Expr:
    """0.5 at ``low``, 1 at ``high``, linear in between."""
    return (0.5 + 0.5 * (value.cast(pl.Float64) - low) / (high - low)).clip(0.5, 1.0)


RULES = (
    _Rule(
        "near-duplicate with another label",
        ("copy_row", "copy_label", "copy_correlation"),
        pl.col("copy_label") != pl.col("label"),
        _span(pl.col("copy_correlation"), SAME, 1.0),
        lambda row, classes: (
            f"train image #{row['copy_row']} is nearly the same picture (correlation {row['copy_correlation']:.2f}) "
            f"and is labelled {classes[row['copy_label']]}"
        ),
    ),
    _Rule(
        "near-duplicate with another label",
        ("nearest_similarity", "nearest_label", "nearest_row"),
        (pl.col("nearest_similarity") >= ALIKE) & (pl.col("nearest_label") != pl.col("label")),
        _span(pl.col("nearest_similarity"), ALIKE, 1.0),
        lambda row, classes: (
            f"its nearest train image (#{row['nearest_row']}, similarity {row['nearest_similarity']:.3f}) is labelled "
            f"{classes[row['nearest_label']]}"
        ),
    ),
    _Rule(
        "doubtful label",
        ("votes_top", "votes_for_label", "votes_entropy"),
        (pl.col("votes_top") != pl.col("label")) & (pl.col("votes_entropy") < AMBIGUOUS_BITS),
        _span(pl.col("votes_for_label"), 0.5, 0.0),
        lambda row, classes: (
            f"most human labels are {classes[row['votes_top']]}; "
            f"{row['votes_for_label']:.0%} are {classes[row['label']]}"
        ),
    ),
    _Rule(
        "ambiguous to people",
        ("votes_entropy", "votes_for_label"),
        pl.col("votes_entropy") >= AMBIGUOUS_BITS,
        _span(pl.col("votes_entropy"), AMBIGUOUS_BITS, 2.0),
        lambda row, classes: (
            f"human labels disagree (entropy {row['votes_entropy']:.2f} bits, {row['votes_for_label']:.0%} for "
            f"{classes[row['label']]})"
        ),
    ),
    _Rule(
        "doubtful label",
        ("suspect_score", "neighbours_for_label"),
        (pl.col("suspect_score") >= 0.95) & (pl.col("neighbours_for_label") <= 0.1),
        _span(pl.col("suspect_score"), 0.95, 1.0) * 0.8,
        lambda row, classes: (
            f"the model gives {classes[row['label']]} {row['label_probability']:.1%}, and "
            f"{row['neighbours_for_label']:.0%} of the nearest train images have that label"
        ),
    ),
    _Rule(
        "atypical",
        ("typicality", "familiarity"),
        (pl.col("typicality") <= RARE) & (pl.col("familiarity") <= RARE),
        _span(pl.col("familiarity"), RARE, 0.0),
        lambda row, classes: (
            f"far from every train image: {1 - row['familiarity']:.1%} of the images have nearer ones, and only "
            f"{row['typicality']:.1%} of the train images of {classes[row['label']]} lie as far from their own"
        ),
    ),
    _Rule(
        "high confidence",
        (),
        pl.col("confidence") >= SURE,
        _span(pl.col("confidence"), SURE, 1.0),
        lambda row, classes: f"misclassified with {row['confidence']:.1%} for {classes[row['predicted']]}",
    ),
    _Rule(
        "unexplained",
        (),
        pl.lit(True),
        pl.lit(0.5),
        lambda row, classes: (
            f"none of the rules that could run applies; {row['confidence']:.1%} for {classes[row['predicted']]}"
        ),
    ),
)


def causes(predictions: Predictions) -> pl.DataFrame:
    """A verdict for every error, with its certainty and its evidence in words, by row id.

    The first rule that holds decides; a rule is omitted if the table lacks its columns:

    1. near-duplicate with another label: a train image that is nearly the same picture (`copies.join_copies`) has
       another label; where pictures were not compared: cosine similarity to the nearest train row at least 0.995, its
       label another;
    2. doubtful label: most human labels are another class, and they agree (entropy of the votes under 1 bit);
    3. ambiguous to people: entropy of the votes at least 1 bit;
    4. doubtful label, where there are no human labels: a suspect of the confident joint with a normalised margin of
       at most -0.9, and at most a tenth of the nearest train rows have its label;
    5. atypical: typicality and familiarity at most 0.05, that is, far from its class's train images and from all
       others too (an error lies far from its class by nature: in the midst of another class it is not atypical);
    6. high confidence: confidence at least 0.9;
    7. else unexplained.

    ``certainty`` runs from 0.5 where a rule just holds to 1 where it holds in full (rule 4: 0.4 to 0.8, as a model
    is not an independent judge of the errors it makes). The thresholds are conventions, not estimates. Columns: index,
    label, predicted, verdict, certainty, evidence.

    Human labels are joined by `votes.join_votes`, neighbours and typicality by `neighbours.join_neighbours`,
    near-duplicates by `copies.join_copies`.
    """
    suspects = label_suspects(predictions).select("index", pl.col("score").alias("suspect_score"))
    wrong = predictions.scan().filter(~pl.col("correct")).select(pl.exclude("probability", "embedding", "votes"))
    frame = wrong.join(suspects.lazy(), on="index", how="left").sort("index").collect(engine="streaming")
    # the model does not judge a label where there are human labels, nor do embeddings where pictures were compared
    better = {"suspect_score": "votes_top", "nearest_row": "copy_row"}
    worse = {name for name, instead in better.items() if instead in frame.columns}
    usable = [rule for rule in RULES if set(rule.needs) <= set(frame.columns) and worse.isdisjoint(rule.needs)]
    holds = [rule.holds.fill_null(False) & rule.certainty.is_not_nan().fill_null(False) for rule in usable]
    number = pl.coalesce(pl.when(rule).then(pl.lit(k)) for k, rule in enumerate(holds))
    certainty = pl.coalesce(pl.when(rule).then(usable[k].certainty) for k, rule in enumerate(holds))
    judged = frame.with_columns(number=number, certainty=certainty)
    evidence = [usable[row["number"]].evidence(row, predictions.classes) for row in judged.iter_rows(named=True)]
    verdicts = pl.Series([rule.verdict for rule in usable], dtype=pl.String)
    return judged.select(
        "index",
        "label",
        "predicted",
        verdict=pl.lit(verdicts).gather(pl.col("number")),
        certainty="certainty",
        evidence=pl.Series("evidence", evidence, dtype=pl.String),
    )


def where_to_work(verdicts: pl.DataFrame) -> pl.DataFrame:
    """How many of the errors have each cause, and what to do about it, most frequent first.

    Columns: verdict, errors, share (of the errors) with its 95 % Wilson interval ``low`` and ``high``, mean certainty,
    action, examples (up to five row ids, the most certain first).
    """
    rows = verdicts.sort(["certainty", "index"], descending=[True, False]).group_by("verdict", maintain_order=True)
    counts = rows.agg(
        errors=pl.len().cast(pl.Int64), certainty=pl.col("certainty").mean(), examples=pl.col("index").head(5)
    )
    hits = counts["errors"].to_numpy().astype(np.int64)
    rate = proportion(hits, np.full(len(hits), len(verdicts)))
    return counts.with_columns(
        share=pl.Series(rate.value),
        low=pl.Series(rate.low),
        high=pl.Series(rate.high),
        action=pl.col("verdict").replace_strict(dict(ACTIONS), return_dtype=pl.String),
    ).sort(["errors", "verdict"], descending=[True, False])
