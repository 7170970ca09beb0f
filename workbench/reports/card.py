"""The model card: what a checkpoint is, as measured."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.analysis.calibration import reliability
from workbench.analysis.classes import class_report
from workbench.analysis.statistics import wilson_interval
from workbench.core.files import refuse_to_overwrite, write_atomically
from workbench.core.predictions import Predictions
from workbench.runs.run import Run

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
        _training(card, hardware, pixels, note),
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
        f"{data['validation_rows']:,} for validation; {pixels}. While it runs, a training "
        "reads the validation split alone to set its rates; the test figures of each epoch are recorded beside it.",
        f"- Command: `python -m training.run --recipe {recipe['name']} --data DIR --out DIR`, seed {card['seed']}.",
        f"- Recipe: {settings}.",
        f"- {card['train_seconds']:,.0f} seconds ({card['train_seconds'] / 3600:.1f} hours) on {hardware}, "
        f"in {card['precision']}.",
        *([f"- {note}"] if note else []),
        f"- Weights SHA-256 `{card['weights_sha256']}`, test images `{data['fingerprint_test']}`.",
    ]
    return "\n".join(lines)


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
    """A setting as text: a list by epoch as its runs, such as ``10 x 20, 7 x 24``, corners as ``x:y``."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return " ".join(":".join(f"{number:.3g}" for number in corner) for corner in value)
    if not isinstance(value, list) or len(value) == 1:
        return str(value[0] if isinstance(value, list) else value)
    return "(" + ", ".join(f"{len(list(run))} x {setting}" for setting, run in itertools.groupby(value)) + ")"


def write_card(run: Run, folder: Path, *, hardware: str, pixels: str, note: str = "", force: bool = False) -> None:
    """Write ``MODEL_CARD.md`` into ``folder``; `OutputError` if it exists and ``force`` is off."""
    refuse_to_overwrite([folder / CARD], force)
    text = model_card(run, hardware=hardware, pixels=pixels, note=note)
    write_atomically(folder / CARD, lambda path: path.write_text(text, encoding="utf-8"))
