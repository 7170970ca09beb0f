"""The commands, each a thin layer over the library; heavy imports wait until a command runs."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from workbench.cli.inputs import bad_option, classifier_named, complete_run, execution_of, run_with_model, value_range

if TYPE_CHECKING:
    from workbench.attribution.method import Method
    from workbench.models.classifier import Classifier


def predict(options: argparse.Namespace) -> int:
    """Write a model's predictions on a split."""
    import polars as pl
    from tqdm import tqdm

    from workbench import store
    from workbench.images.reading import Reading
    from workbench.models import sharding
    from workbench.models.match import match_classes
    from workbench.runs import parts, training
    from workbench.store import remote

    rank, world = sharding.rank_and_world()
    classifier = classifier_named(options.checkpoint, options.model)
    if classifier is None:
        raise bad_option("predict", "--checkpoint DIR or --model MODULE:FUNCTION", "neither")
    classifier, precision = execution_of(classifier, options)
    reading = Reading(options.orient, value_range(options.range), options.follow_links)
    images = match_classes(training.load_images(options.data, options.split, reading), classifier.classes)
    if rank == 0:
        trained = images.split != "train" and parts.trained_on(classifier, images)
        notes = (*images.notes, *((parts.TRAINED_ON,) if trained else ()))
        print(*notes, sep="\n", end="\n" if notes else "")
    rows = sharding.share(len(images), rank, world)
    bar = tqdm(total=len(rows), unit="image", disable=None if rank == 0 else True)
    mine = None if options.force else store.shard_name(rank, world)
    with bar, remote.stage(options.out, mine) as out:
        shard = sharding.predict_into(
            classifier,
            images,
            out,
            rank=rank,
            world=world,
            precision=precision,
            skip=options.skip_unreadable,
            force=options.force,
            memory_gb=options.memory_gb,
            progress=functools.partial(advance, bar),
        )
        counted = pl.scan_parquet(shard, glob=False).select(
            wrong=(pl.col("label") != pl.col("predicted")).sum(), rows=pl.len()
        )
        wrong, count = counted.collect().row(0)
    if omitted := len(rows) - count:
        print(f"{omitted:,} images can't be read and are omitted; a file beside the predictions names them")
    correct = f"{1 - wrong / count:.2%} of {count:,} {images.split} images correct, {wrong:,} misclassified"
    print(f"{correct}; written to {options.out}")
    return 0


def attribute(options: argparse.Namespace) -> int:
    """Compute maps of many rows and cache them."""
    from tqdm import tqdm

    from workbench.attribution.cache import MapCache
    from workbench.attribution.precompute import Request, maps_of
    from workbench.attribution.registry import method_of
    from workbench.models import sharding

    if options.limit_gb <= 0:
        raise bad_option("--limit-gb", "a size above 0", options.limit_gb)
    rank, world = sharding.rank_and_world()
    run, classifier, images, precision = complete_run(options)
    predictions = run.predictions
    rows = predictions.index if options.rows == "all" else predictions.index[~predictions.correct]
    if (folder := options.cache or (run.folder and run.folder / "maps")) is None:
        raise bad_option("--cache", "a folder, as the predictions are not on this machine", "none")
    cache = MapCache(folder, round(options.limit_gb * 2**30))
    for method in [method_of(name.strip()) for name in options.methods.split(",")]:
        layer = options.layer if method.at_layer else ""
        if rank == 0:
            print(f"{method.name}: {_cost(classifier, method, layer, options.targets, len(rows) // world)}")
        request = Request(method.name, options.targets, layer, precision)
        with tqdm(total=len(rows), unit="image", desc=method.name, disable=None if rank == 0 else True) as bar:
            progress = functools.partial(advance, bar)
            parts = maps_of(
                classifier, images, predictions, rows, request, cache, rank=rank, world=world, progress=progress
            )
            count = sum(len(part.rows) for part in parts)
        print(f"{count:,} maps of {method.name}; {cache.folder} holds {cache.size() / 1e6:,.0f} MB of maps")
    if cache.size() > 0.9 * cache.limit_bytes:
        print(f"the cache is near its limit of {options.limit_gb:g} GB: the least recently read maps are deleted first")
    return 0


def _cost(classifier: Classifier, method: Method, layer: str, targets: str, rows: int) -> str:
    """What the maps of ``rows`` images will cost; every class counts unless one pass gives the maps of all."""
    from workbench.attribution.cost import expected_cost
    from workbench.attribution.exact import gives_all_classes

    at_once = gives_all_classes(classifier, method.name, layer)
    each = len(classifier.classes) if targets == "all" and not at_once else 1
    return str(expected_cost(classifier, method, rows * each, layer))


def advance(bar: Any, done: int, total: int) -> None:
    """Advance a progress bar to ``done`` of ``total``."""
    bar.total = total
    bar.update(done - bar.n)


def evidence(options: argparse.Namespace) -> int:
    """Evaluate methods and rank them."""
    from tqdm import tqdm

    from workbench.analysis.index import sample_errors
    from workbench.attribution.cache import MapCache
    from workbench.attribution.registry import method_of, methods
    from workbench.reports.trials import write_evidence

    if options.rows < 0:
        raise bad_option("--rows", "0 for all, or a number of images", options.rows)
    run, _, _, precision = complete_run(options)
    wanted = list(methods()) if options.methods is None else options.methods.split(",")
    names = [method_of(name.strip()).name for name in wanted]
    rows = sample_errors(run.predictions, options.rows or run.predictions.error_count)
    folder = options.cache or (run.folder and run.folder / "maps")
    with tqdm(total=len(names), unit="method", disable=None) as bar:

        def progress(name: str) -> None:
            bar.set_description(name)
            bar.update(name in names)

        refused = write_evidence(
            run,
            options.out,
            rows,
            names,
            targets=options.targets,
            precision=precision,
            cache=None if folder is None else MapCache(folder),
            force=options.force,
            progress=progress,
        )
    for line in refused:
        print(f"omitted {line}")
    print(f"written to {options.out}")
    return 0


def robustness(options: argparse.Namespace) -> int:
    """Measure how the answers change with the image."""
    from tqdm import tqdm

    from workbench.findings.find import find
    from workbench.findings.registry import KINDS
    from workbench.models import sharding
    from workbench.reports.robustness import Asked, write_robustness
    from workbench.robustness.corruptions import CORRUPTIONS

    rank, world = sharding.rank_and_world()
    run, _, _, precision = complete_run(options)
    # rows that were chosen by their answers, as errors, can only get better
    groups = {one.subject: one.rows for one in find(run) if KINDS[one.kind].groups} if options.by_finding else {}
    asked = Asked(
        parts=names_in(options.parts),
        rows=options.rows,
        corruptions=tuple(CORRUPTIONS) if options.corruptions is None else names_in(options.corruptions),
        changes=names_in(options.changes),
        groups=groups,
        precision=precision,
        seed=options.seed,
    )
    shown = ""
    with tqdm(unit="part", disable=None if rank == 0 else True) as bar:

        def progress(part: str, done: int, total: int) -> None:
            nonlocal shown
            if part != shown:
                shown = part
                bar.reset(total)
                bar.set_description(part)
            advance(bar, done, total)

        found = write_robustness(
            run, options.out, asked, rank=rank, world=world, force=options.force, progress=progress
        )
    print(*found, f"written to {options.out}", sep="\n")
    return 0


def forecast(options: argparse.Namespace) -> int:
    """Forecast what repairs would bring."""
    from tqdm import tqdm

    from workbench import store
    from workbench.analysis.forecasts import MANIFEST
    from workbench.core.files import refuse_to_overwrite
    from workbench.findings.find import find
    from workbench.reports.forecasts import write_forecasts
    from workbench.reports.repairs import Repairs
    from workbench.runs.opening import with_train
    from workbench.runs.run import with_robustness
    from workbench.runs.seeds import seeds_beside

    refuse_to_overwrite([options.out / MANIFEST], options.force)
    run, precision = run_with_model(options, computes=bool(options.augment))
    if options.train is not None:
        run = with_train(run, options.train, options.data)
    if options.robustness is not None:
        run = with_robustness(run, options.robustness)
    asked = Repairs(
        fixes=options.fixes,
        collect=None if options.collect is None else names_in(options.collect),
        weight=options.weight,
        factor=options.factor,
        augment=names_in(options.augment),
        seeds=[store.read(path) for path in options.other_seed] or seeds_beside(run),
        validation=None if options.validation is None else store.read(options.validation),
        after=None if options.after is None else store.read(options.after),
        data=options.data,
        precision=precision,
        seed=options.seed,
    )
    if options.by_finding:
        groups = {one.where: one.subject for one in find(run) if one.where}
        asked = dataclasses.replace(asked, slices=[(name, where) for where, name in groups.items()])
    with tqdm(unit="action", disable=None) as bar:

        def progress(name: str) -> None:
            bar.set_description(name)
            bar.update()

        found = write_forecasts(run, options.out, asked, force=options.force, progress=progress)
    print(*found, f"written to {options.out}", sep="\n")
    return 0


def names_in(text: str) -> tuple[str, ...]:
    """The names that a text lists, separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def ood(options: argparse.Namespace) -> int:
    """Score how far new images are from those that a model knows."""
    from workbench.core.files import refuse_to_overwrite, write_atomically, write_json
    from workbench.core.texts import csv_bytes
    from workbench.runs.ood import out_of_distribution
    from workbench.runs.opening import open_predictions, with_train

    table, values = options.out / "ood.csv", options.out / "ood.json"
    refuse_to_overwrite([table, values], options.force)
    model = classifier_named(None, options.model) if options.model else None
    run = open_predictions(options.predictions, options.checkpoint, options.data, classifier=model)
    if options.train is not None:
        run = with_train(run, options.train)
    found = out_of_distribution(run, options.images)
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomically(table, lambda path: path.write_bytes(csv_bytes(found.table)))
    write_json(values, found.to_json())
    print(found, f"written to {options.out}", sep="\n")
    return 0


def card(options: argparse.Namespace) -> int:
    """Write a checkpoint's model card."""
    from workbench.reports import card
    from workbench.runs.opening import open_run

    run = open_run(options.checkpoint, options.data)
    words = {name: getattr(options, name) for name in ("hardware", "pixels", "note")}
    card.write_card(run, options.checkpoint, **words, force=options.force)
    print(f"written to {options.checkpoint / card.CARD}")
    return 0
