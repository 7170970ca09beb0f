"""The commands ``report`` and ``verify``."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.commands import advance
from workbench.cli.inputs import bad_option, classifier_named
from workbench.cli.options import ReportOptions

if TYPE_CHECKING:
    from workbench.core.predictions import Predictions
    from workbench.runs.run import Run


def report(options: argparse.Namespace) -> int:
    """Write a bundle of figures and tables."""
    run, omitted = _write(ReportOptions.parsed(options), options.out, model=options.model, force=options.force)
    for line in (*run.notes, *(f"omitted {line}" for line in omitted)):
        print(line)
    print(f"written to {options.out}")
    return 0


def findings(options: argparse.Namespace) -> int:
    """Write the findings alone."""
    import json

    given = ReportOptions.parsed(options)
    run, omitted = _write(given, options.out, model=options.model, force=options.force, sections=("findings",))
    found = json.loads((options.out / "findings.json").read_text(encoding="utf-8"))
    print(*run.notes, *(f"{place}. {one['sentence']}" for place, one in enumerate(found, 1)), sep="\n")
    left = json.loads((options.out / "metrics.json").read_text(encoding="utf-8"))["findings"]
    print(
        f"{left['remainder']:,} of {run.predictions.error_count:,} errors lie outside every finding that may explain "
        f"them; counting each finding's excess alone, about {left['unexplained']:.0f} are unexplained"
    )
    print(*(f"not looked for: {line}" for line in omitted), f"written to {options.out}", sep="\n")
    return 0


def _write(
    options: ReportOptions,
    out: Path,
    *,
    model: str | None = None,
    only: str | None = None,
    force: bool = False,
    sections: Sequence[str] | None = None,
) -> tuple[Run, list[str]]:
    """Write the bundle, or only its file ``only``; return the run, and a line for each thing omitted."""
    from workbench.analysis.votes import read_votes
    from workbench.core.arrays import read_matrix
    from workbench.core.files import refuse_to_overwrite
    from workbench.reports.bundle import MANIFEST
    from workbench.reports.material import join
    from workbench.reports.report import write_report
    from workbench.runs.parts import images_of
    from workbench.runs.run import Run, with_forecasts, with_robustness, with_votes

    refuse_to_overwrite([out / MANIFEST], force)  # before anything is computed
    costs = options.error_costs
    run = _opened(options, model)
    if options.robustness is not None:
        run = with_robustness(run, options.robustness)
    if options.forecasts is not None:
        run = with_forecasts(run, options.forecasts)
    read = functools.partial(_read, options=options, classes=run.predictions.classes)
    train = None if options.train is None else read(options.train)
    votes = None if options.votes is None else read_votes(options.votes)
    compared = None if options.compare is None else read(options.compare)
    material = join(
        run,
        checkpoint=options.checkpoint,
        compared=compared,
        seeds=[read(path) for path in options.other_seed] or None,
        groups=options.groups,
        votes=votes,
        train=train,
        train_images=None if train is None else images_of(train, options.data),
        features=None if options.features is None else read_matrix(options.features),
        layer=options.layer,
        validation=None if options.validation is None else read(options.validation),
        costs=costs,
    )
    documents: dict[str, Callable[[], str]] = {}
    missing: list[str] = []
    if options.html:
        shown = run if votes is None else with_votes(run, votes)
        second = None if compared is None or options.compare is None else Run(options.compare.name, compared)
        documents["explorer.html"] = lambda: _page(shown, second, options.limit_mb, missing)
    command = ["report", *options.to_words(out)]
    omitted = write_report(
        material, out, documents=documents, command=command, only=only, force=force, sections=sections
    )
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
        threshold=options.threshold,
    )


def _read(path: Path, options: ReportOptions, classes: Sequence[str]) -> Predictions:
    from workbench import store

    return (
        store.read(path)
        if path.is_dir()
        else store.read(path, classes=classes, columns=options.column_names, threshold=options.threshold)
    )


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
    """Regenerate a file and report whether it is the same; 1 if it is not."""
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
    """For a shard of predictions, the folders around it replace options that are not given."""
    from workbench.reports.verify import is_predictions

    if not is_predictions(file):
        return options
    changed: Mapping[str, Path] = {"predictions": file.parent} if options.predictions is None else {}
    if options.checkpoint is None and model is None:
        changed = {**changed, "checkpoint": file.parent.parent}
    return dataclasses.replace(options, **changed)  # type: ignore[arg-type]
