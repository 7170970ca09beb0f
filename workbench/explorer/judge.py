"""Whether to believe single maps: the evidence for each, on a copy of the model."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from workbench.analysis.index import sample_errors
from workbench.attribution.attribute import attribute
from workbench.attribution.cost import expected_cost
from workbench.attribution.registry import method_of
from workbench.attribution.targets import Targets
from workbench.core.records import Attribution, ImageArray, IntArray, Verdict
from workbench.errors import AttributionError, DataError
from workbench.evidence.faithfulness import Bench
from workbench.evidence.sanity import SanityCheck, sanity_check
from workbench.evidence.stability import stability
from workbench.evidence.verdicts import Evidence
from workbench.explorer.explain import Explained, model_and_image
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve
from workbench.runs.run import Run

SANITY_IMAGES = 8


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
        _, image = model_and_image(self._run, row)
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
        with preserve(self._run.classifier.module):  # waits for other threads, so that none of their hooks is copied
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
            images = np.stack([model_and_image(run, int(row))[1] for row in rows])
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
