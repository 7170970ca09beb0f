"""Whether to believe the maps of an image: the evidence for each, on a copy of the model."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from workbench.analysis.index import sample_errors
from workbench.analysis.statistics import benjamini_hochberg
from workbench.attribution.attribute import attribute
from workbench.attribution.cache import MapCache
from workbench.attribution.cost import expected_cost
from workbench.attribution.registry import is_slow, method_of
from workbench.attribution.targets import Targets, targets_of
from workbench.core.records import Attribution, FloatArray, ImageArray, IntArray, Verdict
from workbench.errors import AttributionError, DataError
from workbench.evidence.agreement import REFERENCES, Reference, agreement
from workbench.evidence.cells import CellEffects, cell_effects, evidence_grid
from workbench.evidence.sanity import SanityCheck, sanity_check
from workbench.evidence.stability import stability
from workbench.evidence.stored import Key, key_of, stored_verdicts
from workbench.evidence.verdicts import Evidence
from workbench.explorer.explain import Explained, model_and_image
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve
from workbench.runs.run import Run

SANITY_IMAGES = 8
LOOKS = (0.01, 0.04)  # the error rate spent on the verdicts after each block of splits, 0.05 in all
Tell = Callable[[int, Verdict, str], None]


@dataclass
class _Case:
    """One map under test: its place among those shown, its part of those of its kind of target, what is known of it."""

    place: int
    part: slice
    explained: Explained
    maps: Attribution
    evidence: Evidence | None = None
    told: tuple[Verdict, str] | None = None
    parts: tuple[FloatArray, SanityCheck] | None = None


class Judge:
    """Evaluates the maps of an image on a copy of the model, so that the model itself stays free for other threads.

    The sanity check of a method at a layer is run once, on eight of the run's errors, as far as it decides; maps of
    other images, the controls, are computed once for a method, layer and kind of target: 199 of them, or 99 of a slow
    method, of errors as far as there are such.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._sanity: dict[tuple[str, str], SanityCheck] = {}
        self._references: dict[tuple[str, str, str], Reference] = {}

    def verdicts(
        self, row: int, explained: Sequence[Explained], tell: Tell, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """Tell the verdict on each map of a row with its reasons (see `Evidence.verdict`), by place in ``explained``.

        What the cells of the image do is measured in two blocks of splits, and all maps are judged after each: first
        with a rate of error of 1 %, then of 4 % (Bonferroni over the two looks), so that a clear map has its verdict
        early. P-values are corrected over the maps shown; one that is not known yet counts as 1. A place is told of
        again when its verdict or its figures have changed. Verdicts that ``evidence`` has kept beside the maps are told
        at once, and not tested again.

        Raises
        ------
        AttributionError
            If a method refuses.
        """
        cases: list[_Case] = []
        for place, one in enumerate(explained):
            if (maps := one.attribution) is not None:
                if (kept := self._kept.get(key_of(maps, 0))) is not None:
                    tell(place, *kept)
                    continue
                before = sum((case.maps.against is None) == (maps.against is None) for case in cases)
                cases.append(_Case(place, slice(before, before + 1), one, maps))
        _, image = model_and_image(self._run, row)
        known: dict[tuple[int, bool], CellEffects] = {}
        for look, alpha in enumerate(LOOKS):
            for case in cases:
                if stopped():
                    return
                key = look, case.maps.against is not None
                if key not in known:
                    alike = [other.maps for other in cases if (other.maps.against is not None) == key[1]]
                    known[key] = self._effects(image, alike, look + 1, known.get((look - 1, key[1])))
                case.evidence = self._evidence(row, image, case, known[key])
                self._tell(cases, alpha, tell)

    def _effects(
        self, image: ImageArray, maps: Sequence[Attribution], blocks: int, known: CellEffects | None
    ) -> CellEffects:
        """What the cells do to each of the targets of some maps of an image, one after another."""
        of = np.concatenate([one.targets for one in maps])
        against = (
            None if maps[0].against is None else np.concatenate([o.against for o in maps if o.against is not None])
        )
        rows, images = np.repeat(maps[0].rows, len(maps)), np.repeat(image[None], len(maps), axis=0)
        grid = evidence_grid(self.classifier)
        return cell_effects(self.classifier, images, rows, Targets(of, against), grid, blocks=blocks, known=known)

    def _evidence(self, row: int, image: ImageArray, case: _Case, effects: CellEffects) -> Evidence:
        maps, targets = case.maps, Targets(case.maps.targets, case.maps.against)
        if case.parts is None:

            def again(images: ImageArray) -> Attribution:
                return self._made(self.classifier, images, maps.rows, targets, case.explained)

            case.parts = stability(self.classifier, image[None], maps, again), self._sane(case.explained)
        reference = self._reference(case.explained)
        return Evidence(maps, agreement(effects.part(case.part), maps.values, reference), *case.parts)

    @staticmethod
    def _tell(cases: Sequence[_Case], alpha: float, tell: Tell) -> None:
        """Tell of the cases with evidence whose verdict or figures are new, now that one more is known."""
        above = benjamini_hochberg([1.0 if case.evidence is None else case.evidence.p_value[0] for case in cases])
        below = benjamini_hochberg([1.0 if case.evidence is None else case.evidence.p_below[0] for case in cases])
        for case, p_value, p_below in zip(cases, above, below, strict=True):
            if case.evidence is None:
                continue
            verdict = case.evidence.verdict(0, float(p_value), float(p_below), alpha)
            if verdict != case.told:
                case.told = verdict
                tell(case.place, *verdict)

    @cached_property
    def _kept(self) -> Mapping[Key, tuple[Verdict, str]]:
        if self._run.folder is None:
            return {}
        return stored_verdicts(MapCache(self._run.folder / "maps"), self.classifier)

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

    def _sane(self, explained: Explained) -> SanityCheck:
        key = (explained.method, explained.layer)
        if key not in self._sanity:
            rows = self._sample(SANITY_IMAGES)
            images, targets = self._pictures(rows), targets_of(self._run.predictions, rows, "predicted")

            def compute(changed: Classifier) -> Attribution:
                return self._made(changed, images, rows, targets, explained)

            self._sanity[key] = sanity_check(self.classifier, compute, whole=False)
        return self._sanity[key]

    def _reference(self, explained: Explained) -> Reference:
        """Maps of other images by the same method, at the same layer, for the same kind of target."""
        key = (explained.method, explained.layer, explained.target)
        if key not in self._references:
            count = REFERENCES if is_slow(explained.method, self.classifier) else 2 * REFERENCES + 1
            rows = self._sample(count + 1, errors=explained.target == "contrast")
            targets = targets_of(self._run.predictions, rows, explained.target)
            maps = self._made(self.classifier, self._pictures(rows), rows, targets, explained)
            self._references[key] = Reference.of(maps.values, rows, evidence_grid(self.classifier))
        return self._references[key]

    def _sample(self, count: int, *, errors: bool = False) -> IntArray:
        """Rows of errors drawn at random, and if there are too few, others, unless only ``errors`` have the target."""
        predictions = self._run.predictions
        rows = sample_errors(predictions, count) if predictions.error_count else predictions.index[:0]
        if len(rows) == count or errors:
            return rows
        others = predictions.index[predictions.correct]
        drawn = np.random.default_rng(0).permutation(others)[: count - len(rows)]
        return np.concatenate([rows, drawn])

    def _pictures(self, rows: IntArray) -> ImageArray:
        return np.stack([model_and_image(self._run, int(row))[1] for row in rows])

    @staticmethod
    def _made(
        classifier: Classifier, images: ImageArray, rows: IntArray, targets: Targets, like: Explained
    ) -> Attribution:
        layers = [like.layer] if like.layer else []
        return attribute(classifier, images, rows, targets, like.method, layers=layers)[like.layer]
