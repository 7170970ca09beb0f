"""The model card: what a checkpoint is, as measured."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from workbench.analysis.calibration import reliability
from workbench.analysis.classes import class_report
from workbench.analysis.statistics import wilson_interval
from workbench.core.files import refuse_to_overwrite, write_atomically
from workbench.runs.run import Run

CARD = "MODEL_CARD.md"


def model_card(run: Run, *, hardware: str, pixels: str, note: str = "") -> str:
    """The card as Markdown; every figure comes from the run's predictions and its checkpoint's sidecar.

    ``hardware`` says in words what it was trained on, ``pixels`` what encoding the images have, ``note`` what
    else a reader should know of how it came about.
    """
    if run.classifier is None:
        raise ValueError("a model card needs the run's classifier")
    card, predictions = run.classifier.card, run.predictions
    recipe, right = card["recipe"], int(predictions.correct.sum())
    low, high = wilson_interval(right, len(predictions))
    report = class_report(predictions)
    rate = report.error_rate
    rows = [
        f"| {name} | {errors} of {support} | {share:.1%} | {lo:.1%} to {hi:.1%} |"
        for name, errors, support, share, lo, hi in zip(
            report.classes, report.errors, report.support, rate.value, rate.low, rate.high, strict=True
        )
    ]
    settings = ", ".join(f"{key} {_shortened(value)}" for key, value in recipe.items() if key != "name")
    calibration = reliability(predictions)
    hours = card["train_seconds"] / 3600
    return "\n".join(
        [
            f"# {run.name}",
            "",
            f"{card['architecture']} (width {card['width']}), {card['parameters']:,} parameters, for "
            f"{len(predictions.classes)} classes: {', '.join(predictions.classes)}.",
            "",
            f"**{right / len(predictions):.2%} of {len(predictions):,} test images right** "
            f"({predictions.error_count:,} wrong; 95 % Wilson interval {low:.2%} to {high:.2%}), in float32.",
            "",
            "## Training",
            "",
            f"- Data: {card['data']['name']}, {card['data']['train_rows']:,} images to train on and "
            f"{card['data']['validation_rows']:,} for validation; {pixels}. The run itself looks at the "
            "validation split alone; no rate, epoch or stop is picked by the test split.",
            f"- Command: `python -m training.run --recipe {recipe['name']} --data DIR --out DIR`, seed {card['seed']}.",
            f"- Recipe: {settings}.",
            f"- {card['train_seconds']:,.0f} seconds ({hours:.1f} hours) on {hardware}, in {card['precision']}.",
            *([f"- {note}"] if note else []),
            f"- Weights SHA-256 `{card['weights_sha256']}`, test images `{card['data']['fingerprint_test']}`.",
            "",
            "## Errors by class",
            "",
            "| class | errors | error rate | 95 % Wilson interval |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "## Limits",
            "",
            f"- Images of {card['image_size']}×{card['image_size']} pixels of these classes only; anything else is "
            "given one of them all the same.",
            f"- Confidence is off by {calibration.ece:.1%} on average (ECE, 15 bins; {calibration.ece_low:.1%} to "
            f"{calibration.ece_high:.1%}); no temperature is applied.",
            "- The output ignores the scale of the normalised input, so contrast about the mean carries no evidence.",
            "",
        ]
    )


def _shortened(value: Any) -> str:
    """A setting in words; of a list by epoch its runs, such as ``10 x 20, 7 x 24``, of corners each as ``x:y``."""
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
