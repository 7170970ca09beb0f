"""A bundle on how a model's answers change with the image: tables, figures, and what they were computed from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench import figures
from workbench.analysis.robustness import CURVES, FRAGILITY, MANIFEST
from workbench.core.files import refuse_to_overwrite, sha256, write_atomically, write_json
from workbench.core.records import ImageSet, IntArray, Precision
from workbench.core.stamp import NAME, Stamp, stamp_of, text_of
from workbench.core.texts import csv_bytes
from workbench.errors import DataError
from workbench.figures.robustness import Flip
from workbench.models.classifier import Classifier
from workbench.robustness.changes import apply
from workbench.robustness.consistency import consistency
from workbench.robustness.corruptions import CORRUPTIONS
from workbench.robustness.curves import Corruptions, corruption_curves, mean_corruption_error
from workbench.robustness.fragility import Fragility, fragility
from workbench.robustness.kinds import DEFAULT, KINDS
from workbench.runs.run import Run

PARTS = ("corruptions", "fragility", "consistency")
SHOWN_FLIPS = 6
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Asked:
    """What a bundle is to hold.

    Parameters
    ----------
    parts : sequence of str
        Of `PARTS`.
    rows : int
        How many rows, drawn at random, are corrupted and averaged over changes; 0 for all.
    corruptions, changes : sequence of str
        Of `corruptions.CORRUPTIONS` and `kinds.KINDS`.
    groups : mapping of str to int64 array
        Row ids of groups that have curves of their own, such as findings.
    precision : "float32" or "bfloat16"
    seed : int
        For the choice of rows and the corruptions.
    """

    parts: Sequence[str] = PARTS
    rows: int = 1000
    corruptions: Sequence[str] = tuple(CORRUPTIONS)
    changes: Sequence[str] = DEFAULT
    groups: Mapping[str, IntArray] = field(default_factory=dict)
    precision: Precision = "float32"
    seed: int = 0


@dataclass
class _Bundle:
    """What has been written so far, and what is known of it."""

    out: Path
    stamp: Stamp
    values: dict[str, Any] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def table(self, name: str, frame: pl.DataFrame) -> None:
        path = self.out / name
        write_atomically(path, lambda target: target.write_bytes(csv_bytes(frame)))
        self.files.append(path)

    def figure(self, name: str, made: Any) -> None:
        self.files += figures.save(made, self.out / name, self.stamp)


def write_robustness(
    run: Run,
    out: Path,
    asked: Asked,
    *,
    rank: int = 0,
    world: int = 1,
    force: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Write how the run's answers change with the image into ``out``; return what was found, a line each.

    ``corruptions.csv`` and its figure have the accuracy under each corruption, of all rows, each class and each group
    (`robustness.curves`); ``fragility.parquet`` the smallest changes that flip the errors' answers, and
    ``flips.png`` some of them (`robustness.fragility`); ``robustness.json`` the rest, with what averaging over changed
    copies corrects and breaks (`robustness.consistency`). What was answered under corruptions is kept in ``parts``, so
    that a killed run resumes. Of several processes each answers its share, and the one that ends last writes the rest.

    Raises
    ------
    DataError
        If the run has no images or model, a part, corruption or change does not exist, or ``out`` holds answers of
        another model or of other images.
    OutputError
        If ``out`` holds such a bundle and ``force`` is off, the disk is full or the folder can't be written.
    """
    refuse_to_overwrite([out / MANIFEST], force)
    if run.images is None or run.classifier is None:
        raise DataError("robustness needs the images and the model: give --data and --checkpoint")
    if unknown := [name for name in asked.parts if name not in PARTS]:
        raise DataError(f"parts: expected some of {', '.join(PARTS)}, not {unknown[0]!r}")
    parameters = {"rows": asked.rows, "precision": asked.precision, "seed": asked.seed, "parts": list(asked.parts)}
    bundle = _Bundle(out, stamp_of(run.predictions, "robustness", "", parameters))
    rows = _drawn(run, asked)
    tell = progress or (lambda *_: None)
    if "corruptions" in asked.parts:
        measured = Corruptions(
            run.classifier, run.images, rows, out, asked.corruptions, precision=asked.precision, seed=asked.seed
        )
        if force:
            measured.clear(world)
        measured.measure(rank=rank, world=world, progress=functools.partial(tell, "corruptions"))
        if measured.missing:
            return [f"{measured.missing} parts are left to other processes: the last one writes the tables"]
        _corruptions(bundle, run, measured, asked.groups)
    elif rank:
        return ["the first process writes the tables"]
    for name, make in (("fragility", _fragility), ("consistency", _consistency)):
        if name in asked.parts:
            try:
                make(bundle, run, run.classifier, run.images, rows, asked, functools.partial(tell, name))
            except DataError as error:
                bundle.said.append(f"omitted {name}: {error}")
    write_json(
        out / MANIFEST,
        {
            "run": run.name,
            **bundle.values,
            "said": bundle.said,
            "rows": rows.tolist(),
            "provenance": run.predictions.provenance.to_json(),
            "images": run.images.fingerprint,
            "stamp": bundle.stamp,
            "files": {path.name: sha256(path) for path in sorted(bundle.files)},
        },
    )
    return bundle.said


def _drawn(run: Run, asked: Asked) -> IntArray:
    """Row ids in their order: all, or a random sample."""
    index = run.predictions.index
    if asked.rows < 0:
        raise DataError(f"rows: expected 0 for all, or a number of rows, not {asked.rows}")
    if not asked.rows or asked.rows >= len(index):
        return index
    return np.sort(np.random.default_rng(asked.seed).choice(index, asked.rows, replace=False))


def _corruptions(bundle: _Bundle, run: Run, measured: Corruptions, groups: Mapping[str, IntArray]) -> None:
    answers = measured.answers()
    curves = corruption_curves(answers, run.predictions, groups)
    error = mean_corruption_error(answers, run.predictions)
    bundle.table(CURVES, curves)
    bundle.figure("corruptions", figures.corruption_curves(curves))
    bundle.values["corruptions"] = error.to_json()
    worst = (
        curves.filter(pl.col("kind") == "all", pl.col("strength") > 0)
        .group_by("corruption")
        .agg(pl.col("accuracy").mean())
        .sort("accuracy")
        .row(0)
    )
    bundle.said += [str(error), f"lowest under {worst[0]}: accuracy {worst[1]:.1%} on average over its strengths"]


def _fragility(
    bundle: _Bundle,
    run: Run,
    classifier: Classifier,
    images: ImageSet,
    _: IntArray,
    asked: Asked,
    progress: Callable[[int, int], None],
) -> None:
    found = fragility(
        classifier,
        images,
        run.predictions,
        changes=asked.changes,
        precision=asked.precision,
        seed=asked.seed,
        progress=progress,
    )
    path = bundle.out / FRAGILITY
    write_atomically(path, functools.partial(found.table.write_parquet, metadata={NAME: text_of(bundle.stamp)}))
    bundle.files.append(path)
    bundle.values["fragility"] = found.to_json()
    bundle.said += found.sentences()
    if shown := flips_of(run, classifier, images, found):
        bundle.figure("flips", figures.flips(shown))


def flips_of(run: Run, classifier: Classifier, images: ImageSet, found: Fragility) -> list[Flip]:
    """The errors that change most readily, each after the smallest change relative to what is harmless."""
    table = found.table.filter(pl.col("smallest_change").is_not_null()).sort("smallest_change").head(SHOWN_FLIPS)
    seen, classes, shown = classifier.seen(images), run.predictions.classes, []
    for values in table.iter_rows(named=True):
        row, name = values["index"], values["smallest_change_kind"]
        change = found.change(row, name)
        if change is None:
            continue
        place = run.predictions.position(row)
        words = KINDS[name].words(values[f"{name}_strength"], values[f"{name}_variant"])
        image, flipped = seen.image(row), classes[values[f"{name}_answer"]]
        label, answer = (classes[int(column[place])] for column in (run.predictions.label, run.predictions.predicted))
        shown.append(Flip(image, apply(image, change), row, label, answer, flipped, words))
    return shown


def _consistency(
    bundle: _Bundle,
    run: Run,
    classifier: Classifier,
    images: ImageSet,
    rows: IntArray,
    asked: Asked,
    progress: Callable[[int, int], None],
) -> None:
    found = consistency(classifier, images, run.predictions, rows, precision=asked.precision, progress=progress)
    bundle.values["consistency"] = found.to_json()
    bundle.said.append(str(found))
