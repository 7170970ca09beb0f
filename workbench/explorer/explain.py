"""Maps of one image by several methods, layers and targets, and whether to trust them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.attribution.attribute import attribute
from workbench.attribution.registry import method_of
from workbench.attribution.targets import NamedTarget, Targets, named_targets
from workbench.core.records import Attribution, ImageArray, ImageSet
from workbench.errors import AttributionError, DataError
from workbench.models.classifier import Classifier
from workbench.runs.run import Run


@dataclass(frozen=True)
class Explained:
    """One map of one image, or the reason why there is none; ``title`` names what is explained."""

    title: str
    method: str
    layer: str
    target: str
    attribution: Attribution | None
    refused: str = ""


def explain(
    run: Run,
    row: int,
    methods: Sequence[str],
    layers: Sequence[str],
    targets: Sequence[str],
    *,
    classifier: Classifier | None = None,
    images: ImageSet | None = None,
    stopped: Callable[[], bool] = lambda: False,
    tell: Callable[[list[Explained]], None] = lambda _: None,
) -> list[Explained]:
    """The maps of row id ``row``: for each method, at each layer if it has layers, one for each target.

    ``layers`` names CAM layers, empty for the last one; a target is ``predicted``, ``true``, ``contrast`` (why the
    predicted and not the true class) or a class's name. Of several targets that are the same class the first is kept,
    and a contrast is omitted where the row is correct. ``classifier`` and ``images`` replace the run's own, for example
    with a copy that another thread may use; once ``stopped()`` is true, maps that are not yet begun are omitted.
    ``tell`` hears the maps of each method and layer as soon as they are made.

    Raises
    ------
    DataError
        If there are no images or no model, or there is no such row.
    AttributionError
        If a method, layer or target does not exist.
    """
    classifier, image = model_and_image(
        dataclasses.replace(run, classifier=classifier or run.classifier, images=images or run.images), row
    )
    named = named_targets(run.predictions, row, targets)
    return explain_image(classifier, image, row, methods, layers, named, stopped, tell)


def explain_image(
    classifier: Classifier,
    image: ImageArray,
    row: int,
    methods: Sequence[str],
    layers: Sequence[str],
    targets: Sequence[NamedTarget],
    stopped: Callable[[], bool] = lambda: False,
    tell: Callable[[list[Explained]], None] = lambda _: None,
) -> list[Explained]:
    """As `explain`, for any image uint8 ``(H, W, 3)``; ``row`` seeds the random numbers of a method."""
    found: list[Explained] = []
    for name in methods:
        method = method_of(name)
        try:
            at = method.layer_names(classifier, layers)
        except AttributionError as error:
            refused = [Explained(t.title, method.name, "", t.name, None, str(error)) for t in targets]
            tell(refused)
            found += refused
            continue
        for layer in at:
            if stopped():
                return found
            # plain targets and contrasts are two requests, each for all of its targets at once
            made: dict[str, Explained] = {}
            for part in ([t for t in targets if t.against < 0], [t for t in targets if t.against >= 0]):
                made |= _made(classifier, image, row, method.name, layer, part)
            group = [made[target.name] for target in targets]
            tell(group)
            found += group
    return found


def _made(
    classifier: Classifier, image: ImageArray, row: int, method: str, layer: str, targets: Sequence[NamedTarget]
) -> dict[str, Explained]:
    """The maps of one method at one layer, keyed by the target's name."""
    if not targets:
        return {}
    of = np.array([target.of for target in targets])
    against = None if targets[0].against < 0 else np.array([target.against for target in targets])
    images, rows = np.repeat(image[None], len(targets), axis=0), np.full(len(targets), row)
    try:
        wanted = Targets(of, against)
        whole = attribute(classifier, images, rows, wanted, method, layers=[layer] if layer else [])[layer]
    except AttributionError as error:
        return {t.name: Explained(t.title, method, layer, t.name, None, str(error)) for t in targets}
    return {
        t.name: Explained(t.title, method, layer, t.name, whole.part(slice(k, k + 1))) for k, t in enumerate(targets)
    }


def model_and_image(run: Run, row: int) -> tuple[Classifier, ImageArray]:
    """The run's model, and an image as it sees it; `DataError` if one of them is not on this machine."""
    if run.images is None or run.classifier is None:
        missing = "images are" if run.images is None else "model is"
        raise DataError(f"No maps: the {missing} not on this machine.")
    run.predictions.position(row)
    return run.classifier, run.classifier.seen(run.images).image(row)
