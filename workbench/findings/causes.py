"""The findings seen from the errors: under which finding each of them comes, and how many each finding has."""

from __future__ import annotations

import numpy as np
import polars as pl

from workbench.analysis.statistics import proportion
from workbench.core.predictions import Predictions
from workbench.findings.find import findings_of
from workbench.findings.known import Known
from workbench.findings.record import Findings

UNEXPLAINED = "unexplained"
NAMES = ("verdict", "kind", "evidence", "action")
OPEN = "no finding explains these errors: look at the images and their maps"


def causes(predictions: Predictions, found: Findings | None = None) -> pl.DataFrame:
    """A verdict for every error: the subject of the most specific finding that explains it, else ``unexplained``.

    Of several the one with the fewest rows counts: of an image with a contested label it says more than that people
    disagree on a tenth of the images.

    Parameters
    ----------
    predictions : Predictions
    found : Findings, optional
        By default those of the predictions alone (`find.find` takes a run, with images and more).

    Returns
    -------
    polars DataFrame
        A row for each error, by row id, of the sample where the findings are of one: index, label, predicted, verdict,
        ``kind`` of the finding, evidence (its sentence), action, ``others`` (the subjects of further findings that
        explain it, separated by semicolons).
    """
    found = findings_of(Known(predictions)) if found is None else found
    errors = predictions.columns("index", "label", "predicted", "correct").filter(~pl.col("correct")).sort("index")
    if found.sample is not None:
        errors = errors.filter(pl.col("index").is_in(found.sample))
    ids = errors["index"].to_numpy()
    explaining = sorted((finding for finding in found if finding.explains), key=lambda one: len(one.rows))
    inside = np.array([np.isin(ids, finding.rows) for finding in explaining]).reshape(len(explaining), len(ids))
    first = np.where(inside.any(0), inside.argmax(0), -1) if explaining else np.full(len(ids), -1)
    others = np.full(len(ids), "", object)
    for row in np.flatnonzero(inside.sum(0) > 1):
        others[row] = "; ".join(explaining[k].subject for k in np.flatnonzero(inside[:, row])[1:])
    words = [(one.subject, one.kind, one.sentence, one.action) for one in explaining]
    words.append((UNEXPLAINED, "", "no finding explains this error", OPEN))  # at place -1
    named = {name: [words[k][at] for k in first.tolist()] for at, name in enumerate(NAMES)}
    columns = pl.DataFrame({**named, "others": others.tolist()}, schema=dict.fromkeys((*NAMES, "others"), pl.String))
    return errors.drop("correct").hstack(columns)


def where_to_work(verdicts: pl.DataFrame) -> pl.DataFrame:
    """How many of the errors come under each verdict of `causes`, and what would help, most frequent first.

    Columns: verdict, errors, share (of the errors) with its 95 % Wilson interval ``low`` and ``high``, action, examples
    (up to five row ids).
    """
    counts = (
        verdicts.sort("index")
        .group_by("verdict", maintain_order=True)
        .agg(errors=pl.len().cast(pl.Int64), action=pl.col("action").first(), examples=pl.col("index").head(5))
    )
    hits = counts["errors"].to_numpy().astype(np.int64)
    rate = proportion(hits, np.full(len(hits), len(verdicts)))
    return (
        counts.with_columns(share=pl.Series(rate.value), low=pl.Series(rate.low), high=pl.Series(rate.high))
        .sort(["errors", "verdict"], descending=[True, False])
        .select("verdict", "errors", "share", "low", "high", "action", "examples")
    )
