"""The argument parser of ``python -m workbench``: each command with its options and the function that runs it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from workbench.cli import commands, reporting
from workbench.cli.inputs import DATA, place
from workbench.cli.options import ReportOptions
from workbench.errors import WorkbenchError

_METHODS = "names separated by commas, with settings after colons, such as grad-cam,integrated-gradients:steps=128"


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="workbench", description="Find and explain the errors of an image classifier.")
    added = top.add_subparsers(dest="command", required=True)
    _predict(added.add_parser("predict", help="write a checkpoint's predictions on a split"))
    _report(added.add_parser("report", help="write figures and tables of a run's errors"))
    _findings(added.add_parser("findings", help="write what a model gets wrong and why, each with its proof"))
    _ood(added.add_parser("ood", help="score how far new images are from those that a model knows"))
    _attribute(added.add_parser("attribute", help="compute attribution maps of many rows once and cache them"))
    _evidence(added.add_parser("evidence", help="evaluate attribution methods and rank them"))
    _robustness(added.add_parser("robustness", help="measure how the answers change with the image"))
    _forecast(added.add_parser("forecast", help="forecast what repairs would bring, before anything is trained"))
    _card(added.add_parser("card", help="write a checkpoint's MODEL_CARD.md from its predictions"))
    _verify(
        added.add_parser("verify", help="regenerate a figure, table, page or predictions; report same or different")
    )
    return top


def _model(one: argparse.ArgumentParser, checkpoint: str) -> None:
    one.add_argument("--checkpoint", type=Path, help=checkpoint)
    one.add_argument("--model", metavar="MODULE:FUNCTION", help="your function that returns a Classifier, in its place")
    one.add_argument("--data", help=DATA)


def _execution(one: argparse.ArgumentParser) -> None:
    one.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; default: a GPU if there is one")
    one.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "auto"),
        default="float32",
        help="precision of the matrix products; bfloat16 is faster on hardware that supports it, but less exact; "
        "auto tries both for a second or two and takes the faster",
    )


def _predict(one: argparse.ArgumentParser) -> None:
    _model(one, "folder with model.safetensors and model.json")
    one.add_argument(
        "--split", help="split of the data, such as train, test or val, by any usual name; default: test, else val"
    )
    one.add_argument("--orient", action="store_true", help="turn images by their EXIF orientation; default: as stored")
    one.add_argument(
        "--range",
        default="depth",
        metavar="depth|full|data|LOW,HIGH",
        help="which values of more than 8 bits are black and white; default: depth, by the bits that the images hold",
    )
    one.add_argument("--follow-links", action="store_true", help="follow links that lead out of the data's folder")
    one.add_argument(
        "--memory-gb", type=float, help="what a batch may use; default: a quarter of what is free, at most 1"
    )
    _execution(one)
    one.add_argument("--skip-unreadable", action="store_true", help="omit images that can't be read, and list them")
    one.add_argument("--out", required=True, help="folder for predictions.parquet and provenance.json, or a URL")
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run=commands.predict)


def _report(one: argparse.ArgumentParser) -> None:
    ReportOptions.add_to(one)
    one.add_argument("--model", metavar="MODULE:FUNCTION", help="your function that returns a Classifier")
    one.add_argument("--out", type=Path, required=True, help="folder for the bundle")
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run=reporting.report)


def _findings(one: argparse.ArgumentParser) -> None:
    ReportOptions.add_to(one, omit=("compare", "html", "limit_mb", "group"))
    one.add_argument("--model", metavar="MODULE:FUNCTION", help="your function that returns a Classifier")
    one.add_argument("--out", type=Path, required=True, help="folder for findings.json, .csv and figure")
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run=reporting.findings)


def _ood(one: argparse.ArgumentParser) -> None:
    _model(one, "folder with the model and its predictions")
    one.add_argument("--predictions", type=place, help="the model's predictions; default: those of --checkpoint")
    one.add_argument(
        "--train", type=Path, help="predictions on the train split, for distances to it; default: other rows"
    )
    one.add_argument("--images", type=Path, required=True, help="the new images: a folder of files, or as for --data")
    one.add_argument("--out", type=Path, required=True, help="folder for ood.csv and ood.json")
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run=commands.ood)


def _complete(one: argparse.ArgumentParser) -> None:
    """What commands share that need predictions, images and the model."""
    one.add_argument("--predictions", type=place, required=True, help="predictions that predict wrote")
    _model(one, "folder with the model; default: the one that holds --predictions")
    _execution(one)


def _maps(one: argparse.ArgumentParser, targets: str) -> None:
    """What ``attribute`` and ``evidence`` share."""
    _complete(one)
    one.add_argument(
        "--targets",
        default="predicted",
        metavar="WHAT",
        help=f"class to explain: predicted, true, contrast, {targets}",
    )
    one.add_argument(
        "--references", metavar="DATA", help="data whose train split expected gradients start from; 64 images are drawn"
    )


def _attribute(one: argparse.ArgumentParser) -> None:
    _maps(one, "all or a class's name")
    one.add_argument("--methods", default="Grad-CAM", help=_METHODS)
    one.add_argument("--rows", choices=("errors", "all"), default="errors")
    one.add_argument("--layer", default="", help="layer of class activation maps; default: the last")
    one.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder for the maps; default: explorer/maps in the folder of the predictions",
    )
    one.add_argument(
        "--limit-gb",
        type=float,
        default=2.0,
        help="size limit of the cache in GB; the least recently read maps are deleted first",
    )
    one.set_defaults(run=commands.attribute)


def _evidence(one: argparse.ArgumentParser) -> None:
    _maps(one, "or a class's name")
    one.add_argument("--methods", help=f"{_METHODS}; default: all that apply")
    one.add_argument("--rows", type=int, default=100, metavar="N", help="how many errors, drawn at random; 0 for all")
    one.add_argument("--out", type=Path, required=True, help="folder for tables and figures")
    one.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder for maps and verdicts, to resume from; default: explorer/maps in the folder of the predictions",
    )
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run=commands.evidence)


def _robustness(one: argparse.ArgumentParser) -> None:
    _complete(one)
    one.add_argument(
        "--parts",
        default="corruptions,fragility,consistency",
        help="what is measured, separated by commas; default: all of corruptions,fragility,consistency",
    )
    one.add_argument(
        "--rows", type=int, default=1000, metavar="N", help="how many rows are corrupted, drawn at random; 0 for all"
    )
    one.add_argument("--corruptions", metavar="NAMES", help="separated by commas; default: all 15 of CIFAR-10-C")
    one.add_argument(
        "--changes",
        metavar="NAMES",
        default="flip,shift,rotate,brightness,blur,noise",
        help="kinds of changes for the smallest that flips an answer, separated by commas; "
        "default: flip,shift,rotate,brightness,blur,noise",
    )
    one.add_argument("--by-finding", action="store_true", help="curves for each finding that is a group of images, too")
    one.add_argument("--seed", type=int, default=0, help="of the rows that are drawn, and of the corruptions")
    one.add_argument("--out", type=Path, required=True, help="folder for tables and figures")
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run=commands.robustness, references=None)


def _forecast(one: argparse.ArgumentParser) -> None:
    _complete(one)
    one.add_argument(
        "--train", type=Path, help="predictions on the train split with embeddings; default: those beside the model"
    )
    one.add_argument("--fixes", type=Path, help="decisions on train rows that the explorer exported")
    one.add_argument(
        "--after", type=Path, help="predictions of the repaired model on the same rows, to set beside the forecast"
    )
    one.add_argument(
        "--collect", metavar="CLASSES", help="classes to collect more of; default: the three with most errors"
    )
    one.add_argument(
        "--weight",
        metavar="EXPRESSION",
        action="append",
        default=[],
        help='train rows to weight, such as "camera = \'old\'" or "sharpness < 3"; may be repeated',
    )
    one.add_argument("--by-finding", action="store_true", help="weight the slices that the findings name, too")
    one.add_argument("--factor", type=float, default=2.0, help="how much more such rows would count; default: 2")
    one.add_argument(
        "--augment", metavar="KINDS", default="", help="kinds of changes to train with, such as rotate,blur"
    )
    one.add_argument(
        "--other-seed", type=Path, action="append", default=[], help="predictions of another seed; may be repeated"
    )
    one.add_argument("--validation", type=Path, help="predictions on rows kept aside, to fit a temperature on")
    one.add_argument("--robustness", type=Path, help="what the command robustness wrote, for test-time augmentation")
    one.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    one.add_argument("--out", type=Path, required=True, help="folder for tables and a figure")
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run=commands.forecast)


def _card(one: argparse.ArgumentParser) -> None:
    one.add_argument("--checkpoint", type=Path, required=True, help="folder with the model and its predictions")
    one.add_argument("--hardware", required=True, help="hardware it was trained on, in words")
    one.add_argument("--pixels", required=True, help="encoding of the images, in words")
    one.add_argument("--note", default="", help="what else a reader should know about its origin, in words")
    one.add_argument("--data", help=DATA)
    one.add_argument("--force", action="store_true", help="replace the card that is there")
    one.set_defaults(run=commands.card)


def _verify(one: argparse.ArgumentParser) -> None:
    one.add_argument("file", type=Path, help="file that predict, report or the explorer wrote")
    one.add_argument("--predictions", type=Path, help="its predictions; default: those named in its manifest")
    _model(one, "folder with the model; default: the one named in its manifest")
    one.set_defaults(run=reporting.verify)


@contextmanager
def termination_as_exit() -> Iterator[None]:
    """Let a termination end a command as an exception does, so that half-written files are removed on the way."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns 0 on success; 2 on bad input, with one line on standard error; 130 or 143 if it is interrupted or
    terminated, after what is half-written is removed; 141 if its output is closed.
    """
    options = parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        with termination_as_exit():
            code = run(options)
        sys.stdout.flush()
        return code
    except WorkbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output, such as head, has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to complain about at exit
        return 141
