"""The options of a report, which its manifest keeps."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.cli.inputs import DATA, pair, place
from workbench.core.names import read_names
from workbench.errors import DataError


def _option(help: str, *, path: bool = False, metavar: str | None = None, type: Any = str) -> dict[str, Any]:
    """The help of a field's option, whether it names a ``path``, and the type of its value."""
    return {"help": help, "path": path, "metavar": metavar, "type": type}


@dataclass(frozen=True)
class ReportOptions:
    """What decides a report: the options of its command and the arguments in its manifest, from one list.

    A new option is a new field.
    """

    predictions: Path | str | None = field(
        default=None,
        metadata=_option(
            "output of predict (a folder or URL), or a table such as .csv or .parquet, .npz or .npy; default: those of "
            "--checkpoint",
            path=True,
            type=place,
        ),
    )
    checkpoint: Path | None = field(
        default=None,
        metadata=_option("folder with the model, for Grad-CAM and the training curves", path=True, type=Path),
    )
    data: str | None = field(default=None, metadata=_option(DATA, path=True))
    compare: Path | None = field(
        default=None, metadata=_option("predictions of a second model on the same rows", path=True, type=Path)
    )
    votes: Path | None = field(
        default=None,
        metadata=_option(".npy of human labels (rows, classes), counts or shares, by row id", path=True, type=Path),
    )
    train: Path | None = field(
        default=None,
        metadata=_option("predictions on the train split, for neighbours and typicality", path=True, type=Path),
    )
    classes: str | None = field(
        default=None,
        metadata=_option(
            "class names of a foreign file in the order of its columns, separated by commas; one with a comma in quotes"
        ),
    )
    classes_file: Path | None = field(
        default=None,
        metadata=_option(
            "a file of class names: one a line, or a JSON list or dictionary of names and numbers", path=True, type=Path
        ),
    )
    threshold: float | None = field(
        default=None,
        metadata=_option("of two classes, predict the second from this probability on (foreign files)", type=float),
    )
    limit_mb: float = field(default=15.0, metadata=_option("size limit of explorer.html, in million bytes", type=float))
    other_seed: tuple[Path, ...] = field(
        default=(),
        metadata=_option(
            "predictions of the first model's recipe with another seed, for errors of variance and as a baseline for "
            "--compare; may be repeated",
            path=True,
            metavar="PATH",
            type=Path,
        ),
    )
    features: Path | None = field(
        default=None,
        metadata=_option(
            ".npy of an embedding of your choice (rows, D), in the order of the predictions, for slices",
            path=True,
            type=Path,
        ),
    )
    layer: str | None = field(
        default=None,
        metadata=_option("a layer of the model, best an early one such as stage1, whose clusters are tried as slices"),
    )
    validation: Path | None = field(
        default=None,
        metadata=_option(
            "predictions on rows kept aside, such as a validation split, to fit a temperature on", path=True, type=Path
        ),
    )
    robustness: Path | None = field(
        default=None,
        metadata=_option("what the command robustness wrote of this model and these images", path=True, type=Path),
    )
    forecasts: Path | None = field(
        default=None,
        metadata=_option("what the command forecast wrote of this model and these images", path=True, type=Path),
    )
    costs: str = field(
        default="1,1",
        metadata=_option(
            "of two classes, what a false positive and a false negative cost, for the best threshold",
            metavar="FP,FN",
        ),
    )
    group: tuple[str, ...] = field(
        default=(),
        metadata=_option(
            "a group of classes, such as vehicle=car,truck; repeat it until every class is in one",
            metavar="NAME=CLASS,CLASS",
        ),
    )
    column: tuple[str, ...] = field(
        default=(),
        metadata=_option(
            "a foreign file's name for a column: label, predicted, probability, logit, index, embedding or path; "
            "may be repeated",
            metavar="OURS=THEIRS",
        ),
    )
    html: bool = field(
        default=False,
        metadata=_option(
            "add explorer.html: the views in one file that needs no kernel",
        ),
    )

    @classmethod
    def add_to(cls, parser: argparse.ArgumentParser, omit: Collection[str] = ()) -> None:
        """Add the options to a parser, but for those called ``omit``."""
        for one in dataclasses.fields(cls):
            if one.name in omit:
                continue
            told = one.metadata
            if isinstance(one.default, bool):
                parser.add_argument(_flag(one.name), action="store_true", help=told["help"])
                continue
            action = "append" if isinstance(one.default, tuple) else "store"
            default = [] if isinstance(one.default, tuple) else one.default
            parser.add_argument(
                _flag(one.name),
                action=action,
                type=told["type"],
                default=default,
                metavar=told["metavar"],
                help=told["help"],
            )

    @classmethod
    def parsed(cls, options: argparse.Namespace) -> ReportOptions:
        """The options among those that a command was given."""
        fields = dataclasses.fields(cls)
        given = {one.name: getattr(options, one.name) for one in fields if hasattr(options, one.name)}
        whole: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
        return cls(**whole)

    @classmethod
    def from_words(cls, words: Sequence[str], folder: Path) -> ReportOptions:
        """The options that a manifest in ``folder`` names, from `to_words`.

        Raises
        ------
        DataError
            If they name a URL: a manifest must not cause network access.
        """
        if named := [word for word in words if "://" in word]:
            raise DataError(
                f"the manifest in {folder}: expected paths, not {named[0]}: copy it here and write the report again"
            )
        parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
        cls.add_to(parser)
        parser.add_argument("--model")  # ignored: code runs only if the user names it, never because a manifest does
        try:
            options, unknown = parser.parse_known_args(list(words))
        except argparse.ArgumentError as error:
            raise DataError(f"the manifest in {folder} is damaged ({error}): write the report again") from error
        if unknown:
            raise DataError(f"the manifest in {folder} is damaged: unknown option {unknown[0]!r}")
        found = cls.parsed(options)
        return found._moved(lambda path: type(path)(folder / path) if (folder / path).exists() else path)

    def to_words(self, folder: Path) -> list[str]:
        """The options as arguments of a command, with paths relative to ``folder``, so that no machine is named."""
        relative = self._moved(lambda path: os.path.relpath(path, folder) if Path(path).exists() else path)
        words: list[str] = []
        for one in dataclasses.fields(relative):
            value = getattr(relative, one.name)
            if isinstance(value, bool):
                words += [_flag(one.name)] if value else []
            else:
                values = value if isinstance(value, tuple) else () if value is None else (value,)
                words += [word for each in values for word in (_flag(one.name), str(each))]
        return words

    def _moved(self, move: Callable[[Any], Any]) -> ReportOptions:
        """The options with every path moved."""
        changed: dict[str, Any] = {}
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if one.metadata["path"] and value is not None:
                changed[one.name] = tuple(map(move, value)) if isinstance(value, tuple) else move(value)
        return dataclasses.replace(self, **changed)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names in ``classes`` or ``classes_file``."""
        if self.classes_file is not None:
            if self.classes is not None:
                raise DataError("--classes and --classes-file: expected one of them, not both: omit one")
            return read_names(self.classes_file)
        if self.classes is None:
            return None
        return tuple(name.strip() for name in next(csv.reader([self.classes], skipinitialspace=True)))

    @property
    def error_costs(self) -> tuple[float, float]:
        """The costs of a false positive and of a false negative."""
        parts = self.costs.split(",")
        try:
            values = [float(part) for part in parts]
        except ValueError:
            values = []
        if len(values) != 2 or not all(0 < value < float("inf") for value in values):
            raise DataError(f"--costs: expected two numbers above 0 with a comma, such as 1,5, not {self.costs!r}")
        return values[0], values[1]

    @property
    def column_names(self) -> dict[str, str]:
        """A foreign file's names for our columns."""
        return dict(pair("--column", text) for text in self.column)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The classes of each group."""
        return {name: members.split(",") for name, members in (pair("--group", text) for text in self.group)}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
