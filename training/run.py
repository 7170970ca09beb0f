"""Train a classifier: ``python -m training.run --recipe fast --data DIR --out DIR``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import threading
import time
import typing
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from training.errors import TrainingError
from training.files import lock
from training.recipe import RECIPES, Recipe

if typing.TYPE_CHECKING:
    from torch import Tensor

    from training.data import DataSet
    from training.loop import Evaluation
    from training.session import Session

SAVE_EVERY_S = 300.0
Progress = Callable[[int, int, float, float], None]


def parser() -> argparse.ArgumentParser:
    """The command line; one option for each scalar field of `Recipe`."""
    top = argparse.ArgumentParser(prog="python -m training.run", description="Train an image classifier.")
    top.add_argument("--recipe", choices=sorted(RECIPES), help="default: digits for --data digits, else fast")
    top.add_argument("--data", help="folder with the images, or digits; default: CIFAR10_ROOT, else ./data")
    top.add_argument("--out", type=Path, help="folder for the checkpoint and its records")
    top.add_argument(
        "--download",
        action="store_true",
        help="fetch CIFAR-10 into --data if it is not there; without --out, do nothing else",
    )
    top.add_argument("--resume", action="store_true", help="resume the stopped run in --out")
    top.add_argument("--force", action="store_true", help="replace what is in --out")
    top.add_argument("--fixes", type=Path, metavar="FILE", help="train rows to drop, relabel or weight, as exported")
    top.add_argument("--summary", action="store_true", help="print the model's layers and exit")
    group = top.add_argument_group("fields of the recipe")
    hints = typing.get_type_hints(Recipe)
    for field in dataclasses.fields(Recipe):
        option, kind = "--" + field.name.replace("_", "-"), hints[field.name]
        if field.name == "name":
            continue
        if kind is bool:
            group.add_argument(option, action=argparse.BooleanOptionalAction, default=None)
        elif typing.get_origin(kind) is typing.Literal:
            group.add_argument(option, choices=typing.get_args(kind))
        elif field.name == "rates":
            group.add_argument(option, type=corner, nargs="+", metavar="SHARE:RATE")
        elif typing.get_origin(kind) is tuple:
            group.add_argument(option, type=int, nargs="+", metavar="PIXELS")
        else:
            group.add_argument(option, type=kind, metavar=kind.__name__.upper())
    return top


def corner(text: str) -> tuple[float, float]:
    """A corner of the schedule such as ``0.1:1``."""
    share, _, rate = text.partition(":")
    return float(share), float(rate)


def recipe_from(options: argparse.Namespace) -> Recipe:
    """The named recipe with the fields that the command line gave."""
    name = options.recipe or ("digits" if options.data == "digits" else "fast")
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(Recipe) if f.name != "name"}
    changes: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items() if v is not None}
    return dataclasses.replace(RECIPES[name], **changes)


def run_epoch(session: Session, folder: Path | None, progress: Progress) -> None:
    """Train the session's next epoch from where it stands, evaluate it, and record both.

    ``folder`` receives the state every few minutes and the records at the end; None writes nothing.
    """
    import torch

    from training import augment, loop

    recipe, epoch = session.recipe, session.epoch
    size = recipe.image_size(epoch)
    training = augment.pipeline(recipe, session.statistics, size, train=True, cutout=recipe.cutout_side(epoch))
    order = loop.epoch_order(torch.from_numpy(session.train_rows), recipe.seed, epoch).numpy()
    under_way = _Epoch(session, folder, progress)
    loop.train_epoch(
        session.model,
        augment.AugmentedRows(session.train, order, training, (recipe.seed, epoch)),
        recipe,
        first_step=session.step,
        step=under_way.step,
        done=under_way.done,
        device=session.device,
        dtype=session.dtype,
        weights=None if session.fixes is None else torch.from_numpy(session.fixes.weights),
    )
    train_seconds = session.epoch_seconds
    measured = evaluate_epoch(session, size)
    seconds = {"seconds": round(under_way.seconds, 2)}
    seconds["images_per_s"] = round(len(session.train_rows) / train_seconds, 2)
    session.finish_epoch(size, measured, seconds)
    if folder is not None:
        _write_records(session, folder)


class _Epoch:
    """An epoch under way: what follows each batch, and when the state was last saved."""

    def __init__(self, session: Session, folder: Path | None, progress: Progress) -> None:
        from training.session import row_columns

        self.session, self.folder, self.progress = session, folder, progress
        self.epoch, self.columns = session.epoch, row_columns(session)
        self.before = session.epoch_seconds  # of sittings before this one
        self.started = self.saved = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the epoch began, without the time between sittings."""
        return self.before + time.perf_counter() - self.started

    def step(self, number: int) -> None:
        """Apply the gradient of a batch."""
        self.session.optimisation.step(self.epoch * self.session.steps_per_epoch + number)

    def done(self, number: int, rows: Tensor, losses: Tensor, correct: Tensor) -> None:
        """Keep what a batch measured, and save the state from time to time."""
        import torch

        session = self.session
        if not bool(losses.isfinite().all()):
            raise TrainingError(
                f"the loss is not finite at batch {number + 1} of epoch {self.epoch + 1}: "
                "lower --learning-rate and start again with --force"
            )
        session.measured["row_loss"][self.epoch, self.columns[rows]] = losses
        session.measured["row_correct"][self.epoch, self.columns[rows]] = correct.to(torch.int8)
        session.step = number + 1
        session.epoch_seconds = self.seconds
        self.progress(number + 1, session.steps_per_epoch, float(losses.mean()), float(correct.mean()))
        if self.folder is not None and time.perf_counter() - self.saved > SAVE_EVERY_S:
            session.save(self.folder)
            self.saved = time.perf_counter()


def _write_records(session: Session, folder: Path) -> None:
    """The state, and what people read: history, dynamics and curves."""
    from training import outputs

    session.save(folder)
    outputs.write_history(folder, session.history)
    outputs.write_dynamics(folder, session)
    outputs.write_curves(folder, session.history)


def evaluate_epoch(session: Session, size: int) -> dict[str, Evaluation]:
    """Evaluations of the validation and the test images at ``size`` pixels, with the current weights."""
    import torch

    from training import augment, loop

    plain = augment.pipeline(session.recipe, session.statistics, size, train=False)
    # the last pass is the checkpoint's own accuracy, so it is measured in float32 whatever the training's precision
    dtype = torch.float32 if session.epoch + 1 == session.recipe.epochs else session.dtype
    sets = {
        "validation": augment.AugmentedRows(session.train, session.validation_rows, plain, None),
        "test": augment.AugmentedRows(session.test, np.arange(len(session.test)), plain, None),
    }
    return {
        name: loop.evaluate(session.model, rows, device=session.device, dtype=dtype, workers=session.recipe.workers)
        for name, rows in sets.items()
    }


@contextmanager
def progress_bar(label: str, total: int, first: int) -> typing.Iterator[Progress]:
    """A bar with the time left in a terminal or notebook; one plain line per minute elsewhere."""
    from tqdm.auto import tqdm

    last = time.perf_counter()
    with tqdm(total=total, initial=first, desc=label, unit="batch", disable=None, leave=False) as bar:

        def report(number: int, count: int, loss: float, accuracy: float) -> None:
            nonlocal last
            bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.1%}", refresh=False)
            bar.update(number - bar.n)
            if bar.disable and time.perf_counter() - last > 60:
                last = time.perf_counter()
                print(f"{label}: batch {number} of {count}, loss {loss:.3f}, accuracy {accuracy:.1%}", flush=True)

        yield report


def train(session: Session, folder: Path | None, *, quiet: bool = False) -> None:
    """Run the session's remaining epochs, then save the checkpoint in ``folder``."""
    from training import checkpoint

    if folder is not None and session.history:  # a run that was killed between its state and its records lacks these
        _write_records(session, folder)
    while session.epoch < session.recipe.epochs:
        label = f"epoch {session.epoch + 1}/{session.recipe.epochs}"
        with progress_bar(label, session.steps_per_epoch, session.step) as progress:
            run_epoch(session, folder, (lambda *_: None) if quiet else progress)
        row = session.history[-1]
        if not quiet:
            print(
                f"{label}: {row['image_size']} px, train loss {row['train_loss']:.3f}, validation "
                f"{row['validation_accuracy']:.2%}, test {row['test_accuracy']:.2%}, {row['seconds']:.0f} s",
                flush=True,
            )
    if folder is not None:
        checkpoint.save(folder, session.model, session.sidecar())


def open_session(options: argparse.Namespace) -> Session:
    """The session that the command line asks for, new or resumed.

    Raises
    ------
    TrainingError
        If the data, the output folder or the state to resume is not usable.
    """
    from training import data, fixes
    from training.session import STATE, Session

    root = data.data_root(options.data)
    options.data = root
    recipe = recipe_from(options)
    out: Path = options.out
    taken = [name for name in (STATE, "model.safetensors", "model.json") if (out / name).exists()]
    if taken and not (options.force or options.resume):
        raise TrainingError(f"{out} already holds {taken[0]}: resume its run with --resume, or replace it with --force")
    splits: list[DataSet] = [data.load(root, split, download=options.download) for split in ("train", "test")]
    if splits[0].classes != splits[1].classes:
        raise TrainingError(f"{root}: expected one set of classes, not {splits[0].classes} and {splits[1].classes}")
    mended = None if options.fixes is None else fixes.read_fixes(options.fixes, splits[0])
    session = Session(recipe, splits[0], splits[1], mended)
    if options.resume:
        session.restore(out)
    return session


@contextmanager
def process_group() -> typing.Iterator[int]:
    """Join the other processes if ``torchrun`` started this one; yields the rank."""
    if "WORLD_SIZE" not in os.environ:
        yield 0
        return
    import torch
    import torch.distributed as dist

    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


@contextmanager
def termination_as_exit() -> typing.Iterator[None]:
    """Let a termination end a training as an exception does, so that half-written files are removed on the way."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 on success, 2 on bad input with one line on standard error."""
    top = parser()
    options = top.parse_args(argv)
    try:
        if options.summary:
            return _print_summary(options)
        if options.download and options.out is None:
            return _download(options)
        if options.out is None:
            raise TrainingError("--out is missing: name the folder for the checkpoint")
        with termination_as_exit(), process_group() as rank, lock(options.out) if rank == 0 else nullcontext():
            session = open_session(options)
            train(session, options.out if rank == 0 else None, quiet=rank != 0)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        from training.session import STATE

        begun = options.out is not None and (options.out / STATE).is_file()
        print(f"stopped; {'continue with --resume' if begun else 'nothing is saved yet'}", file=sys.stderr)
        return 130
    return 0


def _download(options: argparse.Namespace) -> int:
    from training import data

    root = data.data_root(options.data)
    rows = [len(data.load(root, split, download=True)) for split in ("train", "test")]
    print(f"{root} holds CIFAR-10: {rows[0]} train and {rows[1]} test images")
    return 0


def _print_summary(options: argparse.Namespace) -> int:
    from training.model import ResNet18LN, format_summary, summary

    size: Any = options.image_sizes or (32,)
    print(format_summary(summary(ResNet18LN(width=recipe_from(options).width), (1, 3, size[-1], size[-1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
