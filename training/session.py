"""A training run as data: the model, its optimisation and all that was measured so far."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from training import checkpoint
from training.data import DataSet, channel_statistics, split_validation
from training.errors import TrainingError
from training.files import write_atomically
from training.fixes import Fixes
from training.loop import Evaluation, pick_device, pick_precision
from training.model import ResNet18LN, initialise
from training.optimise import Optimisation
from training.recipe import Recipe

STATE = "state.safetensors"


_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, RuntimeError)
_AGAIN = "start again with --force, without --resume"


class Session:
    """What a run needs to resume, and nothing that it could recompute.

    Attributes
    ----------
    train : DataSet
        With the labels that the fixes corrected, if there are fixes.
    epoch, step : int
        The next epoch, and the next batch within it.
    history : list of dict
        One row of ``history.csv`` for each finished epoch.
    measured : dict of tensors
        ``row_loss`` float32 and ``row_correct`` int8 ``(epochs, train rows)``; ``test_predicted``
        int16 and ``test_label_probability`` float32 ``(epochs, test rows)``.
    """

    def __init__(self, recipe: Recipe, train: DataSet, test: DataSet, fixes: Fixes | None = None) -> None:
        self.recipe, self.train, self.test, self.fixes = recipe, train, test, fixes
        self.device = pick_device(recipe.device)
        self.dtype = pick_precision(recipe.precision, self.device)
        self.statistics = channel_statistics(train.images)
        self.train_rows, self.validation_rows = split_validation(train.labels, recipe.validation_fraction, recipe.seed)
        if fixes is not None:  # the split is drawn first, so that it is that of a run without fixes
            self.train = fixes.train
            self.train_rows, self.validation_rows = (r[fixes.kept[r]] for r in (self.train_rows, self.validation_rows))
        self.epoch, self.step, self.epoch_seconds = 0, 0, 0.0
        self.history: list[dict[str, Any]] = []
        self.steps_per_epoch = -(-len(self.train_rows) // recipe.batch_size)
        self.measured: dict[str, Tensor] = {
            "row_loss": torch.full((recipe.epochs, len(self.train_rows)), torch.nan),
            "row_correct": torch.zeros((recipe.epochs, len(self.train_rows)), dtype=torch.int8),
            "test_predicted": torch.full((recipe.epochs, len(test)), -1, dtype=torch.int16),
            "test_label_probability": torch.full((recipe.epochs, len(test)), torch.nan),
        }
        torch.manual_seed(recipe.seed)
        model = ResNet18LN(len(train.classes), recipe.width)
        initialise(model, zero_init_residual=recipe.zero_init_residual)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimisation = Optimisation(self.model, recipe, recipe.epochs * self.steps_per_epoch)

    def finish_epoch(self, size: int, measured: Mapping[str, Evaluation], seconds: Mapping[str, float]) -> None:
        """Record the epoch that was trained at ``size`` pixels, report it to the schedule, and advance to the next."""
        epoch, test = self.epoch, measured["test"]
        self.measured["test_predicted"][epoch] = test.predicted.to(torch.int16)
        self.measured["test_label_probability"][epoch] = test.label_probability
        self.history.append(
            {
                "epoch": epoch + 1,
                "image_size": size,
                "learning_rate": self.optimisation.learning_rate,
                "train_loss": float(self.measured["row_loss"][epoch].double().mean()),
                "train_accuracy": float(self.measured["row_correct"][epoch].double().mean()),
                **{f"{name}_loss": result.loss for name, result in measured.items()},
                **{f"{name}_accuracy": result.accuracy for name, result in measured.items()},
                **seconds,
            }
        )
        self.optimisation.end_epoch(measured["validation"].loss)
        self.epoch, self.step, self.epoch_seconds = epoch + 1, 0, 0.0

    def _fingerprints(self) -> list[str]:
        found = [self.train.fingerprint, self.test.fingerprint]
        return found if self.fixes is None else [*found, self.fixes.digest]

    def save(self, folder: Path) -> None:
        """Write the state atomically.

        Raises
        ------
        TrainingError
            If the disk is full or the folder can't be written.
        """
        values = {
            "recipe": self.recipe.to_json(),
            "data": self._fingerprints(),
            "epoch": self.epoch,
            "step": self.step,
            "epoch_seconds": self.epoch_seconds,
            "history": self.history,
            "optimisation": self.optimisation.values(),
        }
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"optimisation.{k}": v for k, v in self.optimisation.tensors().items()}
        tensors |= {f"measured.{k}": v for k, v in self.measured.items()}
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        metadata = {"session": json.dumps(values)}
        write_atomically(folder / STATE, lambda path: save_file(plain, path, metadata))

    def restore(self, folder: Path) -> None:
        """Restore the state that `save` wrote in ``folder``.

        Raises
        ------
        TrainingError
            If there is no state, it is damaged, or belongs to another recipe or other data.
        """
        path = folder / STATE
        if not path.is_file():
            raise TrainingError(f"nothing to resume in {folder}: expected {STATE}; start without --resume")
        try:
            with safe_open(path, "pt") as stream:
                values = json.loads((stream.metadata() or {})["session"])
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            recipe, data = Recipe.from_json(values["recipe"]), values["data"]
        except (SafetensorError, OSError, *_DAMAGED) as error:
            raise TrainingError(f"{path} is damaged ({error}): {_AGAIN}") from error
        if not recipe.computes_as(self.recipe) or data != self._fingerprints():
            raise TrainingError(f"{path} belongs to another recipe or other data: use the options of that run")
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimisation": {}, "measured": {}}
        try:
            for name, tensor in tensors.items():
                group, _, rest = name.partition(".")
                groups[group][rest] = tensor
            self.model.load_state_dict(groups["model"])
            self.optimisation.restore(groups["optimisation"], values["optimisation"])
            self.measured = groups["measured"]
            self.epoch, self.step = int(values["epoch"]), int(values["step"])
            self.epoch_seconds, self.history = float(values["epoch_seconds"]), list(values["history"])
        except _DAMAGED as error:
            raise TrainingError(f"{path} is damaged ({error}): {_AGAIN}") from error

    def sidecar(self) -> dict[str, Any]:
        """The fields of the checkpoint's sidecar besides the architecture and the weights' hash."""
        size = self.recipe.image_sizes[-1]
        model = ResNet18LN(len(self.train.classes), self.recipe.width)
        mean, deviation = self.statistics
        return {
            "width": self.recipe.width,
            "parameters": checkpoint.parameter_count(model),
            "classes": list(self.train.classes),
            "image_size": size,
            "mean": list(mean),
            "std": list(deviation),
            "cam_layers": checkpoint.cam_layers(model, size),
            "recipe": self.recipe.to_json(),
            "seed": self.recipe.seed,
            **({} if self.fixes is None else {"fixes": self.fixes.summary()}),
            "precision": str(self.dtype).removeprefix("torch."),
            "measured": self.history[-1] if self.history else {},
            "train_seconds": round(sum(row["seconds"] for row in self.history), 1),
            "data": {
                "name": self.train.name,
                "fingerprint_train": self.train.fingerprint,
                "fingerprint_test": self.test.fingerprint,
                "train_rows": len(self.train_rows),
                "validation_rows": len(self.validation_rows),
                "test_rows": len(self.test),
            },
            "versions": checkpoint.versions(),
            "git_revision": checkpoint.git_revision(),
        }


def row_columns(session: Session) -> Tensor:
    """Column of ``measured`` by train row number, int64 ``(all train rows,)``; -1 for validation rows."""
    columns = np.full(len(session.train), -1, np.int64)
    columns[session.train_rows] = np.arange(len(session.train_rows))
    return torch.from_numpy(columns)
