"""The commands ``report`` and ``verify``, and the options of a report, which its manifest keeps."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.commands import advance
from workbench.cli.inputs import DATA, bad_option, classifier_named, pair, place
from workbench.errors import DataError

if TYPE_CHECKING:
    from workbench.core.predictions import Predictions
    from workbench.runs.run import Run


def _option(help: str, *, path: bool = False, metavar: str | None = None, type: Any = str) -> dict[str, Any]:
    """What the option of a field says, whether it names a ``path``, and how its word is read."""
    return {"help": help, "path": path, "metavar": metavar, "type": type}


@dataclass(frozen=True)
class ReportOptions:
    """What decides a report: the options of its command and the words that its manifest keeps, from one list.

    A further option is a further field.
    """

    predictions: Path | str | None = field(
        default=None,
        metadata=_option(
            "what predict wrote (a folder or URL), or a .parquet, .csv or .npz; default: those of --checkpoint",
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
        default=None, metadata=_option("class names of a foreign file in the order of its columns, separated by commas")
    )
    limit_mb: float = field(default=15.0, metadata=_option("size of explorer.html, in million bytes", type=float))
    other_seed: tuple[Path, ...] = field(
        default=(),
        metadata=_option(
            "predictions of the first model's recipe with another seed, to judge --compare by; may be repeated",
            path=True,
            metavar="PATH",
            type=Path,
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
            "what a foreign file calls a column: label, probability, logit, index or embedding; may be repeated",
            metavar="OURS=THEIRS",
        ),
    )
    html: bool = field(
        default=False,
        metadata=_option(
            "add explorer.html: the views in one file without a kernel",
        ),
    )

    @classmethod
    def add_to(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options to a parser."""
        for one in dataclasses.fields(cls):
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
        given = {one.name: getattr(options, one.name) for one in dataclasses.fields(cls)}
        whole: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
        return cls(**whole)

    @classmethod
    def from_words(cls, words: Sequence[str], folder: Path) -> ReportOptions:
        """The options that a manifest in ``folder`` names, from `to_words`.

        Raises
        ------
        DataError
            If they name a URL: no network is asked because a file says so.
        """
        if named := [word for word in words if "://" in word]:
            raise DataError(
                f"the manifest names {named[0]}, and no network is asked because a file says so: name it yourself"
            )
        parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
        cls.add_to(parser)
        parser.add_argument("--model")  # ignored: code is run where the user names it, never because a manifest does
        try:
            options, unknown = parser.parse_known_args(list(words))
        except argparse.ArgumentError as error:
            raise DataError(f"the manifest in {folder} is damaged ({error})") from error
        if unknown:
            raise DataError(f"the manifest in {folder} is damaged: unknown option {unknown[0]!r}")
        found = cls.parsed(options)
        return found._moved(lambda path: type(path)(folder / path) if (folder / path).exists() else path)

    def to_words(self, folder: Path) -> list[str]:
        """The options as words of a command, paths relative to ``folder``, so that no machine's folders are named."""
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
    def class_names(self) -> list[str] | None:
        """The names in ``classes``."""
        return None if self.classes is None else [name.strip() for name in self.classes.split(",")]

    @property
    def column_names(self) -> dict[str, str]:
        """What a foreign file calls our columns."""
        return dict(pair("--column", text) for text in self.column)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The classes of each group."""
        return {name: members.split(",") for name, members in (pair("--group", text) for text in self.group)}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def report(options: argparse.Namespace) -> int:
    """Write a bundle of figures and tables."""
    run, omitted = _write(ReportOptions.parsed(options), options.out, model=options.model, force=options.force)
    for line in (*run.notes, *(f"omitted {line}" for line in omitted)):
        print(line)
    print(f"written to {options.out}")
    return 0


def _write(
    options: ReportOptions, out: Path, *, model: str | None = None, only: str | None = None, force: bool = False
) -> tuple[Run, list[str]]:
    """Write the bundle, or the file ``only`` of it; the run, and a line for each thing omitted."""
    from workbench.analysis.votes import read_votes
    from workbench.reports.material import joined
    from workbench.reports.report import write_report
    from workbench.runs.opening import images_of
    from workbench.runs.run import Run, with_votes

    run = _opened(options, model)
    read = functools.partial(_read, options=options, classes=run.predictions.classes)
    train = None if options.train is None else read(options.train)
    votes = None if options.votes is None else read_votes(options.votes)
    compared = None if options.compare is None else read(options.compare)
    material = joined(
        run,
        checkpoint=options.checkpoint,
        compared=compared,
        seeds=[read(path) for path in options.other_seed],
        groups=options.groups,
        votes=votes,
        train=train,
        train_images=None if train is None else images_of(train, options.data),
    )
    documents: dict[str, Callable[[], str]] = {}
    missing: list[str] = []
    if options.html:
        shown = run if votes is None else with_votes(run, votes)
        second = None if compared is None or options.compare is None else Run(options.compare.name, compared)
        documents["explorer.html"] = lambda: _page(shown, second, options.limit_mb, missing)
    command = ["report", *options.to_words(out)]
    omitted = write_report(material, out, documents=documents, command=command, only=only, force=force)
    return run, [*omitted, *missing]


def _opened(options: ReportOptions, model: str | None) -> Run:
    from workbench.runs.opening import open_predictions

    return open_predictions(
        options.predictions,
        options.checkpoint,
        options.data,
        classifier=classifier_named(None, model) if model else None,
        classes=options.class_names,
        columns=options.column_names,
    )


def _read(path: Path, options: ReportOptions, classes: Sequence[str]) -> Predictions:
    from workbench import store

    return store.read(path) if path.is_dir() else store.read(path, classes=classes, columns=options.column_names)


def _page(run: Run, compared: Run | None, limit_mb: float, missing: list[str]) -> str:
    """The stand-alone page, with a progress bar for its maps; what it omits is added to ``missing``."""
    from tqdm import tqdm

    from workbench.explorer import page
    from workbench.explorer.state import ExplorerState

    if limit_mb <= 0:
        raise bad_option("--limit-mb", "a size above 0", limit_mb)
    with tqdm(unit="image", desc="maps", disable=None) as bar:
        text, omitted = page.page(
            ExplorerState(run, compared=compared), limit_mb=limit_mb, progress=functools.partial(advance, bar)
        )
    missing += omitted
    return text


def verify(options: argparse.Namespace) -> int:
    """Regenerate a file and say whether it is the same; 1 if it is not."""
    from workbench.reports import verify

    folder = options.file.parent
    given = {name: getattr(options, name) for name in ("predictions", "checkpoint", "data")}
    given = {name: value for name, value in given.items() if value is not None}

    def of_manifest() -> ReportOptions:
        return ReportOptions.from_words(verify.command_of(options.file)[1:], folder)

    def regenerate(into: Path, only: str) -> None:
        _write(dataclasses.replace(of_manifest(), **given), into, model=options.model, only=only)

    named = "predictions" in given or "checkpoint" in given
    has_manifest = (folder / "manifest.json").is_file()
    wanted = dataclasses.replace(of_manifest(), **given) if has_manifest and not named else ReportOptions(**given)

    def open_run() -> Run:
        return _opened(_beside(options.file, wanted, options.model), options.model)

    found = verify.verify(options.file, open_run, regenerate)
    for line in found:
        print(line)
    print(f"{'different' if found else 'same'}: {options.file}")
    return 1 if found else 0


def _beside(file: Path, options: ReportOptions, model: str | None) -> ReportOptions:
    """For a shard of predictions what lies around it stands in for what is not named."""
    from workbench.reports.verify import is_predictions

    if not is_predictions(file):
        return options
    changed: Mapping[str, Path] = {"predictions": file.parent} if options.predictions is None else {}
    if options.checkpoint is None and model is None:
        changed = {**changed, "checkpoint": file.parent.parent}
    return dataclasses.replace(options, **changed)  # type: ignore[arg-type]
