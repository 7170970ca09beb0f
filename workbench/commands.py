"""What the commands of ``python -m workbench`` do, each a thin layer over the library."""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError, WorkbenchError

if TYPE_CHECKING:
    from workbench.classifier import Classifier
    from workbench.predictions import Predictions
    from workbench.records import ImageSet
    from workbench.run import Run


def predict(options: argparse.Namespace) -> int:
    """Write a model's predictions on a split."""
    import polars as pl
    from tqdm import tqdm

    from workbench import predict, remote, source, store

    rank, world = predict.rank_and_world()
    classifier = _classifier(options)
    if classifier is None:
        raise _bad("predict", "--checkpoint DIR or --model MODULE:FUNCTION", "neither")
    images = source.load_images(options.data, options.split)
    rows = predict.share(len(images), rank, world)
    bar = tqdm(total=len(rows), unit="image", disable=None if rank == 0 else True)
    mine = None if options.force else store.shard_name(rank, world)
    with bar, remote.staged(options.out, mine) as out:
        shard = predict.predict_into(
            classifier,
            images,
            out,
            rank=rank,
            world=world,
            precision=options.precision,
            skip=options.skip_unreadable,
            force=options.force,
            progress=lambda done, _: bar.update(done - bar.n),
        )
        counted = pl.scan_parquet(shard).select(wrong=(pl.col("label") != pl.col("predicted")).sum(), rows=pl.len())
        wrong, count = counted.collect().row(0)
    if left_out := len(rows) - count:
        print(f"{left_out:,} images can't be read and are left out; a file beside the predictions names them")
    right = f"{1 - wrong / count:.2%} of {count:,} {options.split} images right, {wrong:,} wrong"
    print(f"{right}; written to {options.out}")
    return 0


def _classifier(options: argparse.Namespace) -> Classifier | None:
    """The classifier of ``--checkpoint``, or the one that the user's own code gives; None if neither is named."""
    from workbench import source

    if options.model is None:
        return None if options.checkpoint is None else source.load_classifier(options.checkpoint)
    from workbench.classifier import Classifier

    name, _, function = options.model.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        build = getattr(importlib.import_module(name), function)
    except (ImportError, AttributeError) as error:
        raise _bad("--model", "MODULE:FUNCTION, importable from here", f"{options.model} ({error})") from error
    made = build()
    if not isinstance(made, Classifier):
        raise _bad("--model", "a function that returns a workbench.Classifier", type(made).__name__)
    return made


def report(options: argparse.Namespace) -> int:
    """Write a bundle of figures and tables."""
    run, lines = _write_report(options)
    for line in (*run.notes, *lines):
        print(line)
    print(f"written to {options.out}")
    return 0


def _write_report(options: argparse.Namespace, only: str | None = None) -> tuple[Run, list[str]]:
    """Write the bundle, or the file ``only`` of it; the run, and a line for each thing left out."""
    from workbench import export, store
    from workbench.analysis.votes import read_votes
    from workbench.run import Run, images_of, open_predictions, with_votes

    classes = None if options.classes is None else [name.strip() for name in options.classes.split(",")]
    columns = dict(_pair("--column", text) for text in options.column)
    groups = {name: members.split(",") for name, members in (_pair("--group", text) for text in options.group)}
    run = open_predictions(
        options.predictions,
        options.checkpoint,
        options.data,
        classifier=_classifier(options) if options.model else None,
        classes=classes,
        columns=columns,
    )

    def read(path: Path) -> Predictions:
        if path.is_dir():
            return store.read(path)
        return store.read(path, classes=run.predictions.classes, columns=columns)

    train = None if options.train is None else read(options.train)
    votes = None if options.votes is None else read_votes(options.votes)
    compared = None if options.compare is None else read(options.compare)
    documents: dict[str, Callable[[], str]] = {}
    missing: list[str] = []
    if options.html:
        shown = run if votes is None else with_votes(run, votes)
        second = None if compared is None else Run(options.compare.name, compared)
        documents["explorer.html"] = lambda: _page(shown, second, options.limit_mb, missing)
    left_out = export.report(
        run,
        options.out,
        checkpoint=options.checkpoint,
        compared=compared,
        seeds=[read(path) for path in options.other_seed],
        groups=groups,
        votes=votes,
        train=train,
        train_images=None if train is None else images_of(train, options.data),
        documents=documents,
        command=_told(options),
        only=only,
        force=options.force,
    )
    return run, [f"left out {line}" for line in [*left_out, *missing]]


PLACES = ("predictions", "checkpoint", "data", "compare", "votes", "train")


def _told(options: argparse.Namespace) -> list[str]:
    """The report's options as a command, paths relative to its folder, so that a bundle names no machine's folders."""
    words = ["report"]
    for name in (*PLACES, "classes", "limit_mb"):
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", _relative(value, options.out) if name in PLACES else str(value)]
    for name in ("other_seed", "group", "column"):
        for value in getattr(options, name):
            told = _relative(value, options.out) if name == "other_seed" else value
            words += [f"--{name.replace('_', '-')}", told]
    return words + (["--html"] if options.html else [])


def _relative(place: Path | str, folder: Path) -> str:
    """A path as seen from a folder; what is no path, such as digits, as it is."""
    return os.path.relpath(place, folder) if Path(place).exists() else str(place)


def verify(options: argparse.Namespace) -> int:
    """Make a file again and say whether it is the same; 1 if it is not."""
    from workbench import verify
    from workbench.run import open_predictions

    beside = options.file.parent
    manifest = beside / "manifest.json"
    told: argparse.Namespace | None = None
    if options.predictions is None and options.checkpoint is None and manifest.is_file():
        told = _parsed([*_resolved(verify.command_of(options.file), beside), "--out", str(beside)])

    def open_run() -> Run:
        of = told or options
        shard = verify.is_predictions(options.file)
        predictions = beside if shard and of.predictions is None else of.predictions
        checkpoint = beside.parent if shard and of.checkpoint is None and of.model is None else of.checkpoint
        classes = None if told is None or told.classes is None else [n.strip() for n in told.classes.split(",")]
        columns = {} if told is None else dict(_pair("--column", text) for text in told.column)
        model = _classifier(options) if options.model else None
        return open_predictions(predictions, checkpoint, of.data, classifier=model, classes=classes, columns=columns)

    def again(command: Sequence[str], folder: Path, only: str) -> None:
        made = _parsed([*_resolved(command, beside), "--out", str(folder)])
        for name in ("predictions", "checkpoint", "model", "data"):
            if getattr(options, name) is not None:
                setattr(made, name, getattr(options, name))
        _write_report(made, only)

    found = verify.verify(options.file, open_run, again)
    for line in found:
        print(line)
    print(f"{'different' if found else 'same'}: {options.file}")
    return 1 if found else 0


def _parsed(command: Sequence[str]) -> argparse.Namespace:
    """The options of a command that a manifest tells."""
    from workbench.__main__ import parser

    if named := [word for word in command if "://" in word]:
        raise DataError(
            f"the manifest names {named[0]}, and no network is asked because a file says so: name it yourself"
        )
    found = parser().parse_args(list(command))
    found.model = None  # code is run where the user names it, never because a manifest does
    return found


def _resolved(command: Sequence[str], folder: Path) -> list[str]:
    """A report's command with its paths, which are relative to its folder, as seen from here."""
    places = {f"--{name.replace('_', '-')}" for name in (*PLACES, "other_seed")}
    found = list(command)
    for k, word in enumerate(found[:-1]):
        if word in places and (folder / found[k + 1]).exists():
            found[k + 1] = str(folder / found[k + 1])
    return found


def _page(run: Run, compared: Run | None, limit_mb: float, missing: list[str]) -> str:
    """The stand-alone page, with a progress bar for its maps; what it leaves out is added to ``missing``."""
    from tqdm import tqdm

    from workbench import page
    from workbench.state import ExplorerState

    if limit_mb <= 0:
        raise _bad("--limit-mb", "a size above 0", limit_mb)
    with tqdm(unit="image", desc="maps", disable=None) as bar:
        text, left_out = page.page(
            ExplorerState(run, compared=compared), limit_mb=limit_mb, progress=functools.partial(_advance, bar)
        )
    missing += left_out
    return text


def _pair(option: str, text: str) -> tuple[str, str]:

    name, equals, value = text.partition("=")
    if not equals or not value:
        raise DataError(f"{option}: expected NAME=VALUE, such as label=y_true or vehicle=car,truck, not {text!r}")
    return name, value


def attribute(options: argparse.Namespace) -> int:
    """Compute maps of many rows and keep them."""
    from tqdm import tqdm

    from workbench import predict
    from workbench.attribution.cache import MapCache
    from workbench.attribution.cost import expected_cost
    from workbench.attribution.exact import pooled_head
    from workbench.attribution.precompute import Request, maps_of
    from workbench.attribution.registry import method_of

    if options.limit_gb <= 0:
        raise _bad("--limit-gb", "a size above 0", options.limit_gb)
    rank, world = predict.rank_and_world()
    run, classifier, images = _complete(options)
    predictions = run.predictions
    rows = predictions.index if options.rows == "all" else predictions.index[~predictions.correct]
    if (folder := options.cache or (run.folder and run.folder / "maps")) is None:
        raise _bad("--cache", "a folder, as the predictions are not on this machine", "none")
    cache = MapCache(folder, round(options.limit_gb * 2**30))
    for method in [method_of(name.strip()) for name in options.methods.split(",")]:
        layer = options.layer if method.input is None else ""
        if rank == 0:
            layers = list(classifier.cam_layers)
            short = method.name == "Grad-CAM" and pooled_head(classifier) is not None and layer in ("", *layers[-1:])
            each = len(classifier.classes) if options.targets == "all" and not short else 1
            print(f"{method.name}: {expected_cost(classifier, method, len(rows) * each // world, layer)}")
        request = Request(method.name, options.targets, layer, options.precision)
        with tqdm(total=len(rows), unit="image", desc=method.name, disable=None if rank == 0 else True) as bar:
            parts = maps_of(
                classifier,
                images,
                predictions,
                rows,
                request,
                cache,
                rank=rank,
                world=world,
                progress=functools.partial(_advance, bar),
            )
            count = sum(len(part.rows) for part in parts)
        print(f"{count:,} maps of {method.name}; {cache.folder} holds {cache.size() / 1e6:,.0f} MB of maps")
    if cache.size() > 0.9 * cache.limit_bytes:
        print(f"the cache is near its limit of {options.limit_gb:g} GB, at which the longest unread maps are dropped")
    return 0


def _advance(bar: Any, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def evidence(options: argparse.Namespace) -> int:
    """Put methods to the test and rank them."""
    from tqdm import tqdm

    from workbench import evidence, maps
    from workbench.attribution.registry import METHODS, method_of

    if options.rows < 0:
        raise _bad("--rows", "0 for all, or a number of images", options.rows)
    run, _, _ = _complete(options)
    names = (
        list(METHODS) if options.methods is None else [method_of(n.strip()).name for n in options.methods.split(",")]
    )
    rows = maps.sample_errors(run, options.rows or run.predictions.error_count)
    with tqdm(total=len(names), unit="method", disable=None) as bar:

        def progress(name: str) -> None:
            bar.set_description(name)
            bar.update()

        refused = evidence.write_evidence(
            run,
            options.out,
            rows,
            names,
            targets=options.targets,
            precision=options.precision,
            force=options.force,
            progress=progress,
        )
    for line in refused:
        print(f"left out {line}")
    print(f"written to {options.out}")
    return 0


def _complete(options: argparse.Namespace) -> tuple[Run, Classifier, ImageSet]:
    """The run with its model and images; both are needed."""
    from workbench.run import open_predictions

    model = _classifier(options) if options.model else None
    checkpoint = None if model else options.checkpoint or Path(options.predictions).parent
    run = open_predictions(options.predictions, checkpoint, options.data, classifier=model)
    if run.images is None or run.classifier is None:
        raise DataError("maps need the images: " + " ".join(run.notes))
    return run, run.classifier, run.images


def _bad(option: str, expected: str, got: object) -> WorkbenchError:

    return DataError(f"{option}: expected {expected}, not {got}")


def card(options: argparse.Namespace) -> int:
    """Write a checkpoint's model card."""
    from workbench import card
    from workbench.run import open_run

    run = open_run(options.checkpoint, options.data)
    words = {name: getattr(options, name) for name in ("hardware", "pixels", "note")}
    card.write_card(run, options.checkpoint, **words, force=options.force)
    print(f"written to {options.checkpoint / card.CARD}")
    return 0
