"""Methods tested on the same images: which to choose, and why."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.analysis.statistics import paired_interval, wilson_interval
from workbench.attribution.registry import method_of
from workbench.attribution.registry import methods as known_methods
from workbench.core.records import VERDICTS, Attribution, FloatArray
from workbench.errors import AttributionError
from workbench.evidence.agreement import agreement
from workbench.evidence.cells import USED
from workbench.evidence.faithfulness import Bench
from workbench.evidence.pixels import MEASURES
from workbench.evidence.sanity import SanityCheck, sanity_check
from workbench.evidence.stability import stability
from workbench.evidence.verdicts import Evidence, corrected

SANITY_IMAGES = 8


@dataclass(frozen=True)
class Trial:
    """A tested method: its evidence and the seconds its maps took per image, or the reason why it does not apply."""

    method: str
    evidence: Evidence | None
    seconds_per_image: float = float("nan")
    refused: str = ""


def evidence_of(
    bench: Bench, method: str = "Grad-CAM", *, layer: str = "", maps: Callable[[str], Attribution] | None = None
) -> Trial:
    """A method's maps for the images of a bench, with all the evidence.

    The sanity check and the time are those of the first eight images. ``maps`` gives a method's maps of the bench's
    images, from a cache for example; default: they are computed.

    Raises
    ------
    AttributionError
        As `attribute`.
    """
    method = method_of(method).name
    importlib.import_module("captum.attr")  # so that its import is not charged to the first method that needs it
    few = slice(0, SANITY_IMAGES)
    begun = time.perf_counter()
    count = len(bench.maps(method, layer, part=few).rows)
    seconds = (time.perf_counter() - begun) / count
    made = bench.maps(method, layer) if maps is None else maps(method)
    evidence = Evidence(
        made,
        agreement(bench.effects, made.values, bench.reference(made)),
        stability(bench.classifier, bench.images, made, lambda images: bench.maps(method, layer, images=images)),
        sanity_check(bench.classifier, lambda model: bench.maps(method, layer, model, part=few)),
        bench.faithfulness(made.values),
    )
    return Trial(method, evidence, seconds)


def try_methods(
    bench: Bench,
    methods: Sequence[str] | None = None,
    *,
    maps: Callable[[str], Attribution] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Trial]:
    """Each method's trial in turn, by default of every method that is registered now.

    A method that does not apply to the model gives its reason. ``progress`` is called with each name; ``maps`` as
    `evidence_of`.
    """
    for name in [method_of(name).name for name in (known_methods() if methods is None else methods)]:
        if progress is not None:
            progress(name)
        try:
            yield evidence_of(bench, name, maps=maps)
        except AttributionError as error:
            yield Trial(name, None, refused=str(error))


def ranking(trials: Sequence[Trial]) -> pl.DataFrame:
    """One row per method, those with the most supported maps first; those that do not apply come last with the reason.

    Columns: ``method``, ``family``, ``citation``, ``ms_per_image`` as measured; for each substrate the mean ``effect``
    of the maps over the stronger of their controls, and for each pixel-wise measure the mean gain over another image's
    map and over the mean map, all with 95 % bootstrap intervals over the images; mean ``stability``; of the sanity
    check the larger correlation from the decisive step on with its interval, the three similarities at that step, the
    rise of complexity, and whether it is passed; the median ``residual``; the share of maps with each verdict, and the
    95 % Wilson interval of those supported. P-values are each method's own, not corrected over the methods: a share is
    what one finds who uses that method alone.
    """
    rows = [_row(trial) for trial in trials]
    frame = pl.DataFrame(rows, infer_schema_length=None).fill_nan(None)
    order = ["supported", f"effect_{USED[0]}"]
    return frame.sort(*order, descending=True, nulls_last=True, maintain_order=True)


def tables(trials: Sequence[Trial]) -> pl.DataFrame:
    """`Evidence.table` of all methods that apply, p-values corrected over the methods of an image."""
    found = [trial.evidence for trial in trials if trial.evidence is not None]
    return pl.concat([one.table(pairs) for one, pairs in zip(found, corrected(found), strict=True)])


def _row(trial: Trial) -> dict[str, object]:
    method, evidence = method_of(trial.method), trial.evidence
    row: dict[str, object] = {"method": trial.method, "family": method.family, "citation": method.citation}
    row["ms_per_image"] = 1000 * trial.seconds_per_image
    row |= _gains(evidence)
    nothing = float("nan")
    row["stability"] = nothing if evidence is None else float(np.nan_to_num(evidence.stability).mean())
    row |= _sanity(None if evidence is None else evidence.sanity)
    residual = None if evidence is None else evidence.attribution.residual
    row["residual"] = nothing if residual is None else float(np.nanmedian(residual))
    verdicts = []
    if evidence is not None:
        pairs = zip(evidence.p_value, evidence.p_below, strict=True)
        verdicts = [evidence.verdict(place, *pair)[0] for place, pair in enumerate(pairs)]
    for verdict in VERDICTS:
        row[verdict.replace(" ", "_")] = verdicts.count(verdict) / len(verdicts) if verdicts else nothing
    low, high = wilson_interval(verdicts.count("supported"), len(verdicts)) if verdicts else (nothing, nothing)
    row |= {"supported_low": float(low), "supported_high": float(high), "does_not_apply": trial.refused}
    return row


def _gains(evidence: Evidence | None) -> dict[str, object]:
    """Mean effects and gains with their intervals."""
    values: dict[str, FloatArray] = {}
    nothing = np.full(1, np.nan)
    for substrate in USED:
        values[f"effect_{substrate}"] = nothing if evidence is None else evidence.agreements[substrate].effect
    for measure in MEASURES:
        for control in ("other", "mean_map"):
            found = None if evidence is None else evidence.faithfulness
            name = f"gain_{measure}" if control == "other" else f"gain_{measure}_{control}"
            values[name] = nothing if found is None else found.gain(measure, control)
    row: dict[str, object] = {}
    for name, of in values.items():
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), paired_interval(of), strict=True))
    return row


def _sanity(sanity: SanityCheck | None) -> dict[str, object]:
    nothing = float("nan")
    row: dict[str, object] = {"sanity_correlation": nothing if sanity is None else sanity.worst}
    ends = (nothing, nothing) if sanity is None else sanity.interval
    row |= dict(zip(("sanity_correlation_low", "sanity_correlation_high"), ends, strict=True))
    for name in ("signed", "absolute", "ssim"):
        row[f"sanity_{name}"] = nothing if sanity is None else float(getattr(sanity, name)[sanity.decisive].mean())
    row["sanity_complexity"] = nothing if sanity is None else float(np.nanmean(sanity.complexity))
    row["sanity_passed"] = None if sanity is None else sanity.passed
    return row
