"""A bundle of figures and tables with a manifest of what they were computed from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench import figures, source
from workbench.analysis.classes import class_report
from workbench.analysis.confusion import confusion_matrix
from workbench.analysis.index import error_index
from workbench.attribution import methods
from workbench.errors import DataError
from workbench.files import refuse_to_overwrite, sha256, write_atomically
from workbench.records import Attribution, IntArray
from workbench.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANIFEST = "manifest.json"
SAMPLE = 20


def sample_errors(run: Run, count: int = SAMPLE, seed: int = 0) -> IntArray:
    """Row ids of ``count`` misclassified rows drawn without replacement, sorted: a fair sample, not the worst.

    Raises
    ------
    DataError
        If no row is misclassified.
    """
    wrong = run.predictions.index[~run.predictions.correct]
    if len(wrong) == 0:
        raise DataError("no row is misclassified: there is no error to show")
    return np.sort(np.random.default_rng(seed).choice(wrong, min(count, len(wrong)), replace=False))


def stage_maps(run: Run, rows: IntArray) -> dict[str, Attribution]:
    """Grad-CAM of the rows at every stage, for the predicted and for the true class, by column title.

    Raises
    ------
    DataError
        If the run has no images or no model.
    """
    if run.images is None or run.classifier is None:
        raise DataError("Grad-CAM needs the images and the model: give --data and --checkpoint")
    images = run.images.pixels[rows]
    places = [run.predictions.position(int(row)) for row in rows]
    columns: dict[str, Attribution] = {}
    for name, target in (("predicted", run.predictions.predicted), ("true", run.predictions.label)):
        maps = methods.grad_cam(run.classifier, images, rows, target[places], list(run.classifier.cam_layers))
        columns |= {f"{layer}\n{name}": attribution for layer, attribution in maps.items()}
    return columns


def report(run: Run, out: Path, *, checkpoint: Path | None = None, force: bool = False) -> list[str]:
    """Write the bundle into ``out`` and return one line for each thing left out, with the reason.

    Figures as PNG and SVG: ``confusion_matrix``, ``confusion_matrix_by_true_class``,
    ``class_error_rates``, ``misclassified``, ``gradcam_stages``, ``curves``. Tables: ``errors.csv``
    and ``errors.parquet`` (the index of errors, highest loss first). ``manifest.json`` names the hashes of
    checkpoint, data and every file.

    Raises
    ------
    OutputError
        If ``out`` holds a bundle and ``force`` is off, the disk is full or the folder can't be written.
    """
    refuse_to_overwrite([out / MANIFEST], force)
    matrix = confusion_matrix(run.predictions)
    drawn: dict[str, Callable[[], Figure | None]] = {
        "confusion_matrix": lambda: figures.figure_of(figures.confusion_matrix(matrix)),
        "confusion_matrix_by_true_class": lambda: figures.figure_of(figures.confusion_matrix(matrix, by="true")),
        "class_error_rates": lambda: figures.figure_of(figures.class_error_rates(class_report(run.predictions))),
        "curves": lambda: source.training_curves(checkpoint) if checkpoint is not None else None,
    }
    left_out: list[str] = []
    if run.images is None or run.predictions.error_count == 0:
        why = "there are no images" if run.images is None else "no row is misclassified"
        left_out += [f"misclassified: {why}", f"gradcam_stages: {why}"]
    else:
        images, rows = run.images, sample_errors(run)
        drawn["misclassified"] = lambda: figures.image_grid(images, run.predictions, rows)
        if run.classifier is None:
            left_out.append("gradcam_stages: there is no model")
        else:
            drawn["gradcam_stages"] = lambda: figures.attribution_grid(images, run.predictions, stage_maps(run, rows))
    files: list[Path] = []
    for name, draw in drawn.items():
        figure = draw()
        if figure is None:
            left_out.append(f"{name}: there is no history.csv beside the checkpoint")
            continue
        files += figures.save(figure, out / name)
    table = error_index(run.predictions)
    for path, write in ((out / "errors.csv", table.write_csv), (out / "errors.parquet", table.write_parquet)):
        write_atomically(path, write)
        files.append(path)
    manifest = {
        "run": run.name,
        "rows": len(run.predictions),
        "errors": run.predictions.error_count,
        "accuracy": run.predictions.accuracy,
        "provenance": run.predictions.provenance.to_json(),
        "images": None if run.images is None else run.images.fingerprint,
        "left_out": left_out,
        "files": {path.name: sha256(path) for path in sorted(files)},
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    write_atomically(out / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))
    return left_out
