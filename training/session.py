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

from training import checkpoint, sidecar
from training.architectures import build_for, cam_layers
from training.average import WeightAverage
from training.checkpoint import Initial
from training.dataset import DataSet, channel_statistics, split_validation
from training.errors import TrainingError
from training.execution import Execution, pick_for_training
from training.files import write_atomically
from training.fixes import Fixes
from training.loop import Evaluation
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
    test : DataSet or None
        Evaluated once, by `finish`, unless ``watch_test`` has it evaluated after each epoch as well.
    epoch, step : int
        The next epoch, and the next batch within it.
    execution : Execution
        Device, precision and layout; those of a resumed run are those it began with.
    average : WeightAverage or None
        The running mean of the weights, if the recipe has one.
    history : list of dict
        One row of ``history.csv`` for each finished epoch.
    measured : dict of tensors
        ``row_loss`` float32 and ``row_correct`` int8 ``(epochs, train rows)``; ``validation_predicted`` int16 and
        ``validation_label_probability`` float32 ``(epochs, validation rows)``; with ``watch_test`` the same of the
        test rows.
    final : dict
        What `finish` measured.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: DataSet,
        test: DataSet | None,
        fixes: Fixes | None = None,
        *,
        initial: Initial | None = None,
        watch_test: bool = False,
        resumes: bool = False,
    ) -> None:
        self.recipe, self.train, self.test, self.fixes = recipe, train, test, fixes
        self.initial, self.watch_test = initial, watch_test
        if watch_test and test is None:
            raise TrainingError("--watch-test: expected data with a test split, and there is none: omit it")
        self.statistics = channel_statistics(train.images) if initial is None else initial.statistics
        self.train_rows, self.validation_rows = split_validation(train.labels, recipe.validation_fraction, recipe.seed)
        if fixes is not None:  # the split is drawn first, so that it is that of a run without fixes
            self.train = fixes.train
            self.train_rows, self.validation_rows = (r[fixes.kept[r]] for r in (self.train_rows, self.validation_rows))
        for name, rows in (("train", self.train_rows), ("validate", self.validation_rows)):
            if not len(rows):
                raise TrainingError(
                    f"no row is left to {name} on: expected at least one; drop fewer rows, or change "
                    f"--validation-fraction (now {recipe.validation_fraction:g})"
                )
        self.epoch, self.step, self.epoch_seconds = 0, 0, 0.0
        self.history: list[dict[str, Any]] = []
        self.final: dict[str, Any] = {}
        self.steps_per_epoch = -(-len(self.train_rows) // recipe.batch_size)
        self.measured = self._nothing_measured()
        model = build_for(recipe, len(train.classes))
        if initial is not None:
            model.load_state_dict(initial.weights)
        self.execution = pick_for_training(model, recipe, measure=not resumes)  # else `restore` names it
        self.model = self.execution.place(model)
        self.average = WeightAverage(self.model, recipe.average) if recipe.average else None
        self.optimisation = Optimisation(self.model, recipe, recipe.epochs * self.steps_per_epoch)

    def _nothing_measured(self) -> dict[str, Tensor]:
        epochs, rows = self.recipe.epochs, len(self.train_rows)
        evaluated = {"validation": len(self.validation_rows)}
        if self.watch_test and self.test is not None:
            evaluated["test"] = len(self.test)
        measured = {
            "row_loss": torch.full((epochs, rows), torch.nan),
            "row_correct": torch.zeros((epochs, rows), dtype=torch.int8),
        }
        for name, count in evaluated.items():
            measured[f"{name}_predicted"] = torch.full((epochs, count), -1, dtype=torch.int16)
            measured[f"{name}_label_probability"] = torch.full((epochs, count), torch.nan)
        return measured

    def stepped(self, number: int) -> None:
        """Apply the gradient of a batch of the present epoch, and take the weights into their mean."""
        whole = self.epoch * self.steps_per_epoch + number
        self.optimisation.step(whole)
        if self.average is not None:
            self.average.update(self.model, whole)

    def finish_epoch(self, size: int, evaluated: Mapping[str, Evaluation], seconds: Mapping[str, float]) -> None:
        """Record the epoch that was trained at ``size`` pixels, report it to the schedule, and advance to the next.

        ``evaluated`` has ``validation`` and, if it is watched, ``test``.
        """
        epoch = self.epoch
        for name, result in evaluated.items():
            self.measured[f"{name}_predicted"][epoch] = result.predicted.to(torch.int16)
            self.measured[f"{name}_label_probability"][epoch] = result.label_probability
        self.history.append(
            {
                "epoch": epoch + 1,
                "image_size": size,
                "learning_rate": self.optimisation.learning_rate,
                "train_loss": float(self.measured["row_loss"][epoch].double().mean()),
                "train_accuracy": float(self.measured["row_correct"][epoch].double().mean()),
                **{f"{name}_loss": result.loss for name, result in evaluated.items()},
                **{f"{name}_accuracy": result.accuracy for name, result in evaluated.items()},
                **seconds,
            }
        )
        self.optimisation.end_epoch(evaluated["validation"].loss)
        self.epoch, self.step, self.epoch_seconds = epoch + 1, 0, 0.0

    def _belongs_to(self) -> list[str]:
        """What a state belongs to: data, fixes, initial weights, and whether the test split is watched."""
        found = [self.train.fingerprint, "" if self.test is None else self.test.fingerprint]
        found += ["" if self.fixes is None else self.fixes.digest, "" if self.initial is None else self.initial.sha256]
        return [*found, "watch-test" if self.watch_test else ""]

    def save(self, folder: Path) -> None:
        """Write the state atomically.

        Raises
        ------
        TrainingError
            If the disk is full or the folder can't be written.
        """
        values = {
            "recipe": self.recipe.to_json(),
            "data": self._belongs_to(),
            "epoch": self.epoch,
            "step": self.step,
            "epoch_seconds": self.epoch_seconds,
            "history": self.history,
            "optimisation": self.optimisation.values(),
            "execution": {"precision": self.execution.precision, "channels_last": self.execution.channels_last},
        }
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"optimisation.{k}": v for k, v in self.optimisation.tensors().items()}
        tensors |= {f"measured.{k}": v for k, v in self.measured.items()}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.weights.items()}
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
        if not recipe.computes_as(self.recipe) or data != self._belongs_to():
            raise TrainingError(
                f"{path} belongs to another recipe, other data, fixes or initial weights: use the options of that run"
            )
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimisation": {}, "measured": {}, "average": {}}
        try:
            for name, tensor in tensors.items():
                group, _, rest = name.partition(".")
                groups[group][rest] = tensor
            kept = values["execution"]
            dtype = torch.bfloat16 if kept["precision"] == "bfloat16" else torch.float32
            self.execution = Execution(self.execution.device, dtype, bool(kept["channels_last"]))
            self.execution.place(self.model).load_state_dict(groups["model"])
            if self.average is not None:
                for name, value in self.average.weights.items():
                    value.copy_(groups["average"][name])
            self.optimisation.restore(groups["optimisation"], values["optimisation"])
            self.measured = groups["measured"]
            self.epoch, self.step = int(values["epoch"]), int(values["step"])
            self.epoch_seconds, self.history = float(values["epoch_seconds"]), list(values["history"])
        except _DAMAGED as error:
            raise TrainingError(f"{path} is damaged ({error}): {_AGAIN}") from error

    def sidecar(self) -> dict[str, Any]:
        """The fields of the checkpoint's sidecar besides the weights' hash."""
        recipe, size = self.recipe, self.recipe.image_sizes[-1]
        mean, deviation = self.statistics
        origin = {} if self.fixes is None else {"fixes": self.fixes.summary()}
        if self.initial is not None:
            origin["init"] = {"weights_sha256": self.initial.sha256}
        return {
            "architecture": recipe.architecture,
            "width": recipe.width,
            "parameters": checkpoint.parameter_count(self.model),
            "classes": list(self.train.classes),
            "image_size": size,
            "mean": list(mean),
            "std": list(deviation),
            "cam_layers": cam_layers(self.model, size),
            "recipe": recipe.to_json(),
            "seed": recipe.seed,
            **origin,
            "precision": self.execution.precision,
            "layout": "channels_last" if self.execution.channels_last else "contiguous",
            "watched_test": self.watch_test,
            "measured": {**(self.history[-1] if self.history else {}), **self.final},
            "train_seconds": round(sum(row["seconds"] for row in self.history), 1),
            "data": {
                "name": self.train.name,
                "fingerprint_train": self.train.fingerprint,
                "fingerprint_test": None if self.test is None else self.test.fingerprint,
                "train_rows": len(self.train_rows),
                "validation_rows": len(self.validation_rows),
                "test_rows": 0 if self.test is None else len(self.test),
            },
            "versions": sidecar.versions(),
            "git_revision": checkpoint.git_revision(),
        }


def row_columns(session: Session) -> Tensor:
    """Column of ``measured`` by train row number, int64 ``(all train rows,)``; -1 for validation rows."""
    columns = np.full(len(session.train), -1, np.int64)
    columns[session.train_rows] = np.arange(len(session.train_rows))
    return torch.from_numpy(columns)
