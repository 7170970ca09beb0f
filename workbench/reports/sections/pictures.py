"""The errors themselves, and Grad-CAM of them."""

from __future__ import annotations

from workbench import figures
from workbench.analysis.index import sample_errors
from workbench.attribution.stages import stage_maps
from workbench.reports.bundle import Bundle
from workbench.reports.material import Material


def section(material: Material) -> Bundle:
    """A random sample of the misclassified images and, with a model, their Grad-CAM maps at every stage."""
    run = material.run
    if run.images is None or run.predictions.error_count == 0:
        why = "there are no images" if run.images is None else "no row is misclassified"
        return Bundle(omitted=[f"misclassified: {why}", f"gradcam_stages: {why}"])
    images, rows = run.images, sample_errors(run.predictions)
    bundle = Bundle(figures={"misclassified": lambda: figures.image_grid(images, run.predictions, rows)})
    if run.classifier is None:
        bundle.omitted.append("gradcam_stages: there is no model")
        return bundle
    maps, seen = stage_maps(run, rows), run.classifier.seen(images)
    bundle.figures["gradcam_stages"] = lambda: figures.attribution_grid(seen, run.predictions, maps)
    return bundle
