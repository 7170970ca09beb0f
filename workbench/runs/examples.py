"""Runs to try things on: the handwritten digits, and the shipped model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from workbench.errors import DataError
from workbench.runs import training
from workbench.runs.opening import IN_SOURCE_TREE, ROOT, SHIPPED, open_run
from workbench.runs.run import Run

DIGITS = ROOT / "artifacts" / "digits"
NO_CHECKPOINT = (
    "There is no CIFAR-10 checkpoint in artifacts/resnet18_ln_cifar10, so this is the handwritten digits' model. "
    "Train the CIFAR-10 model with "
    "`python -m training.run --recipe fast --data data --download --out artifacts/resnet18_ln_cifar10`."
)


def train_digits(folder: Path | str | None = None) -> Run:
    """The digits run; its small model is trained first if it does not exist yet (about a minute).

    Parameters
    ----------
    folder : path, optional
        Folder of the checkpoint; default: ``artifacts/digits`` of the source tree.

    Returns
    -------
    Run

    Raises
    ------
    CheckpointError
        If ``folder`` can't be written or holds a damaged checkpoint.
    DataError
        If no folder is named and this is an installed package, which has no default folder.
    """
    if folder is None:
        if not IN_SOURCE_TREE:
            raise DataError(
                "train_digits: expected a folder for the checkpoint, as in workbench.train_digits('digits')"
            )
        folder = DIGITS
    training.train_digits(Path(folder))
    return open_run(folder, data="digits")


def open_example() -> Run:
    """The shipped CIFAR-10 run; the digits run where no checkpoint is shipped.

    Returns
    -------
    Run

    Raises
    ------
    CheckpointError, DataError
        As `open_run`; or if this is an installed package: the shipped checkpoint is in the source tree only.
    """
    if not IN_SOURCE_TREE:
        raise DataError(
            "open_example: the shipped checkpoint is in the source tree only, and this is an installed package: open a "
            "checkpoint with workbench.open_run('DIR'), or train the digits' with workbench.train_digits('digits')"
        )
    if SHIPPED.is_dir():
        return open_run()
    run = train_digits()
    return replace(run, notes=(*run.notes, NO_CHECKPOINT))
