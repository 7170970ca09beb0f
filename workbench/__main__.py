"""The command line: ``python -m workbench predict | report | attribute | evidence | card``."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.classifier import Classifier
    from workbench.predictions import Predictions
    from workbench.records import ImageSet
    from workbench.run import Run


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m workbench", description="See what an image classifier gets wrong.")
    commands = top.add_subparsers(dest="command", required=True)
    one = commands.add_parser("predict", help="write a checkpoint's predictions on a split")
    one.add_argument("--checkpoint", type=Path, required=True, help="folder with model.safetensors and model.json")
    one.add_argument("--data", help="folder with the images, or digits; default: CIFAR10_ROOT, else ./data")
    one.add_argument("--split", choices=("train", "test"), default="test")
    one.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the model's products; bfloat16 is faster on processors that have it, and less exact",
    )
    one.add_argument("--out", type=Path, required=True, help="folder for predictions.parquet and provenance.json")
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run=_predict)
    two = commands.add_parser("report", help="write figures and tables of a run's errors")
    two.add_argument(
        "--predictions",
        type=Path,
        help="what predict wrote, or a .parquet, .csv or .npz; default: those of --checkpoint",
    )
    two.add_argument("--checkpoint", type=Path, help="folder with the model, for Grad-CAM and the training curves")
    two.add_argument("--data", help="folder with the images, or digits; default: CIFAR10_ROOT, else ./data")
    two.add_argument("--compare", type=Path, help="predictions of a second model on the same rows")
    two.add_argument(
        "--other-seed",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="predictions of the first model's recipe with another seed, to hold --compare against; may be repeated",
    )
    two.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME=CLASS,CLASS",
        help="a group of classes, such as vehicle=car,truck; repeat it until every class is in one",
    )
    two.add_argument("--votes", type=Path, help=".npy of people's answers (rows, classes), counts or shares, by row id")
    two.add_argument("--train", type=Path, help="predictions on the train split, for neighbours and typicality")
    two.add_argument("--classes", help="class names of a foreign file in the order of its columns, separated by commas")
    two.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="what a foreign file calls a column: label, probability, logit, index or embedding; may be repeated",
    )
    two.add_argument("--html", action="store_true", help="add explorer.html: the views in one file without a kernel")
    two.add_argument("--limit-mb", type=float, default=15.0, help="size of explorer.html, in million bytes")
    two.add_argument("--out", type=Path, required=True, help="folder for the bundle")
    two.add_argument("--force", action="store_true", help="replace what is in --out")
    two.set_defaults(run=_report)
    _add_attribute(commands.add_parser("attribute", help="compute maps of many rows once and keep them"))
    _add_evidence(commands.add_parser("evidence", help="put attribution methods to the test and rank them"))
    three = commands.add_parser("card", help="write a checkpoint's MODEL_CARD.md from its predictions")
    three.add_argument("--checkpoint", type=Path, required=True, help="folder with the model and its predictions")
    three.add_argument("--hardware", required=True, help="what it was trained on, in words")
    three.add_argument("--pixels", required=True, help="encoding of the images, in words")
    three.add_argument("--note", default="", help="what else a reader should know of how it came about, in words")
    three.add_argument("--data", help="folder with the images, or digits; default: CIFAR10_ROOT, else ./data")
    three.add_argument("--force", action="store_true", help="replace the card that is there")
    three.set_defaults(run=_card)
    return top


def _add_common(one: argparse.ArgumentParser, targets: str) -> None:
    one.add_argument("--predictions", type=Path, required=True, help="what predict wrote")
    one.add_argument("--checkpoint", type=Path, help="folder with the model; default: the one that holds --predictions")
    one.add_argument("--data", help="folder with the images, or digits; default: CIFAR10_ROOT, else ./data")
    one.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the model's products")
    one.add_argument("--targets", default="predicted", metavar="WHAT", help=f"predicted, true, contrast, {targets}")


def _add_attribute(one: argparse.ArgumentParser) -> None:
    _add_common(one, "all or a class's name")
    one.add_argument("--methods", default="Grad-CAM", help="names separated by commas, such as grad-cam,saliency")
    one.add_argument("--rows", choices=("errors", "all"), default="errors")
    one.add_argument("--layer", default="", help="of class activation maps; default: the last")
    one.add_argument("--cache", type=Path, required=True, metavar="DIR", help="folder for the maps")
    one.add_argument("--limit-gb", type=float, default=2.0, help="size of the cache; what is unread longest goes first")
    one.set_defaults(run=_attribute)


def _add_evidence(one: argparse.ArgumentParser) -> None:
    _add_common(one, "or a class's name")
    one.add_argument("--methods", help="names separated by commas; default: all")
    one.add_argument("--rows", type=int, default=100, metavar="N", help="how many errors, drawn at random; 0 for all")
    one.add_argument("--out", type=Path, required=True, help="folder for tables and figures")
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run=_evidence)


def _predict(options: argparse.Namespace) -> int:
    import polars as pl
    from tqdm import tqdm

    from workbench import predict, source

    rank, world = predict.rank_and_world()
    classifier = source.load_classifier(options.checkpoint)
    images = source.load_images(options.data, options.split)
    rows = predict.share(len(images), rank, world)
    with tqdm(total=len(rows), unit="image", disable=None if rank == 0 else True) as bar:
        shard = predict.predict_into(
            classifier,
            images,
            options.out,
            rank=rank,
            world=world,
            precision=options.precision,
            force=options.force,
            progress=lambda done, _: bar.update(done - bar.n),
        )
    table = pl.scan_parquet(shard).select(wrong=(pl.col("label") != pl.col("predicted")).sum(), rows=pl.len())
    wrong, count = table.collect().row(0)
    print(f"{1 - wrong / count:.2%} of {count:,} {options.split} images right, {wrong:,} wrong; written to {shard}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from workbench import export, store
    from workbench.analysis.votes import read_votes
    from workbench.run import Run, images_of, open_predictions, with_votes

    classes = None if options.classes is None else [name.strip() for name in options.classes.split(",")]
    columns = dict(_pair("--column", text) for text in options.column)
    groups = {name: members.split(",") for name, members in (_pair("--group", text) for text in options.group)}
    run = open_predictions(options.predictions, options.checkpoint, options.data, classes=classes, columns=columns)

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
        force=options.force,
    )
    for line in (*run.notes, *(f"left out {line}" for line in [*left_out, *missing])):
        print(line)
    print(f"written to {options.out}")
    return 0


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
    from workbench.errors import DataError

    name, equals, value = text.partition("=")
    if not equals or not value:
        raise DataError(f"{option}: expected NAME=VALUE, such as label=y_true or vehicle=car,truck, not {text!r}")
    return name, value


def _attribute(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from workbench import predict
    from workbench.attribution.cache import MapCache
    from workbench.attribution.cost import expected_cost
    from workbench.attribution.precompute import Request, maps_of
    from workbench.attribution.registry import method_of

    if options.limit_gb <= 0:
        raise _bad("--limit-gb", "a size above 0", options.limit_gb)
    rank, world = predict.rank_and_world()
    run, classifier, images = _complete(options)
    predictions = run.predictions
    rows = predictions.index if options.rows == "all" else predictions.index[~predictions.correct]
    cache = MapCache(options.cache, round(options.limit_gb * 2**30))
    for method in [method_of(name.strip()) for name in options.methods.split(",")]:
        layer = options.layer if method.input is None else ""
        if rank == 0:
            each = len(classifier.classes) if options.targets == "all" and method.input is not None else 1
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
        print(f"{count:,} maps of {method.name} in {options.cache}")
    return 0


def _advance(bar: Any, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def _evidence(options: argparse.Namespace) -> int:
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
    from workbench.errors import DataError
    from workbench.run import open_predictions

    run = open_predictions(options.predictions, options.checkpoint or options.predictions.parent, options.data)
    if run.images is None or run.classifier is None:
        raise DataError("maps need the images: " + " ".join(run.notes))
    return run, run.classifier, run.images


def _bad(option: str, expected: str, got: object) -> WorkbenchError:
    from workbench.errors import DataError

    return DataError(f"{option}: expected {expected}, not {got}")


def _card(options: argparse.Namespace) -> int:
    from workbench import card
    from workbench.run import open_run

    run = open_run(options.checkpoint, options.data)
    words = {name: getattr(options, name) for name in ("hardware", "pixels", "note")}
    card.write_card(run, options.checkpoint, **words, force=options.force)
    print(f"written to {options.checkpoint / card.CARD}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 on success, 2 on bad input with one line on standard error."""
    options = parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except WorkbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
