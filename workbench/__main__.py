"""The command line: ``python -m workbench predict | report | card``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.errors import WorkbenchError


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m workbench", description="See what an image classifier gets wrong.")
    commands = top.add_subparsers(dest="command", required=True)
    one = commands.add_parser("predict", help="write a checkpoint's predictions on a split")
    one.add_argument("--checkpoint", type=Path, required=True, help="folder with model.safetensors and model.json")
    one.add_argument("--data", help="folder with the images, or digits; default: CIFAR10_ROOT, else ./data")
    one.add_argument("--split", choices=("train", "test"), default="test")
    one.add_argument("--out", type=Path, required=True, help="folder for predictions.parquet and provenance.json")
    one.add_argument("--force", action="store_true", help="replace what is in --out")
    one.set_defaults(run=_predict)
    two = commands.add_parser("report", help="write figures and tables of a run's errors")
    two.add_argument("--predictions", type=Path, help="folder that predict wrote; default: those of --checkpoint")
    two.add_argument("--checkpoint", type=Path, help="folder with the model, for Grad-CAM and the training curves")
    two.add_argument("--data", help="folder with the images, or digits; default: CIFAR10_ROOT, else ./data")
    two.add_argument("--out", type=Path, required=True, help="folder for the bundle")
    two.add_argument("--force", action="store_true", help="replace what is in --out")
    two.set_defaults(run=_report)
    three = commands.add_parser("card", help="write a checkpoint's MODEL_CARD.md from its predictions")
    three.add_argument("--checkpoint", type=Path, required=True, help="folder with the model and its predictions")
    three.add_argument("--hardware", required=True, help="what it was trained on, in words")
    three.add_argument("--pixels", required=True, help="encoding of the images, in words")
    three.add_argument("--data", help="folder with the images, or digits; default: CIFAR10_ROOT, else ./data")
    three.add_argument("--force", action="store_true", help="replace the card that is there")
    three.set_defaults(run=_card)
    return top


def _predict(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from workbench import predict, source
    from workbench.files import refuse_to_overwrite

    refuse_to_overwrite([options.out / predict.TABLE], options.force)
    classifier = source.load_classifier(options.checkpoint)
    images = source.load_images(options.data, options.split)
    with tqdm(total=len(images), unit="image", disable=None) as bar:
        predictions = predict.predict(classifier, images, progress=lambda done, _: bar.update(done - bar.n))
    predict.write(predictions, options.out, force=options.force)
    print(
        f"{predictions.accuracy:.2%} of {len(predictions):,} {options.split} images right, "
        f"{predictions.error_count:,} wrong; written to {options.out}"
    )
    return 0


def _report(options: argparse.Namespace) -> int:
    from workbench import export
    from workbench.run import open_report

    run = open_report(options.predictions, options.checkpoint, options.data)
    left_out = export.report(run, options.out, checkpoint=options.checkpoint, force=options.force)
    for line in (*run.notes, *(f"left out {line}" for line in left_out)):
        print(line)
    print(f"written to {options.out}")
    return 0


def _card(options: argparse.Namespace) -> int:
    from workbench import card
    from workbench.run import open_run

    run = open_run(options.checkpoint, options.data)
    card.write_card(run, options.checkpoint, hardware=options.hardware, pixels=options.pixels, force=options.force)
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
