"""A bundle on how a model's answers change with the image: tables, figures, and what they were computed from."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench import figures
from workbench.analysis.robustness import CURVES, FRAGILITY, MANIFEST, check_origin
from workbench.core.files import lock, refuse_to_overwrite, sha256, write_atomically, write_json
from workbench.core.records import ImageSet, IntArray, Precision
from workbench.core.stamp import NAME, Stamp, stamp_of, text_of
from workbench.core.texts import csv_bytes, read_json
from workbench.errors import DataError
from workbench.figures.robustness import Flip
from workbench.models.classifier import Classifier
from workbench.robustness.changes import Change, apply
from workbench.robustness.consistency import consistency
from workbench.robustness.corruptions import CORRUPTIONS
from workbench.robustness.curves import ANSWERS, Corruptions, accuracy_curves, mean_corruption_error
from workbench.robustness.fragility import Fragility, fragility
from workbench.robustness.kinds import DEFAULT, KINDS, kinds_named
from workbench.runs.run import Run

PARTS = ("corruptions", "fragility", "consistency")
LOCK = ".robustness.lock"
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
        Row ids of groups that have separate curves, such as findings.
    precision : "float32" or "bfloat16"
    seed : int
        For the choice of rows and the corruptions.

    Raises
    ------
    DataError
        If a part or change does not exist, none is named, or a number is negative; `Corruptions` checks the rest.
    """

    parts: Sequence[str] = PARTS
    rows: int = 1000
    corruptions: Sequence[str] = tuple(CORRUPTIONS)
    changes: Sequence[str] = DEFAULT
    groups: Mapping[str, IntArray] = field(default_factory=dict)
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.parts if name not in PARTS]
        if unknown or not self.parts:
            raise DataError(
                f"parts: expected some of {', '.join(PARTS)}, not {repr(unknown[0]) if unknown else 'none'}"
            )
        kinds_named(self.changes)
        for name in ("rows", "seed"):
            if getattr(self, name) < 0:
                raise DataError(f"{name}: expected 0 or more, not {getattr(self, name)}")

    def drawn(self, index: IntArray) -> IntArray:
        """Row ids in their order: all, or a random sample."""
        if not self.rows or self.rows >= len(index):
            return index
        return np.sort(np.random.default_rng(self.seed).choice(index, self.rows, replace=False))


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
    copies corrects and breaks (`robustness.consistency`): over the harmless changes where fragility found some, else
    over a flip and small shifts. Parts that ``out`` holds already of this model and these images stay. Answers under
    corruptions are kept, so that a killed run resumes. Of several processes each answers its share, and the one that
    ends last writes the rest.

    Raises
    ------
    DataError
        If the run has no images or model, there are too few rows, or ``out`` holds answers of another model or of
        other images.
    OutputError
        If ``out`` holds one of the parts and ``force`` is off, the disk is full or the folder can't be written.
    """
    if run.images is None or run.classifier is None:
        raise DataError("robustness needs the images and the model: give --data and --checkpoint")
    rows = asked.drawn(run.predictions.index)
    measured = Corruptions(
        run.classifier, run.images, rows, out, asked.corruptions, precision=asked.precision, seed=asked.seed
    )
    if force and world > 1:
        raise DataError(f"--force: expected one process, not {world}: remove {out} by hand, and omit it")
    if force:
        _clear(out)
    if rank == 0:
        _check_free(out, run, asked.parts)
    tell: Progress = progress or (lambda *_: None)
    if "corruptions" in asked.parts:
        measured.measure(rank=rank, world=world, progress=functools.partial(tell, "corruptions"))
        if measured.missing:
            return [f"{measured.missing} corruptions are left to other processes: the last one writes the tables"]
    elif rank:
        return ["the first process writes the tables"]
    with lock(out / LOCK, wait_s=24 * 3600 if world > 1 else 0):
        if world > 1 and set(asked.parts) <= set(_there(out)):
            return ["another process has written the tables"]
        bundle = _Bundle(run, out, asked, rows, progress=tell)
        if "corruptions" in asked.parts:
            bundle.corruptions(measured)
        bundle.rest(run.classifier, run.images)
        bundle.write()
    return bundle.sentences


def _there(out: Path) -> dict[str, Any]:
    """The manifest of a bundle; empty if there is none."""
    return dict(read_json(out / MANIFEST)) if (out / MANIFEST).is_file() else {}


def _check_free(out: Path, run: Run, parts: Sequence[str]) -> None:
    """Raise if a bundle holds one of the parts, or is of another model or of other images."""
    values = _there(out)
    if values:
        check_origin(out, values, run.predictions)
    if any(part in values for part in parts):
        refuse_to_overwrite([out / MANIFEST], False)


def _clear(out: Path) -> None:
    """Remove a bundle: its manifest first, so that none is left beside tables of another."""
    files = [out / name for name in _there(out).get("files", {}) if Path(name).name == name]
    for path in (out / MANIFEST, *files):
        path.unlink(missing_ok=True)
    shutil.rmtree(out / ANSWERS, ignore_errors=True)


class _Bundle:
    """What is measured, written part by part; the manifest comes last."""

    def __init__(self, run: Run, out: Path, asked: Asked, rows: IntArray, *, progress: Progress) -> None:
        self.run, self.out, self.asked, self.rows, self.progress = run, out, asked, rows, progress
        parameters = {"rows": asked.rows, "precision": asked.precision, "seed": asked.seed, "parts": list(asked.parts)}
        self.stamp: Stamp = stamp_of(run.predictions, "robustness", "", parameters)
        self.values = _there(out)
        self.files: list[Path] = []
        self.found: dict[str, list[str]] = {}

    @property
    def sentences(self) -> list[str]:
        """What was found now, a line each."""
        return [line for lines in self.found.values() for line in lines]

    def corruptions(self, measured: Corruptions) -> None:
        """Accuracy under corruptions, from the answers that are there."""
        answers = measured.answers()
        curves = accuracy_curves(answers, self.run.predictions, self.asked.groups)
        error = mean_corruption_error(answers, self.run.predictions)
        path = self.out / CURVES
        write_atomically(path, lambda target: target.write_bytes(csv_bytes(curves)))
        self.files += [path, *figures.save(figures.corruption_curves(curves), self.out / "corruptions", self.stamp)]
        self.values["corruptions"] = {**error.to_json(), "rows": self.rows.tolist()}
        omitted = sorted(set(self.asked.groups) - set(curves.filter(pl.col("kind") == "group")["group"]))
        self.found["corruptions"] = [
            str(error),
            _lowest(curves),
            *([f"too few of these rows for a curve: {', '.join(omitted)}"] if omitted else []),
        ]

    def rest(self, classifier: Classifier, images: ImageSet) -> None:
        """The parts that run the model on changed images; one that can't be measured leaves a line."""
        changes: tuple[Change, ...] | None = None
        if "fragility" in self.asked.parts:
            try:
                changes = self._fragility(classifier, images) or None
            except DataError as error:
                self.found["fragility"] = [f"omitted {error}"]
        if "consistency" in self.asked.parts:
            progress = functools.partial(self.progress, "consistency")
            averaged = consistency(
                classifier,
                images,
                self.run.predictions,
                self.rows,
                changes=changes,
                precision=self.asked.precision,
                progress=progress,
            )
            drawn = len(self.rows) < len(self.run.predictions)
            self.values["consistency"] = {**averaged.to_json(), "harmless": changes is not None, "sample": drawn}
            self.found["consistency"] = [str(averaged)]

    def _fragility(self, classifier: Classifier, images: ImageSet) -> tuple[Change, ...]:
        found = fragility(
            classifier,
            images,
            self.run.predictions,
            changes=self.asked.changes,
            precision=self.asked.precision,
            seed=self.asked.seed,
            progress=functools.partial(self.progress, "fragility"),
        )
        path = self.out / FRAGILITY
        write_atomically(path, functools.partial(found.table.write_parquet, metadata={NAME: text_of(self.stamp)}))
        self.files.append(path)
        self.values["fragility"] = found.to_json()
        self.found["fragility"] = found.sentences()
        if shown := flips_of(self.run, classifier, images, found):
            self.files += figures.save(figures.flips(shown), self.out / "flips", self.stamp)
        return found.harmless_changes

    def write(self) -> None:
        """The manifest: what is known now, with what was there."""
        sums = {**self.values.get("files", {}), **{path.name: sha256(path) for path in self.files}}
        values = {
            **self.values,
            "run": self.run.name,
            "sentences": {**self.values.get("sentences", {}), **self.found},
            "provenance": self.run.predictions.provenance.to_json(),
            "images": None if self.run.images is None else self.run.images.fingerprint,
            "stamp": self.stamp,
            "files": dict(sorted(sums.items())),
        }
        write_json(self.out / MANIFEST, values)


def _lowest(curves: pl.DataFrame) -> str:
    """The corruption with the lowest mean accuracy over its strengths, and its accuracy at the strongest."""
    whole = curves.filter(pl.col("kind") == "all", pl.col("strength") > 0)
    name = whole.group_by("corruption").agg(pl.col("accuracy").mean()).sort("accuracy", "corruption")["corruption"][0]
    last = whole.filter(pl.col("corruption") == name).sort("strength").row(-1, named=True)
    return (
        f"on these rows mean accuracy over the strengths is lowest under {name}; at strength {last['strength']} it is "
        f"{last['accuracy']:.1%} ({last['low']:.1%} to {last['high']:.1%})"
    )


def flips_of(run: Run, classifier: Classifier, images: ImageSet, found: Fragility) -> list[Flip]:
    """The images that change most readily, each after the smallest change relative to what is harmless."""
    table = found.table.filter(pl.col("smallest_change").is_not_null()).sort("smallest_change").head(SHOWN_FLIPS)
    seen, classes, shown = classifier.seen(images), run.predictions.classes, []
    for values in table.iter_rows(named=True):
        row, name = values["index"], values["smallest_change_kind"]
        change = found.change(row, name)
        if change is None:
            continue
        words = KINDS[name].words(values[f"{name}_strength"], values[f"{name}_variant"])
        image = seen.image(row)
        label = classes[int(run.predictions.label[run.predictions.position(row)])]
        answer, flipped = classes[values["answer"]], classes[values[f"{name}_answer"]]
        shown.append(Flip(image, apply(image, change), row, label, answer, flipped, words))
    return shown
