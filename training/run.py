"""Train a classifier: ``python -m training.run --recipe fast --data DIR --out DIR``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import threading
import typing
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.files import lock
from training.recipe import RECIPES, Recipe

if typing.TYPE_CHECKING:
    from training.checkpoint import Initial
    from training.dataset import DataSet
    from training.session import Session


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
    top.add_argument(
        "--init", type=Path, metavar="DIR", help="checkpoint to start from, by default at low rates, with its recipe"
    )
    top.add_argument(
        "--watch-test",
        action="store_true",
        help="evaluate the test split after each epoch, too, not only at the end; the checkpoint says that it was",
    )
    top.add_argument("--quiet", action="store_true", help="print errors only")
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
        elif typing.get_origin(kind) is tuple:
            group.add_argument(option, type=int, nargs="+", metavar="PIXELS")
        else:
            group.add_argument(option, type=kind, metavar=kind.__name__.upper())
    return top


def recipe_from(options: argparse.Namespace) -> Recipe:
    """The named recipe, or `Recipe.for_tuning` of a checkpoint's, with the fields that the command line gave."""
    if options.init is not None and options.recipe is None:
        from training.sidecar import read_sidecar

        kept = read_sidecar(options.init).get("recipe", {})
        try:
            base = Recipe.from_json(kept).for_tuning()
        except (TypeError, TrainingError) as error:
            raise TrainingError(
                f"--init {options.init}: its recipe is missing or of another version ({error}): name one with "
                "--recipe, few --epochs and a low --learning-rate, as a named one is for a start from scratch"
            ) from error
    else:
        base = RECIPES[options.recipe or ("digits" if options.data == "digits" else "fast")]
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(Recipe) if f.name != "name"}
    changes: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items() if v is not None}
    return dataclasses.replace(base, **changes)


def initial_from(folder: Path, recipe: Recipe, train: DataSet) -> Initial:
    """The weights of the checkpoint in ``folder``, for a run of ``recipe`` on this train split.

    Raises
    ------
    TrainingError
        If there is none, it is of another architecture, width or classes, or it was trained on rows of the split that
        this run would validate on.
    """
    from training import checkpoint

    classes = train.classes
    model, sidecar = checkpoint.load(folder)
    expected = {"architecture": recipe.architecture, "width": recipe.width}
    for name, value in expected.items():
        if sidecar[name] != value:
            raise TrainingError(
                f"--init {folder}: expected {name} {value}, not {sidecar[name]}: give --{name} {sidecar[name]}, "
                "or omit what names another"
            )
    if tuple(sidecar["classes"]) != tuple(classes):
        raise TrainingError(
            f"--init {folder}: expected the data's {len(classes)} classes ({', '.join(classes[:4])}, …), not the "
            f"checkpoint's {len(sidecar['classes'])} ({', '.join(sidecar['classes'][:4])}, …): point --data at its data"
        )
    drawn = {"seed": recipe.seed, "validation_fraction": recipe.validation_fraction}
    before = {name: value for name, value in sidecar.get("recipe", {}).items() if name in drawn}
    if sidecar.get("data", {}).get("fingerprint_train") == train.fingerprint and {**drawn, **before} != drawn:
        options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in before.items())
        raise TrainingError(
            f"--init {folder}: it was trained on rows that this run would validate on, as its validation rows were "
            f"drawn otherwise: give {options}"
        )
    return checkpoint.Initial(
        model.state_dict(), sidecar["weights_sha256"], (tuple(sidecar["mean"]), tuple(sidecar["std"]))
    )


def open_session(options: argparse.Namespace) -> Session:
    """The session that the command line asks for, new or resumed.

    Raises
    ------
    TrainingError
        If the data, the output folder, the weights to start from or the state to resume is not usable.
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
    train, test = data.load_both(root, max(recipe.image_sizes), download=options.download)
    mended = None if options.fixes is None else fixes.read_fixes(options.fixes, train)
    initial = None if options.init is None else initial_from(options.init, recipe, train)
    flags = {"watch_test": options.watch_test, "resumes": options.resume}
    session = Session(recipe, train, test, mended, initial=initial, **flags)
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

    count = torch.cuda.device_count()
    if count:  # "cuda" is then the process's own card
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % count)
    dist.init_process_group("cpu:gloo,cuda:nccl" if count else "gloo")
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
            from training.train import train

            session = open_session(options)
            quiet = options.quiet or rank != 0
            if not quiet:
                _report(session)
            train(session, options.out if rank == 0 else None, quiet=quiet)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        from training.session import STATE

        begun = options.out is not None and (options.out / STATE).is_file()
        print(f"stopped; {'continue with --resume' if begun else 'nothing is saved yet'}", file=sys.stderr)
        return 130
    return 0


def _report(session: Session) -> None:
    """Print what was read from class folders, and how it is used."""
    for data in (session.train, session.test):
        for note in () if data is None else data.notes:
            print(note)
    if session.train.notes:
        print(f"{len(session.train_rows):,} rows to train on, {len(session.validation_rows):,} for validation")


def _download(options: argparse.Namespace) -> int:
    from training import data
    from training.dataset import SIDE

    root = data.data_root(options.data)
    train, test = data.load_both(root, SIDE, download=True)
    print(f"{root} holds {len(train):,} train and {len(test or ()):,} test images")
    return 0


def _print_summary(options: argparse.Namespace) -> int:
    from training.architectures import build
    from training.model import format_summary, summary

    recipe = recipe_from(options)
    side = recipe.image_sizes[-1]
    print(format_summary(summary(build(recipe.architecture, 10, recipe.width), (1, 3, side, side))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
