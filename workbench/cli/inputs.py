"""What the arguments of a command name: a model, a run, names and their values."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError, WorkbenchError

if TYPE_CHECKING:
    from workbench.core.records import ImageSet, Precision
    from workbench.models.classifier import Classifier
    from workbench.runs.run import Run

DATA = "folder or table with the images, or digits; default: CIFAR10_ROOT, else ./data"


def place(text: str) -> Path | str:
    """A path, or a URL unchanged."""
    return text if "://" in text else Path(text)


def bad_option(option: str, expected: str, got: object) -> WorkbenchError:
    """The error of an option with a value that it does not take."""
    return DataError(f"{option}: expected {expected}, not {got}")


def pair(option: str, text: str) -> tuple[str, str]:
    """``NAME=VALUE`` as two strings; `DataError` if it is not such a pair."""
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise bad_option(option, "NAME=VALUE, such as label=y_true or vehicle=car,truck", repr(text))
    return name, value


def value_range(text: str) -> Any:
    """``depth``, ``full`` or ``data`` as it is, and ``LOW,HIGH`` as two numbers; for `images.reading.Reading`."""
    low, comma, high = text.partition(",")
    if not comma:
        return text
    try:
        return float(low), float(high)
    except ValueError as error:
        raise bad_option("--range", "depth, full, data or LOW,HIGH, such as -1000,2000", repr(text)) from error


def classifier_named(checkpoint: Path | None, model: str | None) -> Classifier | None:
    """The classifier of ``--checkpoint``, or the one that the user's own function returns; None if neither is named."""
    if model is None:
        from workbench.runs import training

        return None if checkpoint is None else training.load_classifier(checkpoint)
    from workbench.models.classifier import Classifier

    name, _, function = model.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        build = getattr(importlib.import_module(name), function)
    except (ImportError, AttributeError) as error:
        raise bad_option("--model", "MODULE:FUNCTION, importable from here", f"{model} ({error})") from error
    made = build()
    if not isinstance(made, Classifier):
        raise bad_option("--model", "a function that returns a workbench.Classifier", type(made).__name__)
    return made


def execution_of(classifier: Classifier, options: argparse.Namespace) -> tuple[Classifier, Precision]:
    """The classifier on ``--device``, and the precision that ``--precision`` asks for or that is measured to be faster.

    Raises
    ------
    DataError
        If there is no such device, or several processes would measure, each by itself.
    """
    from workbench.models import sharding
    from workbench.models.execution import on_device
    from workbench.runs import training

    _, world = sharding.rank_and_world()
    if options.precision == "auto" and world > 1:
        raise bad_option("--precision", f"float32 or bfloat16 for all {world} processes", "auto, which each measures")
    classifier, precision = training.fastest_execution(on_device(classifier, options.device), options.precision)
    if options.precision == "auto":
        layout = "channels_last" if classifier.channels_last else "contiguous"
        print(f"{precision} products and {layout} images, measured to be fastest on this machine")
    return classifier, precision


def complete_run(options: argparse.Namespace) -> tuple[Run, Classifier, ImageSet, Precision]:
    """The run of ``--predictions`` with its model and images, which are needed, and how the model is executed.

    With ``--references`` the model has them.
    """
    from workbench.runs.opening import open_predictions

    model = classifier_named(None, options.model) if options.model else None
    checkpoint = None if model else options.checkpoint or Path(options.predictions).parent
    run = open_predictions(options.predictions, checkpoint, options.data, classifier=model)
    if run.images is None or run.classifier is None:
        raise DataError("the images and the model are needed: " + " ".join(run.notes))
    classifier, images = run.classifier, run.images
    if options.references is not None:
        from workbench.models.references import with_references
        from workbench.runs.training import load_images

        classifier = with_references(classifier, load_images(options.references, "train"))
    classifier, precision = execution_of(classifier, options)
    return dataclasses.replace(run, classifier=classifier), classifier, images, precision


def run_with_model(options: argparse.Namespace, *, computes: bool) -> tuple[Run, Precision]:
    """The run of ``--predictions``, with the model that is named or lies beside them, if any, and its precision.

    Unless it ``computes``, the model stays where it is and nothing is measured.
    """
    from workbench.runs.opening import open_predictions

    model = classifier_named(None, options.model) if options.model else None
    beside = Path(options.predictions).parent
    checkpoint = options.checkpoint or (beside if model is None and (beside / "model.json").is_file() else None)
    run = open_predictions(options.predictions, checkpoint, options.data, classifier=model)
    run = dataclasses.replace(run, checkpoint=checkpoint or run.checkpoint)
    if run.classifier is None or not computes:
        return run, "float32"
    classifier, precision = execution_of(run.classifier, options)
    return dataclasses.replace(run, classifier=classifier), precision
