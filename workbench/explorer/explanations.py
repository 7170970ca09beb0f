"""Answers that run the model: maps, evidence, what a selection shares, concepts, changed images."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.attribution.registry import is_slow
from workbench.core.records import ImageArray, IntArray
from workbench.errors import DataError
from workbench.explorer.replies import Reply, bars_of, images_here, maps_reply
from workbench.explorer.state import ExplorerState
from workbench.explorer.work import Job, Report
from workbench.models.classifier import Classifier

if TYPE_CHECKING:
    from workbench.explorer.judge import Judge


class Explanations:
    """Answers to questions about the model of a state; what takes long runs on a copy of it.

    Modules that explain are imported when they are first needed.
    """

    def __init__(self, state: ExplorerState) -> None:
        self.state = state

    @cached_property
    def judge(self) -> Judge:
        """What judges maps, with the copy of the model that the worker thread uses."""
        from workbench.explorer.judge import Judge

        return Judge(self.state.run)

    @property
    def live_classifier(self) -> Classifier:
        """The run's model; `DataError` if it is not on this machine."""
        if self.state.run.classifier is None:
            raise DataError("No maps: the model is not on this machine. Open the predictions with checkpoint=.")
        return self.state.run.classifier

    def explain(
        self,
        classifier: Classifier,
        report: Report,
        row: int,
        methods: list[str],
        layers: list[str],
        targets: list[str],
        second: bool,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Reply:
        """The maps of a row, each method and layer reported as it is made, but the last ones, which are the answer.

        With ``second`` also those of the compared model, which come last.
        """
        from workbench.explorer.explain import Explained, explain

        state = self.state
        ready: list[Explained] = []  # made, not sent yet
        model = ""

        def tell(made: list[Explained]) -> None:
            if ready:
                said, buffers = maps_reply(ready, model)
                report({"part": "maps", **said}, buffers)
            ready[:] = made

        explain(state.run, row, methods, layers, targets, classifier=classifier, stopped=stopped, tell=tell)
        if second and state.compared is not None and state.compared.classifier is not None:
            tell([])
            model = state.compared.name
            layers = [layer for layer in layers if layer in state.compared.classifier.cam_layers]
            explain(state.compared, row, methods, layers, targets, images=state.run.images, stopped=stopped, tell=tell)
        return maps_reply(ready, model)

    def explain_slowly(self, job: Job, **what: Any) -> Reply:
        """As `explain`, on the copy of the model, after saying what it costs."""
        slow = [name for name in what["methods"] if is_slow(name, self.state.run.classifier)]
        seconds = self.judge.seconds(slow, what["layers"], len(what["targets"]))
        job.progress(f"{', '.join(slow)}: about {max(1, seconds):,.0f} s for this image")
        return self.explain(self.judge.classifier, job.report, stopped=job.stopped.is_set, **what)

    def evidence(self, job: Job, row: int, methods: list[str], layers: list[str], targets: list[str]) -> Reply:
        """The verdict on each map, by its place in those of `explain`, as soon as it is known; see `Judge.verdicts`."""
        from workbench.explorer.explain import explain

        found = explain(self.state.run, row, methods, layers, targets, classifier=self.judge.classifier)

        def tell(place: int, verdict: str, reasons: str) -> None:
            job.report({"progress": "", "place": place, "verdict": verdict, "reasons": reasons}, [])

        self.judge.verdicts(row, found, tell, job.stopped.is_set)
        return {}, []

    def group(self, rows: list[int], job: Job) -> Reply:
        """Where the model looks in some rows; see `group.group_reply`."""
        from workbench.explorer.group import group_reply

        job.progress("Computing the maps of a sample, and masking what they share …")
        return group_reply(self.state.run, rows, self.judge.classifier)

    def concepts(self, job: Job, *, pair: list[str], rows: list[int]) -> Reply:
        """What decides between two classes, or in some rows; see `pairs.concepts_reply`."""
        from workbench.explorer.pairs import concepts_reply

        words = f"the errors of {pair[0]} predicted as {pair[1]}" if pair else f"{len(rows):,} images"
        job.progress(f"Looking for the concepts of {words}: about half a minute …")
        return concepts_reply(self.state.run, self.judge.classifier, pair=pair, rows=rows)

    def what_if(
        self, row: int, change: dict[str, Any], methods: list[str], layers: list[str], maps: bool = True
    ) -> Reply:
        """The changed image, the model's prediction, and maps of the class now predicted and of the label, if asked."""
        from workbench.attribution.targets import named_targets
        from workbench.explorer.explain import explain_image
        from workbench.robustness.changes import Change, apply, probabilities

        run, classifier = self.state.run, self.live_classifier
        made = Change.from_json(change)
        image = apply(classifier.seen(images_here(run.images)).image(row), made)
        probability = probabilities(classifier, image[None])[0]
        label = int(run.predictions.label[run.predictions.position(row)])
        classes = run.predictions.classes
        fast = [name for name in methods if not is_slow(name, classifier)][:1] or ["Grad-CAM"]
        top = classes[int(probability.argmax())]
        targets = named_targets(run.predictions, row, [top, *({classes[label]} - {top})])
        found = explain_image(classifier, image, row, fast, layers[-1:], targets) if maps else []
        reply, buffers = maps_reply(found)
        reply |= {
            "shape": list(image.shape[:2]),
            "bars": bars_of(classes, probability, None, label),
            "code": made.code(),
        }
        return reply, [image.tobytes(), *buffers]

    def flips(self, job: Job, row: int) -> Reply:
        """The smallest change of each kind that gives another answer: its words, the change, and that answer's class.

        See `robustness.search.Search`. A kind that does not change the answer has no change.
        """
        from dataclasses import asdict

        from workbench.robustness.changes import Change, probabilities
        from workbench.robustness.kinds import KINDS
        from workbench.robustness.search import searches

        _ = self.live_classifier  # tells if there is none
        job.progress("Looking for the smallest change of each kind …")
        classifier, plain = self.judge.classifier, asdict(Change())
        image = classifier.seen(images_here(self.state.run.images)).image(row)

        def answers(batch: ImageArray) -> IntArray:
            return np.asarray(probabilities(classifier, batch).argmax(1))

        said = []
        for search in searches([image], answers(image[None]), list(KINDS.values()), answers, ids=np.array([row])):
            one: dict[str, Any] = {"kind": search.kind.name, "answer": search.answer}
            if search.strength is not None:
                made = asdict(search.kind.variants[search.variant](search.strength).seeded(row))
                one["words"] = search.kind.words(search.strength, search.variant)
                one["change"] = {name: value for name, value in made.items() if value != plain[name]}
            said.append(one)
        return {"flips": said}, []
