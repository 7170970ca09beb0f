"""Methods tested on the same images: which to choose, and why."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.analysis.statistics import paired_interval
from workbench.attribution.attribute import attribute
from workbench.attribution.registry import method_of
from workbench.attribution.registry import methods as known_methods
from workbench.core.records import VERDICTS, Attribution, ImageArray
from workbench.errors import AttributionError
from workbench.evidence.faithfulness import MEASURES, Bench
from workbench.evidence.sanity import sanity_check
from workbench.evidence.stability import stability
from workbench.evidence.verdicts import Evidence
from workbench.models.classifier import Classifier

SANITY_IMAGES = 8
CONTROL = "blurred random"


@dataclass(frozen=True)
class Trial:
    """A tested method: its evidence and the seconds its maps took per image, or the reason why it does not apply."""

    method: str
    evidence: Evidence | None
    seconds_per_image: float = float("nan")
    refused: str = ""


def evidence_of(bench: Bench, method: str = "Grad-CAM", *, layer: str = "") -> Trial:
    """A method's maps for the images of a bench, with all the evidence: faithfulness, stability and sanity.

    The sanity check uses the first eight images.

    Raises
    ------
    AttributionError
        As `attribute`.
    """

    def make(classifier: Classifier, images: ImageArray, part: slice = slice(None)) -> Attribution:
        layers = [layer] if layer else []
        rows, targets = bench.rows[part], bench.targets.part(part)
        found = attribute(classifier, images, rows, targets, method, layers=layers, precision=bench.precision)
        return next(iter(found.values()))

    method = method_of(method).name
    importlib.import_module("captum.attr")  # so that its import is not charged to the first method that needs it
    begun = time.perf_counter()
    maps = make(bench.classifier, bench.images)
    seconds = (time.perf_counter() - begun) / len(bench.images)
    few = slice(0, SANITY_IMAGES)
    evidence = Evidence(
        maps,
        bench.faithfulness(maps),
        stability(bench.images, maps, lambda images: make(bench.classifier, images)),
        sanity_check(bench.classifier, lambda classifier: make(classifier, bench.images[few], few)),
    )
    return Trial(method, evidence, seconds)


def try_methods(
    bench: Bench, methods: Sequence[str] | None = None, *, progress: Callable[[str], None] | None = None
) -> Iterator[Trial]:
    """Each method's trial in turn, by default of every method that is registered now.

    A method that does not apply to the model gives its reason. ``progress`` is called with each name.
    """
    for name in [method_of(name).name for name in (known_methods() if methods is None else methods)]:
        if progress is not None:
            progress(name)
        try:
            yield evidence_of(bench, name)
        except AttributionError as error:
            yield Trial(name, None, refused=str(error))


def ranking(trials: Sequence[Trial]) -> pl.DataFrame:
    """One row per method, those with the most supported maps first; those that do not apply come last with the reason.

    Columns: ``method``, ``family``, ``citation``, ``ms_per_image`` as measured; for each measure the mean
    gain over the blurred-random control with its 95 % bootstrap interval over the images, and the share of maps that
    beat all of their controls; mean ``stability``; the sanity check's larger correlation, both correlations and SSIM
    with the wholly random model's maps, and whether it is passed; the median ``residual``; the share of maps with each
    verdict.
    """
    rows = [_row(trial) for trial in trials]
    frame = pl.DataFrame(rows, infer_schema_length=None).fill_nan(None)
    return frame.sort("supported", "weak", "gain_road", descending=True, nulls_last=True, maintain_order=True)


def _row(trial: Trial) -> dict[str, object]:
    method = method_of(trial.method)
    row: dict[str, object] = {"method": trial.method, "family": method.family, "citation": method.citation}
    evidence = trial.evidence
    nothing = float("nan")
    row["ms_per_image"] = 1000 * trial.seconds_per_image
    for measure in MEASURES:
        gain = (nothing,) * 3
        if evidence is not None:
            gain = paired_interval(evidence.faithfulness.gain(measure, CONTROL))
        row |= dict(zip((f"gain_{measure}", f"gain_{measure}_low", f"gain_{measure}_high"), gain, strict=True))
        row[f"beats_{measure}"] = nothing if evidence is None else float(evidence.faithfulness.beats(measure).mean())
    row["stability"] = nothing if evidence is None else float(np.nan_to_num(evidence.stability).mean())
    sanity = None if evidence is None else evidence.sanity
    row["sanity_correlation"] = nothing if sanity is None else sanity.worst
    for name in ("signed", "absolute", "ssim"):
        row[f"sanity_{name}"] = nothing if sanity is None else float(getattr(sanity, name)[-1])
    row["sanity_passed"] = None if sanity is None else sanity.passed
    residual = None if evidence is None else evidence.attribution.residual
    row["residual"] = nothing if residual is None else float(np.nanmedian(residual))
    verdicts = [] if evidence is None else [evidence.verdict(k)[0] for k in range(len(evidence.attribution.rows))]
    for verdict in VERDICTS:
        share = verdicts.count(verdict) / len(verdicts) if verdicts else nothing
        row[verdict.replace(" ", "_")] = share
    row["does_not_apply"] = trial.refused
    return row
