"""Maps of one image by several methods, layers and targets, and whether to trust them."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from workbench.analysis.index import sample_errors
from workbench.attribution.attribute import attribute
from workbench.attribution.cost import expected_cost
from workbench.attribution.registry import method_of
from workbench.attribution.targets import NamedTarget, Targets, named_targets
from workbench.core.records import Attribution, ImageArray, ImageSet, IntArray, Verdict
from workbench.errors import AttributionError, DataError
from workbench.evidence.faithfulness import Bench
from workbench.evidence.sanity import SanityCheck, sanity_check
from workbench.evidence.stability import stability
from workbench.evidence.verdicts import Evidence
from workbench.models.classifier import Classifier
from workbench.models.hooks import untouched
from workbench.runs.run import Run

SANITY_IMAGES = 8


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
) -> list[Explained]:
    """The maps of row id ``row``: for each method, at each layer if it has layers, one for each target.

    ``layers`` names CAM layers, empty for the last one; a target is ``predicted``, ``true``, ``contrast`` (why the
    predicted and not the true class) or a class's name. Of several targets that are the same class the first is kept,
    and a contrast is omitted where the row is correct. ``classifier`` and ``images`` replace the run's own, for example
    with a copy that another thread may use; once ``stopped()`` is true, maps that are not yet begun are omitted.

    Raises
    ------
    DataError
        If there are no images or no model, or there is no such row.
    AttributionError
        If a method, layer or target does not exist.
    """
    classifier, image = _parts(
        dataclasses.replace(run, classifier=classifier or run.classifier, images=images or run.images), row
    )
    return explain_image(classifier, image, row, methods, layers, named_targets(run.predictions, row, targets), stopped)


def explain_image(
    classifier: Classifier,
    image: ImageArray,
    row: int,
    methods: Sequence[str],
    layers: Sequence[str],
    targets: Sequence[NamedTarget],
    stopped: Callable[[], bool] = lambda: False,
) -> list[Explained]:
    """As `explain`, for any image uint8 ``(H, W, 3)``; ``row`` seeds the random numbers of a method."""
    found: list[Explained] = []
    for name in methods:
        method = method_of(name)
        try:
            at = method.layer_names(classifier, layers)
        except AttributionError as error:
            found += [Explained(t.title, method.name, "", t.name, None, str(error)) for t in targets]
            continue
        for layer in at:
            if stopped():
                return found
            # plain targets and contrasts are two requests, each for all of its targets at once
            made: dict[str, Explained] = {}
            for part in ([t for t in targets if t.against < 0], [t for t in targets if t.against >= 0]):
                made |= _made(classifier, image, row, method.name, layer, part)
            found += [made[target.name] for target in targets]
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


def _parts(run: Run, row: int) -> tuple[Classifier, ImageArray]:
    if run.images is None or run.classifier is None:
        missing = "images are" if run.images is None else "model is"
        raise DataError(f"No maps: the {missing} not on this machine.")
    run.predictions.position(row)
    return run.classifier, run.classifier.seen(run.images).image(row)


class Judge:
    """Evaluates single maps on a copy of the model, so that the model itself stays free for other threads.

    The sanity check of a method at a layer is run once, on eight of the run's errors, and cached.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._sanity: dict[tuple[str, str], SanityCheck] = {}

    def verdict(self, row: int, explained: Explained) -> tuple[Verdict, str]:
        """The verdict on a map of `explain` with its reasons in a sentence (see `Evidence.verdict`).

        Raises
        ------
        AttributionError
            If there is no map, or the method refuses.
        """
        if explained.attribution is None:
            raise AttributionError(explained.refused)
        classifier, maps = self.classifier, explained.attribution
        _, image = _parts(self._run, row)
        targets = Targets(maps.targets, maps.against)

        def again(images: ImageArray) -> Attribution:
            return self._made(classifier, images, maps.rows, targets, explained)

        bench = Bench(classifier, image[None], maps.rows, targets)
        evidence = Evidence(
            maps, bench.faithfulness(maps), stability(image[None], maps, again), self._sane(classifier, explained)
        )
        return evidence.verdict(0)

    @cached_property
    def classifier(self) -> Classifier:
        """A copy of the run's model, for one thread to use while another uses the model itself."""
        if self._run.classifier is None:
            raise DataError("No maps: the model is not on this machine.")
        with untouched(self._run.classifier.module):  # waits for other threads, so that none of their hooks is copied
            module = copy.deepcopy(self._run.classifier.module)
        return dataclasses.replace(self._run.classifier, module=module)

    def seconds(self, methods: Sequence[str], layers: Sequence[str], targets: int) -> float:
        """Estimated time for the maps of one image, in seconds."""
        total = 0.0
        for method in (method_of(name) for name in methods):
            with contextlib.suppress(AttributionError):  # a refused method takes no time
                at = method.layer_names(self.classifier, layers)
                total += sum(expected_cost(self.classifier, method, targets, layer).seconds for layer in at)
        return total

    def _sane(self, classifier: Classifier, explained: Explained) -> SanityCheck:
        key = (explained.method, explained.layer)
        if key not in self._sanity:
            run = self._run
            wrong = run.predictions.error_count > 0
            rows = sample_errors(run.predictions, SANITY_IMAGES) if wrong else run.predictions.index[:SANITY_IMAGES]
            places = np.array([run.predictions.position(int(row)) for row in rows])
            targets = Targets(run.predictions.predicted[places])
            images = np.stack([_parts(run, int(row))[1] for row in rows])
            self._sanity[key] = sanity_check(
                classifier, lambda changed: self._made(changed, images, rows, targets, explained)
            )
        return self._sanity[key]

    @staticmethod
    def _made(
        classifier: Classifier, images: ImageArray, rows: IntArray, targets: Targets, like: Explained
    ) -> Attribution:
        layers = [like.layer] if like.layer else []
        return attribute(classifier, images, rows, targets, like.method, layers=layers)[like.layer]
