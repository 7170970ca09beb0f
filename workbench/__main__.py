"""The command line: ``python -m workbench predict | report | attribute | evidence | verify | card``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.errors import WorkbenchError


def place(text: str) -> Path | str:
    """A path, or a URL as it is."""
    return text if "://" in text else Path(text)


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m workbench", description="See what an image classifier gets wrong.")
    commands = top.add_subparsers(dest="command", required=True)
    one = commands.add_parser("predict", help="write a checkpoint's predictions on a split")
    _add_model(one, "folder with model.safetensors and model.json")
    one.add_argument("--split", default="test", help="of the data, such as train, test or val; default: test")
    one.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the model's products; bfloat16 is faster on processors that have it, and less exact",
    )
    one.add_argument("--skip-unreadable", action="store_true", help="leave out images that can't be read; name them")
    one.add_argument("--out", required=True, help="folder for predictions.parquet and provenance.json, or a URL")
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run="predict")
    two = commands.add_parser("report", help="write figures and tables of a run's errors")
    two.add_argument(
        "--predictions",
        type=place,
        help="what predict wrote (a folder or URL), or a .parquet, .csv or .npz; default: those of --checkpoint",
    )
    _add_model(two, "folder with the model, for Grad-CAM and the training curves")
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
    two.set_defaults(run="report")
    _add_attribute(commands.add_parser("attribute", help="compute maps of many rows once and keep them"))
    _add_evidence(commands.add_parser("evidence", help="put attribution methods to the test and rank them"))
    three = commands.add_parser("card", help="write a checkpoint's MODEL_CARD.md from its predictions")
    three.add_argument("--checkpoint", type=Path, required=True, help="folder with the model and its predictions")
    three.add_argument("--hardware", required=True, help="what it was trained on, in words")
    three.add_argument("--pixels", required=True, help="encoding of the images, in words")
    three.add_argument("--note", default="", help="what else a reader should know of how it came about, in words")
    three.add_argument("--data", help=DATA)
    three.add_argument("--force", action="store_true", help="replace the card that is there")
    three.set_defaults(run="card")
    four = commands.add_parser("verify", help="make a figure, table, page or predictions again; say same or different")
    four.add_argument("file", type=Path, help="what predict, report or the explorer wrote")
    four.add_argument("--predictions", type=Path, help="what it was made of; default: as its manifest says")
    _add_model(four, "folder with the model; default: as its manifest says")
    four.set_defaults(run="verify")
    return top


DATA = "folder or table with the images, or digits; default: CIFAR10_ROOT, else ./data"


def _add_model(one: argparse.ArgumentParser, checkpoint: str) -> None:
    one.add_argument("--checkpoint", type=Path, help=checkpoint)
    one.add_argument("--model", metavar="MODULE:FUNCTION", help="your own code that returns a Classifier, in its place")
    one.add_argument("--data", help=DATA)


def _add_common(one: argparse.ArgumentParser, targets: str) -> None:
    one.add_argument("--predictions", type=place, required=True, help="what predict wrote")
    _add_model(one, "folder with the model; default: the one that holds --predictions")
    one.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the model's products")
    one.add_argument("--targets", default="predicted", metavar="WHAT", help=f"predicted, true, contrast, {targets}")


def _add_attribute(one: argparse.ArgumentParser) -> None:
    _add_common(one, "all or a class's name")
    one.add_argument("--methods", default="Grad-CAM", help="names separated by commas, such as grad-cam,saliency")
    one.add_argument("--rows", choices=("errors", "all"), default="errors")
    one.add_argument("--layer", default="", help="of class activation maps; default: the last")
    one.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder for the maps; default: explorer/maps beside the predictions"
    )
    one.add_argument("--limit-gb", type=float, default=2.0, help="size of the cache; what is unread longest goes first")
    one.set_defaults(run="attribute")


def _add_evidence(one: argparse.ArgumentParser) -> None:
    _add_common(one, "or a class's name")
    one.add_argument("--methods", help="names separated by commas; default: all")
    one.add_argument("--rows", type=int, default=100, metavar="N", help="how many errors, drawn at random; 0 for all")
    one.add_argument("--out", type=Path, required=True, help="folder for tables and figures")
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run="evidence")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 on success, 2 on bad input with one line on standard error."""
    options = parser().parse_args(argv)
    from workbench import commands  # only now: --help needs none of it

    command: Callable[[argparse.Namespace], int] = getattr(commands, options.run)
    try:
        return command(options)
    except WorkbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
