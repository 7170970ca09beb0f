"""A run: its epochs one by one, then the weights that validation prefers, evaluated once on the test split."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training import augment, checkpoint, loop, outputs
from training.dataset import DataSet, Labels
from training.errors import TrainingError
from training.loop import Evaluation
from training.session import Session, row_columns

SAVE_EVERY_S, DRAWN_FROM_S = 300.0, 30.0
Progress = Callable[[int, int, float, float], None]


def run_epoch(session: Session, folder: Path | None, progress: Progress) -> None:
    """Train the session's next epoch from where it stands, evaluate it, and record both.

    ``folder`` receives the state every few minutes and the records at the end; None writes nothing.
    """
    recipe, epoch = session.recipe, session.epoch
    size = recipe.image_size(epoch)
    training = augment.pipeline(recipe, session.statistics, size, train=True, side=session.train.side)
    order = loop.epoch_order(torch.from_numpy(session.train_rows), recipe.seed, epoch).numpy()
    under_way = _Epoch(session, folder, progress)
    loop.train_epoch(
        session.model,
        augment.AugmentedRows(session.train, order, training, (recipe.seed, epoch)),
        recipe,
        first_step=session.step,
        step=session.stepped,
        done=under_way.done,
        execution=session.execution,
        weights=None if session.fixes is None else torch.from_numpy(session.fixes.weights),
    )
    train_seconds = session.epoch_seconds
    evaluated = {"validation": _evaluate(session, session.train, session.validation_rows, size)}
    if session.watch_test and session.test is not None:
        evaluated["test"] = _evaluate(session, session.test, np.arange(len(session.test)), size)
    seconds = {"seconds": round(under_way.seconds, 2)}
    seconds["images_per_s"] = round(len(session.train_rows) / train_seconds, 2)
    session.finish_epoch(size, evaluated, seconds)
    if folder is not None:
        _write_records(session, folder)


class _Epoch:
    """An epoch under way: what follows each batch, and when the state was last saved."""

    def __init__(self, session: Session, folder: Path | None, progress: Progress) -> None:
        self.session, self.folder, self.progress = session, folder, progress
        self.epoch, self.columns = session.epoch, row_columns(session)
        self.before = session.epoch_seconds  # of sittings before this one
        self.started = self.saved = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the epoch began, without the time between sittings."""
        return self.before + time.perf_counter() - self.started

    def done(self, number: int, rows: Tensor, losses: Tensor, correct: Tensor) -> None:
        """Keep what a batch measured, and save the state from time to time."""
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
    """The state, and what people read: history, dynamics and, unless an epoch takes less than drawing, curves."""
    session.save(folder)
    outputs.write_history(folder, session.history)
    outputs.write_dynamics(folder, session)
    if session.epoch == session.recipe.epochs or session.history[-1]["seconds"] > DRAWN_FROM_S:
        outputs.write_curves(folder, session.history)


def _evaluate(session: Session, data: DataSet, rows: Labels, size: int, *, exact: bool = False) -> Evaluation:
    """Evaluation of rows at ``size`` pixels with the model's present weights; in float32 if ``exact``."""
    plain = augment.pipeline(session.recipe, session.statistics, size, train=False, side=data.side)
    execution = replace(session.execution, dtype=torch.float32) if exact else session.execution
    of = augment.AugmentedRows(data, rows, plain, None)
    return loop.evaluate(session.model, of, execution=execution, workers=session.recipe.workers)


def finish(session: Session) -> dict[str, Tensor]:
    """The weights to keep, after they are evaluated once on the test split; what was measured is in ``session.final``.

    The last weights, or their running mean if its cross entropy on the validation split is lower. All in float32, in
    which a checkpoint is evaluated by default.
    """
    size = session.recipe.image_sizes[-1]
    kinds = {"last": nullcontext()}
    if session.average is not None:
        kinds["average"] = session.average.within(session.model)  # type: ignore[assignment]
    weights, validated = {}, {}
    for name, within in kinds.items():
        with within:
            validated[name] = _evaluate(session, session.train, session.validation_rows, size, exact=True)
            weights[name] = {key: value.detach().clone() for key, value in session.model.state_dict().items()}
    kept = min(validated, key=lambda name: validated[name].loss)
    session.final = {
        "weights": kept,
        **{
            f"validation_{name}": {"loss": result.loss, "accuracy": result.accuracy}
            for name, result in validated.items()
        },
        "validation_loss": validated[kept].loss,
        "validation_accuracy": validated[kept].accuracy,
    }
    session.model.load_state_dict(weights[kept])
    if session.test is not None:
        result = _evaluate(session, session.test, np.arange(len(session.test)), size, exact=True)
        session.final |= {"test_loss": result.loss, "test_accuracy": result.accuracy}
    return weights[kept]


@contextmanager
def progress_bar(label: str, total: int, first: int) -> Iterator[Progress]:
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
    """Run the session's remaining epochs, then evaluate the weights to keep and save the checkpoint in ``folder``."""
    if folder is not None and session.history:  # a run that was killed between its state and its records lacks these
        _write_records(session, folder)
    while session.epoch < session.recipe.epochs:
        label = f"epoch {session.epoch + 1}/{session.recipe.epochs}"
        if quiet:
            run_epoch(session, folder, lambda *_: None)
            continue
        with progress_bar(label, session.steps_per_epoch, session.step) as progress:
            run_epoch(session, folder, progress)
        row = session.history[-1]
        watched = f", test {row['test_accuracy']:.2%}" if session.watch_test else ""
        print(
            f"{label}: {row['image_size']} px, train loss {row['train_loss']:.3f}, validation "
            f"{row['validation_accuracy']:.2%}{watched}, {row['seconds']:.0f} s",
            flush=True,
        )
    weights = finish(session)
    if not quiet:
        print(_said(session), flush=True)
    if folder is not None:
        checkpoint.save(folder, weights, session.sidecar())


def _said(session: Session) -> str:
    """What `finish` measured, as a sentence."""
    final = session.final
    kept = "the last weights" if final["weights"] == "last" else "the running mean of the weights"
    text = f"kept {kept}: validation {final['validation_accuracy']:.2%}"
    if session.test is None:
        return f"{text}; there is no test split, so that the accuracy on new images is not known"
    count = len(session.test)
    wrong = round((1 - final["test_accuracy"]) * count)
    return f"{text}, test {final['test_accuracy']:.2%} ({wrong:,} of {count:,} misclassified)"
