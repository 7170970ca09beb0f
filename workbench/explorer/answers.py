"""The views' questions to the kernel, and the answers: JSON values and buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from workbench.attribution.registry import is_slow, methods
from workbench.core.records import ImageArray
from workbench.errors import AttributionError, DataError
from workbench.explorer.details import Details
from workbench.explorer.explanations import Explanations
from workbench.explorer.replies import (
    THUMBNAIL,
    Reply,
    columns_reply,
    images_here,
    method_header,
    send_column,
)
from workbench.explorer.saved import Saved
from workbench.explorer.state import ExplorerState
from workbench.explorer.words import NEIGHBOURS, SLOWLY
from workbench.explorer.work import Job, Report
from workbench.images import render

FIRST_ROWS, FIRST_IMAGES, FIRST_SIDE = 50_000, 80, 128


class Answers:
    """Answers to the views' questions about one state.

    Modules that draw or explain are imported when they are first needed, so that the explorer itself appears at once.
    """

    def __init__(self, state: ExplorerState) -> None:
        self.state = state
        self._details = Details(state)
        self._saved = Saved(state)
        self._explanations = Explanations(state)

    def takes_long(self, ask: str, content: Mapping[str, Any]) -> bool:
        """Whether the answer belongs in the worker thread."""
        if ask == "explain":
            return any(self._is_slow(name) for name in content.get("methods", []))
        return ask in SLOWLY

    def _is_slow(self, name: str) -> bool:
        try:
            return is_slow(name, self.state.run.classifier)
        except AttributionError:  # told in the answer
            return False

    def at_once(self, ask: str, content: dict[str, Any], report: Report) -> Reply:
        """The answer to a short question; ``report`` receives the parts that are sent ahead of it.

        Raises
        ------
        DataError
            If the question is unknown, or as its answer raises it.
        """
        known = self.short_questions(report)
        if ask not in known:
            raise DataError(f"question: expected one of {', '.join(known)}, not {ask!r}")
        return known[ask](**content)

    def short_questions(self, report: Report) -> dict[str, Callable[..., Reply]]:
        """The answer to each question of `words.AT_ONCE`."""
        return {
            "start": lambda: self._start(report),
            "thumbnails": self._thumbnails,
            "detail": self._details.reply,
            "explain": lambda **what: self._explanations.explain(self._explanations.live_classifier, report, **what),
            "what_if": self._explanations.what_if,
            "decide": self._decide,
            "undo": lambda: self._decided(self.state.decisions.undo()),
            "redo": lambda: self._decided(self.state.decisions.redo()),
            "decisions": lambda: (self._decisions(), []),
            "cohorts": self._saved.cohorts,
            "save_cohort": self._saved.save_cohort,
            "remove_cohort": self._saved.remove_cohort,
            "similar": self._details.similar,
            "origins": self._details.origins,
            "counterparts": self._details.counterparts,
            "code": lambda: ({"text": self.state.code()}, []),
            "ping": lambda: ({}, []),
            "table": self._saved.table,
        }

    def slowly(self, ask: str, content: dict[str, Any], job: Job) -> Reply:
        """The answer to a long question, computed in the worker thread."""
        known: dict[str, Callable[..., Reply]] = {
            "findings": self._findings,
            "map": lambda name: self._map(name, job),
            "explain": lambda **what: self._explanations.explain_slowly(job, **what),
            "evidence": lambda **what: self._explanations.evidence(job, **what),
            "group": lambda rows: self._explanations.group(rows, job),
            "concepts": lambda **pair: self._explanations.concepts(job, **pair),
            "flips": lambda row: self._explanations.flips(job, row),
            "figure": self._figure,
            "warm_up": self._warm_up,
        }
        return known[ask](**content)

    def first(self) -> dict[str, Any]:
        """What the first paint needs, in the widget's own state, so that it waits for no answer; empty if it is large.

        ``start`` is the answer to that question, ``columns`` its columns with their bytes, ``thumbnails`` those of the
        errors of highest loss.
        """
        if len(self.state.predictions) > FIRST_ROWS:
            return {}
        columns = {
            name: {**column.header(), "data": np.ascontiguousarray(column.values).tobytes()}
            for name, column in self.state.columns().items()
        }
        found: dict[str, Any] = {"start": self._started(), "columns": columns}
        if self.state.run.images is not None and not self.state.selection["steps"]:  # a filter may take long to follow
            reply, buffers = self._thumbnails(self.state.rows[:FIRST_IMAGES].tolist(), FIRST_SIDE)
            found["thumbnails"] = {**reply, "side": FIRST_SIDE, "data": buffers[0]}
        return found

    def _start(self, report: Report) -> Reply:
        """Everything that the views draw; the columns are sent ahead, in parts of at most 4 MB."""
        columns = self.state.columns()
        for name, column in columns.items():
            send_column(report, name, column)
        return self._started(), []

    def _decisions(self) -> dict[str, Any]:
        decisions = self.state.decisions
        decisions.refresh()  # another person may be at work on this run
        return {
            "decisions": {str(row): decision.to_json() for row, decision in decisions.rows.items()},
            "unsaved": decisions.unsaved,
        }

    def _started(self) -> dict[str, Any]:
        run = self.state.run
        layers = [] if run.classifier is None else list(run.classifier.cam_layers.values())
        return {
            "header": self.state.header(),
            **self._decisions(),
            "kept": self.state.decisions.path is not None,
            "methods": [method_header(name, run.classifier) for name in methods()],
            "layers": [{"name": layer.name, "grid": list(layer.grid)} for layer in layers],
            "can": {
                "images": run.images is not None,
                "maps": run.images is not None and run.classifier is not None,
                "map": "embedding" in run.predictions.table.collect_schema(),
                "neighbours": run.train is not None,
                "similar": self._details.can_compare,
                "origins": self._details.can_trace,
                "compare": self.state.compared is not None,
                "fixes": self.state.decisions.for_training,
            },
        }

    def _thumbnails(self, rows: list[int], side: int = THUMBNAIL) -> Reply:
        """Thumbnails of the rows, at most ``side`` pixels wide and high, RGB, one after another in one buffer.

        The rows in ``missing`` have none.
        """
        images, missing = images_here(self.state.run.images), []

        def there() -> Iterator[ImageArray]:
            for row in rows:
                try:
                    yield images.image(row)
                except DataError:  # the answer reports it as missing
                    missing.append(row)

        pictures = render.thumbnails(there(), side)
        found = [row for row in rows if row not in set(missing)]
        return {"rows": found, "missing": missing, "shape": list(pictures.shape[1:3])}, [pictures.tobytes()]

    def _decide(self, rows: list[int], **change: Any) -> Reply:
        return self._decided(self.state.decisions.change(rows, **change))

    def _decided(self, rows: list[int]) -> Reply:
        decisions = self.state.decisions
        return {
            "changed": {str(row): decisions.rows[row].to_json() if row in decisions.rows else None for row in rows},
            "unsaved": decisions.unsaved,
        }, []

    def _warm_up(self) -> Reply:
        """Read, import and run what the first image and map need, on the copy of the model, ahead of them."""
        from workbench.explorer.explain import explain

        _ = self._details.histories
        if self.state.run.images is not None and self.state.run.classifier is not None:
            row = int(self.state.run.predictions.index[0])
            explain(
                self.state.run, row, ["Grad-CAM"], [], ["predicted"], classifier=self._explanations.judge.classifier
            )
        return {}, []

    def _findings(self) -> Reply:
        """The findings' cards, and a column of each in a buffer."""
        columns = self.state.add_findings()
        return columns_reply(self.state.findings_header(), columns)

    def _map(self, name: str, job: Job) -> Reply:
        if name == NEIGHBOURS:
            job.progress("Laying out neighbours (t-SNE): about a minute for 10,000 images, once.")
        points = self.state.place_map(name)
        unkept = self.state.unkept
        if self.state.shown is not None:
            ids = pl.DataFrame({"index": np.sort(self.state.predictions.index)})
            kept = ids.with_row_index("place").join(self.state.shown, on="index", how="semi", maintain_order="left")
            points = points[kept["place"].to_numpy()]
        return {"unkept": unkept}, [np.ascontiguousarray(points, np.float32).tobytes()]

    def _figure(self, view: str, format: str) -> Reply:
        from workbench.explorer import exports

        # on the copy of the model: a slow figure must not delay the next click
        model = None if self.state.run.classifier is None else self._explanations.judge.classifier
        return {"name": f"{view}.{format}"}, [exports.figure_bytes(self.state, view, format, model)]
