"""A bundle of figures, tables and numbers with a manifest of what they were computed from."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench import figures, source
from workbench.analysis.calibration import class_reliability, reliability, risk_coverage
from workbench.analysis.causes import causes, where_to_work
from workbench.analysis.classes import class_report
from workbench.analysis.compare import Comparison, churn_against_seeds, compare, paired
from workbench.analysis.confusion import asymmetries, confusion_matrix, grouped
from workbench.analysis.copies import SAME, join_copies
from workbench.analysis.dynamics import read_dynamics
from workbench.analysis.index import error_index
from workbench.analysis.labels import confident_joint, label_suspects, out_of_sample
from workbench.analysis.neighbours import ALIKE, join_neighbours
from workbench.analysis.slices import slice_table, systematic_failures
from workbench.analysis.summary import (
    calibration_metrics,
    churn_metrics,
    comparison_metrics,
    group_metrics,
    metrics,
    vote_metrics,
)
from workbench.analysis.votes import ambiguous, human_confusion, join_votes
from workbench.errors import DataError, OutputError
from workbench.files import refuse_to_overwrite, sha256, write_atomically, write_json
from workbench.maps import sample_errors, stage_maps
from workbench.predictions import Predictions
from workbench.records import ImageSet
from workbench.run import Run
from workbench.stamp import NAME, stamp_of, text_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

MANIFEST, METRICS = "manifest.json", "metrics.json"
DYNAMICS = "dynamics.parquet"


@dataclass
class _Bundle:
    """What is to be written: figures and tables by name, numbers, and what was left out and why."""

    figures: dict[str, Callable[[], Figure]] = field(default_factory=dict)
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def report(
    run: Run,
    out: Path,
    *,
    checkpoint: Path | None = None,
    compared: Predictions | None = None,
    seeds: Sequence[Predictions] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    votes: ArrayLike | None = None,
    train: Predictions | None = None,
    train_images: ImageSet | None = None,
    documents: Mapping[str, Callable[[], str]] | None = None,
    command: Sequence[str] = (),
    only: str | None = None,
    force: bool = False,
) -> list[str]:
    """Write the bundle into ``out`` and return one line for each thing left out, with the reason.

    Figures as PNG and SVG, tables as CSV (the index of errors as Parquet too), ``metrics.json``, and
    ``manifest.json``, which names the hashes of checkpoint, data and every file. The predictions alone give
    confusion, class rates, calibration, doubtful labels and causes; images give slices by look and the pictures;
    the model (``checkpoint``) Grad-CAM, curves and training dynamics; ``compared`` a second model on the same rows,
    and ``seeds`` further models of the first one's recipe, against whose spread its change is held; ``groups`` of
    classes a matrix of their own; ``votes`` people's answers ``(M, K)``; ``train`` (predictions on the train split,
    with embeddings) neighbours and typicality, and with ``train_images`` near-duplicates. ``documents`` are further
    texts by file name. Every file carries or is named with a stamp of its origin; ``command`` goes into the manifest,
    so that `verify` can repeat it, which writes the file ``only`` alone.

    Raises
    ------
    OutputError
        If ``out`` holds a bundle and ``force`` is off, the disk is full or the folder can't be written.
    DataError
        If the second model, the seeds, the groups, the votes or the train split do not fit the predictions.
    """
    refuse_to_overwrite([out / MANIFEST], force)
    if seeds and compared is None:
        raise DataError("seeds: they are held against a change of model; give the second model too (--compare)")
    bundle = _Bundle()
    predictions = run.predictions
    if votes is not None:
        predictions = join_votes(predictions, votes)
        _votes(bundle, predictions)
    if train is not None:
        predictions = join_neighbours(predictions, train)
        if run.images is not None and train_images is not None:
            predictions = join_copies(predictions, run.images, train, train_images)
        frame = predictions.columns("nearest_similarity", "correct")
        bundle.figures["neighbours"] = lambda: figures.figure_of(
            figures.neighbours(frame["nearest_similarity"].to_numpy(), frame["correct"].to_numpy())
        )
        _near_duplicates(bundle, predictions)
    if compared is not None:
        _comparison(bundle, run.predictions, compared)
        if seeds:
            bundle.metrics["churn"] = churn_metrics(churn_against_seeds([run.predictions, *seeds], compared))
    _classes(bundle, predictions)
    if groups:
        _groups(bundle, predictions, groups)
    _calibration(bundle, predictions, compared)
    _findings(bundle, run, predictions)
    _pictures(bundle, run)
    _training(bundle, checkpoint)
    return _write(bundle, run, out, documents or {}, command, only)


def _classes(bundle: _Bundle, predictions: Predictions) -> None:
    matrix = confusion_matrix(predictions)
    rates, uneven = class_report(matrix), asymmetries(matrix)
    classes = predictions.classes
    bundle.figures |= {
        "confusion_matrix": lambda: figures.figure_of(figures.confusion_matrix(matrix)),
        "confusion_matrix_by_true_class": lambda: figures.figure_of(figures.confusion_matrix(matrix, by="true")),
        "class_error_rates": lambda: figures.figure_of(figures.class_error_rates(rates)),
        "class_rates": lambda: figures.figure_of(figures.class_rates(rates)),
        "asymmetries": lambda: figures.figure_of(figures.asymmetries(uneven, classes)),
    }
    columns: dict[str, Any] = {"class": classes, "support": rates.support, "errors": rates.errors}
    for name in ("error_rate", "precision", "recall", "f1"):
        rate = getattr(rates, name)
        columns |= {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}
    bundle.tables["class_report"] = pl.DataFrame(columns)
    bundle.tables["asymmetries"] = uneven.with_columns(_named(classes, "first"), _named(classes, "second"))
    bundle.tables["errors"] = error_index(predictions)
    bundle.metrics |= metrics(predictions)


def _groups(bundle: _Bundle, predictions: Predictions, groups: Mapping[str, Sequence[str]]) -> None:
    matrix = grouped(confusion_matrix(predictions), groups)
    bundle.figures["group_confusion_matrix"] = lambda: figures.figure_of(figures.confusion_matrix(matrix))
    bundle.metrics["groups"] = group_metrics(matrix)


def _named(classes: tuple[str, ...], column: str) -> pl.Expr:
    return pl.lit(pl.Series(classes, dtype=pl.String)).gather(pl.col(column)).alias(column)


def _calibration(bundle: _Bundle, predictions: Predictions, compared: Predictions | None) -> None:
    diagram, curve = reliability(predictions), risk_coverage(predictions)
    other = None if compared is None else reliability(compared)
    of_classes = class_reliability(predictions)
    bundle.figures |= {
        "reliability": lambda: figures.figure_of(figures.reliability(diagram, compared=other)),
        "risk_coverage": lambda: figures.figure_of(figures.risk_coverage(curve)),
        "class_calibration": lambda: figures.figure_of(figures.class_calibration(predictions.classes, of_classes)),
    }
    bundle.metrics["ece_per_class"] = dict(zip(predictions.classes, (d.ece for d in of_classes), strict=True))


def _findings(bundle: _Bundle, run: Run, predictions: Predictions) -> None:
    if run.predictions.provenance.split == "train":
        bundle.left_out.append(
            "causes: the model was trained on these rows, so that its errors there are few and special"
        )
        _train_labels(bundle, predictions)
    else:
        _labels(bundle, predictions)
    try:
        found = systematic_failures(predictions, run.images)
    except DataError as error:
        bundle.left_out.append(f"slices: {error}")
        return
    bundle.tables["slices"] = slice_table(found)
    bundle.figures["slices"] = lambda: figures.figure_of(figures.slices(found))


def _train_labels(bundle: _Bundle, predictions: Predictions) -> None:
    """Doubtful train labels, by a linear classifier on the embeddings that has not seen the row."""
    bundle.metrics["label_noise_rate"] = None
    if predictions.embedding is None:
        bundle.left_out.append("label_suspects: the model was trained on these rows, and there are no embeddings")
        return
    judged = out_of_sample(predictions.embedding, predictions.label, predictions.classes, index=predictions.index)
    bundle.metrics["label_noise_rate"] = confident_joint(judged).noise_rate
    bundle.metrics["label_suspects_by"] = "five folds of a linear classifier on the model's embeddings"
    _suspects(bundle, judged)


def _suspects(bundle: _Bundle, predictions: Predictions) -> None:
    doubtful, classes = label_suspects(predictions), predictions.classes
    bundle.tables["label_suspects"] = doubtful.with_columns(_named(classes, "label"), _named(classes, "suggested"))
    bundle.figures["label_suspects"] = lambda: figures.figure_of(figures.suspects(doubtful, classes))


def _labels(bundle: _Bundle, predictions: Predictions) -> None:
    _suspects(bundle, predictions)
    verdicts = causes(predictions)
    work, classes = where_to_work(verdicts), predictions.classes
    bundle.tables |= {
        "causes": verdicts.with_columns(_named(classes, "label"), _named(classes, "predicted")),
        "where_to_work": work.with_columns(pl.col("examples").cast(pl.List(pl.String))),
    }
    bundle.figures["causes"] = lambda: figures.figure_of(figures.causes(work))


def _comparison(bundle: _Bundle, before: Predictions, after: Predictions) -> None:
    result: Comparison = compare(before, after)
    changed = paired(before, after).filter(pl.col("outcome").is_in(["fixed", "broken"])).sort("index")
    bundle.figures |= {
        "comparison": lambda: figures.figure_of(figures.outcomes(result)),
        "comparison_classes": lambda: figures.figure_of(figures.class_differences(result)),
    }
    bundle.tables["comparison"] = changed.collect(engine="streaming").with_columns(
        *(_named(before.classes, name) for name in ("label", "before", "after"))
    )
    bundle.metrics["comparison"] = {
        **comparison_metrics(result),
        "calibration": {"before": calibration_metrics(before), "after": calibration_metrics(after)},
    }


def _votes(bundle: _Bundle, predictions: Predictions) -> None:
    matrix, people = confusion_matrix(predictions), human_confusion(predictions)
    model, others = class_report(matrix), class_report(people)
    bundle.figures |= {
        "people_against_model": lambda: figures.figure_of(figures.human_against_model(model, others)),
        "people_confusion_matrix": lambda: figures.confusion_beside_people(matrix, people),
    }
    bundle.tables["ambiguous"] = ambiguous(predictions)
    bundle.metrics["votes"] = vote_metrics(predictions)


def _near_duplicates(bundle: _Bundle, predictions: Predictions) -> None:
    """Confirmed by the pictures if there are any, else candidates by the embeddings."""
    compared = "copy_row" in predictions.table.collect_schema()
    near, alike, least = ("copy", "correlation", SAME) if compared else ("nearest", "similarity", ALIKE)
    score, label = f"{near}_{alike}", f"{near}_label"
    rows = predictions.table.select("index", "label", f"{near}_row", label, score).filter(pl.col(score) >= least)
    found = rows.sort([score, "index"], descending=[True, False]).collect(engine="streaming")
    bundle.metrics["near_duplicates"] = {
        "rows": len(found),
        "with_another_label": int((found["label"] != found[label]).sum()),
        "by": f"{alike} of {'pictures' if compared else 'embeddings'} at least {least}",
    }
    classes = predictions.classes
    bundle.tables["near_duplicates"] = found.with_columns(_named(classes, "label"), _named(classes, label))


def _pictures(bundle: _Bundle, run: Run) -> None:
    if run.images is None or run.predictions.error_count == 0:
        why = "there are no images" if run.images is None else "no row is misclassified"
        bundle.left_out += [f"misclassified: {why}", f"gradcam_stages: {why}"]
        return
    images, rows = run.images, sample_errors(run)
    bundle.figures["misclassified"] = lambda: figures.image_grid(images, run.predictions, rows)
    if run.classifier is None:
        bundle.left_out.append("gradcam_stages: there is no model")
        return
    maps, seen = stage_maps(run, rows), run.classifier.seen(images)
    bundle.figures["gradcam_stages"] = lambda: figures.attribution_grid(seen, run.predictions, maps)


def _training(bundle: _Bundle, checkpoint: Path | None) -> None:
    curves = None if checkpoint is None else source.training_curves(checkpoint)
    if curves is None:
        bundle.left_out.append("curves: there is no history.csv beside the checkpoint")
    else:
        bundle.figures["curves"] = lambda: curves
    if checkpoint is None or not (checkpoint / DYNAMICS).is_file():
        bundle.left_out.append(f"training dynamics: there is no {DYNAMICS} beside the checkpoint")
        return
    frame = read_dynamics(checkpoint / DYNAMICS)
    bundle.tables["training_dynamics"] = frame.sort("confidence", "index")
    bundle.figures["training_dynamics"] = lambda: figures.figure_of(figures.cartography(frame))


def _write(
    bundle: _Bundle,
    run: Run,
    out: Path,
    documents: Mapping[str, Callable[[], str]],
    command: Sequence[str],
    only: str | None,
) -> list[str]:
    older = _written_before(out)
    (out / MANIFEST).unlink(missing_ok=True)  # first: what is killed from here on is no whole bundle
    for name in older:
        (out / name).unlink(missing_ok=True)
    files: list[Path] = []

    def wanted(name: str) -> bool:
        return only is None or Path(only).stem == name

    for name, draw in bundle.figures.items():
        if wanted(name):
            files += figures.save(draw(), out / name, stamp_of(run.predictions, "report", name))
    for name, table in bundle.tables.items():
        if wanted(name):
            write_atomically(out / f"{name}.csv", _flat(table).write_csv)
            files.append(out / f"{name}.csv")
    if wanted("errors"):
        said = {NAME: text_of(stamp_of(run.predictions, "report", "errors"))}
        write = functools.partial(bundle.tables["errors"].write_parquet, metadata=said)
        write_atomically(out / "errors.parquet", write)
        files.append(out / "errors.parquet")
    if wanted(Path(METRICS).stem):
        write_json(out / METRICS, bundle.metrics)
        files.append(out / METRICS)
    for name, make in documents.items():
        if wanted(Path(name).stem):
            write_atomically(out / name, functools.partial(_write_text, make()))
            files.append(out / name)
    manifest = {
        "run": run.name,
        "rows": len(run.predictions),
        "errors": run.predictions.error_count,
        "accuracy": run.predictions.accuracy,
        "provenance": run.predictions.provenance.to_json(),
        "images": None if run.images is None else run.images.fingerprint,
        "left_out": bundle.left_out,
        "stamp": stamp_of(run.predictions, "report", ""),
        "command": list(command),
        "files": {path.name: sha256(path) for path in sorted(files)},
    }
    write_json(out / MANIFEST, manifest)
    return bundle.left_out


def _flat(table: pl.DataFrame) -> pl.DataFrame:
    """The table as a CSV can hold it: lists of words joined, other lists left out."""
    words = [n for n, kind in table.schema.items() if kind == pl.List(pl.String)]
    joined = table.with_columns(pl.col(n).list.join(" ") for n in words)
    return joined.select(pl.exclude([n for n, kind in joined.schema.items() if kind.is_nested()]))


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _written_before(out: Path) -> list[str]:
    """The files of an older bundle in the folder, so that none of them lies beside the new one's."""
    if not (out / MANIFEST).is_file():
        return []
    try:
        names = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["files"]
        return [name for name in names if Path(name).name == name]
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{out / MANIFEST} is damaged: delete the folder, or choose another --out") from error
