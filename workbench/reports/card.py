"""The model card: what a checkpoint is, as measured."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from workbench.analysis.calibration import reliability
from workbench.analysis.classes import class_report
from workbench.analysis.statistics import wilson_interval
from workbench.core.files import refuse_to_overwrite, write_atomically
from workbench.core.predictions import Predictions
from workbench.runs.run import Run
from workbench.runs.seeds import SEEDS, seeds_beside

CARD = "MODEL_CARD.md"


def model_card(run: Run, *, hardware: str, pixels: str, note: str = "") -> str:
    """The card as Markdown; every number comes from the run's predictions and its checkpoint's sidecar.

    ``hardware`` names what it was trained on, ``pixels`` the encoding of the images, ``note`` what else a reader
    should know about its origin.
    """
    if run.classifier is None:
        raise ValueError("a model card needs the run's classifier")
    card, predictions = run.classifier.card, run.predictions
    parts = [
        f"# {run.name}",
        f"{card['architecture']} (width {card['width']}), {card['parameters']:,} parameters, for "
        f"{len(predictions.classes)} classes: {', '.join(predictions.classes)}.",
        _accuracy(predictions),
        "## Training",
        "\n".join([_training(card, hardware, pixels, note), *_seeds(run)]),
        "## Errors by class",
        _classes(predictions),
        "## Limits",
        _limits(card, predictions),
    ]
    return "\n\n".join(parts) + "\n"


def _accuracy(predictions: Predictions) -> str:
    correct, rows = int(predictions.correct.sum()), len(predictions)
    low, high = wilson_interval(correct, rows)
    return (
        f"**{correct / rows:.2%} of {rows:,} test images correct** "
        f"({predictions.error_count:,} misclassified; 95 % Wilson interval {low:.2%} to {high:.2%}), in float32."
    )


def _training(card: Mapping[str, Any], hardware: str, pixels: str, note: str) -> str:
    recipe, data = card["recipe"], card["data"]
    settings = ", ".join(f"{key} {_shortened(value)}" for key, value in recipe.items() if key != "name")
    lines = [
        f"- Data: {data['name']}, {data['train_rows']:,} images to train on and "
        f"{data['validation_rows']:,} for validation; {pixels}.",
        f"- {_evaluations(card)}",
        f"- Command: `{_command(card)}`, seed {card['seed']}.",
        *_origin(card),
        f"- Recipe: {settings}.",
        f"- {card['train_seconds']:,.0f} seconds ({card['train_seconds'] / 3600:.1f} hours) on {hardware}, "
        f"in {card['precision']}.",
        *([f"- {note}"] if note else []),
        f"- Weights SHA-256 `{card['weights_sha256']}`, test images `{data['fingerprint_test']}`.",
    ]
    return "\n".join(lines)


def _command(card: Mapping[str, Any]) -> str:
    """What was typed, but for fields of the recipe, which are listed."""
    recipe = "" if "init" in card else f" --recipe {card['recipe']['name']}"
    options = " --init DIR" * ("init" in card) + " --fixes FILE" * ("fixes" in card)
    return f"python -m training.run{recipe} --data DIR{options} --out DIR"


def _origin(card: Mapping[str, Any]) -> list[str]:
    """The weights that a run started from and the rows that it changed, a line each."""
    lines = []
    if "init" in card:
        lines.append(f"- Started from the weights with SHA-256 `{card['init']['weights_sha256']}`.")
    if "fixes" in card:
        changed = card["fixes"]
        lines.append(
            f"- Of the train rows {changed['dropped']:,} were dropped, {changed['relabelled']:,} relabelled and "
            f"{changed['weighted']:,} weighted, by the file with SHA-256 `{changed['sha256']}`."
        )
    return lines


def _evaluations(card: Mapping[str, Any]) -> str:
    """What was evaluated when, and which weights were kept."""
    measured = card["measured"]
    if "weights" not in measured:  # of an older version
        return "Which weights were kept, and whether the test split was evaluated before the end, is not recorded."
    kept = {"last": "those of the last step", "average": "the running mean of the weights"}[measured["weights"]]
    compared = " and ".join(
        f"{measured[f'validation_{name}']['loss']:.4f} ({what})"
        for name, what in (("last", "last step"), ("average", "running mean"))
        if f"validation_{name}" in measured
    )
    once = "The test split was evaluated once, at the end."
    watched = "The test split was evaluated after each epoch, too (`--watch-test`)."
    return (
        f"The weights are {kept}, chosen by the cross entropy on the validation images: {compared}; accuracy there "
        f"{measured['validation_accuracy']:.2%}. {watched if card['watched_test'] else once}"
    )


def _seeds(run: Run) -> list[str]:
    """Mean and spread over the seeds whose predictions lie beside the checkpoint, as one line; none without them."""
    others = seeds_beside(run)
    if not others:
        return []
    accuracies = np.array([one.accuracy for one in (run.predictions, *others)])
    each = ", ".join(f"{value:.2%}" for value in accuracies)
    return [
        f"- {len(accuracies)} seeds of this recipe: {each}; mean {accuracies.mean():.2%}, standard deviation "
        f"{100 * accuracies.std(ddof=1):.2f} points. The predictions of the others are in `{SEEDS}/`."
    ]


def _classes(predictions: Predictions) -> str:
    report = class_report(predictions)
    rate = report.error_rate
    columns = zip(report.classes, report.errors, report.support, rate.value, rate.low, rate.high, strict=True)
    rows = [
        f"| {name} | {errors} of {support} | {share:.1%} | {low:.1%} to {high:.1%} |"
        for name, errors, support, share, low, high in columns
    ]
    return "\n".join(["| class | errors | error rate | 95 % Wilson interval |", "| --- | --- | --- | --- |", *rows])


def _limits(card: Mapping[str, Any], predictions: Predictions) -> str:
    calibration = reliability(predictions)
    lines = [
        f"- Images of {card['image_size']}×{card['image_size']} pixels of these classes only; any other image is "
        "assigned to one of them as well.",
        f"- Confidence is {predictions.confidence.mean():.1%} on average where {predictions.accuracy:.1%} are correct; "
        f"over 15 bins they differ by {calibration.error.value:.1%} (root mean square without noise; "
        f"{calibration.error.low:.1%} to {calibration.error.high:.1%}). No temperature is applied.",
        "- The output ignores the scale of the normalised input, so contrast about the mean carries no evidence.",
    ]
    return "\n".join(lines)


def _shortened(value: Any) -> str:
    """A setting as text: a list as its runs, such as ``3 x 20, 2 x 24``."""
    if not isinstance(value, list) or len(value) == 1:
        return str(value[0] if isinstance(value, list) else value)
    return "(" + ", ".join(f"{len(list(run))} x {setting}" for setting, run in itertools.groupby(value)) + ")"


def write_card(run: Run, folder: Path, *, hardware: str, pixels: str, note: str = "", force: bool = False) -> None:
    """Write ``MODEL_CARD.md`` into ``folder``; `OutputError` if it exists and ``force`` is off."""
    refuse_to_overwrite([folder / CARD], force)
    text = model_card(run, hardware=hardware, pixels=pixels, note=note)
    write_atomically(folder / CARD, lambda path: path.write_text(text, encoding="utf-8"))
