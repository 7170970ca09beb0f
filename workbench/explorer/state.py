"""The explorer's state: the selection and the rows that follow from it; no widget, no drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import traitlets
from polars.selectors import by_name

from workbench.analysis import projection
from workbench.analysis.compare import compare, pair_rows
from workbench.analysis.index import NAMES, row_ids, select
from workbench.analysis.models import agreement, differences
from workbench.core.predictions import Predictions
from workbench.core.records import IntArray, ProbabilityArray, Query
from workbench.errors import DataError, OutputError
from workbench.explorer import cards, columns
from workbench.explorer.cards import flags, is_finding, membership
from workbench.explorer.decisions import Decisions
from workbench.explorer.selection import check_selection, inside, query
from workbench.explorer.words import COHORT, NEIGHBOURS, PRINCIPAL, START, shared_words
from workbench.findings.causes import causes
from workbench.findings.find import find
from workbench.findings.record import Findings
from workbench.runs.cohorts import cohorts
from workbench.runs.run import Run

CAUSE = "cause"


class ExplorerState(traitlets.HasTraits):
    """One selection and what follows from it; a view changes the state only by setting ``selection``.

    ``selection`` is a mapping as `selection.check_selection` describes: steps that filter the rows, the order, the row
    shown in detail and how it is explained. Omitted fields have their initial values.

    Parameters
    ----------
    run : Run
    compared : Run, optional
        A second model's run on the same rows.

    Raises
    ------
    DataError
        If the runs do not fit each other, or the decisions beside the run are damaged.
    """

    selection = traitlets.Dict()

    def __init__(self, run: Run, *, compared: Run | None = None, **traits: Any) -> None:
        if not isinstance(run, Run):
            raise DataError(
                f"explorer: expected a run, not {type(run).__name__}: make one with workbench.open_predictions(...) or "
                "workbench.analyse(...)"
            )
        if not run.predictions.has_probabilities:
            raise DataError(
                "the explorer orders and filters by confidence, and these predictions have only predicted classes: "
                "write their report with `python -m workbench report`, or export the model's probabilities too"
            )
        self.run, self.compared = run, compared
        self.cohorts = cohorts(run)
        self._rows = run.predictions  # of which `predictions` has further columns
        if compared is not None:
            self._rows = _with_outcomes(run.predictions, compared.predictions)
        self._found = False  # whether `predictions` has the columns of findings
        self.predictions = self._joined()
        self.maps: dict[str, ProbabilityArray] = {}
        self.unkept = ""  # why a layout could not be saved for the next time
        super().__init__(**{"selection": {}, **traits})
        self.decisions = Decisions(run.predictions, run.folder)

    @traitlets.validate("selection")
    def _checked(self, proposal: Any) -> dict[str, Any]:
        whole = check_selection(proposal["value"], len(self.predictions.classes))
        known = {*self.predictions.scan().collect_schema(), *NAMES, CAUSE}
        used = [step["column"] for step in whole["steps"] if "column" in step] + [whole["order"]]
        if unknown := [name for name in used if name not in known and not is_finding(name)]:
            raise DataError(f"selection: expected one of the columns {', '.join(sorted(known))}, not {unknown[0]!r}")
        return whole

    def change(self, **fields: Any) -> None:
        """Set some fields of the selection."""
        self.selection = {**self.selection, **fields}

    def select_cell(self, true: int, predicted: int) -> None:
        """Select the images of one cell of the confusion matrix; -1 stands for any class."""
        others = [step for step in self.selection["steps"] if step["kind"] != "cells"]
        steps = [*others, {"kind": "cells", "cells": [[true, predicted]]}]
        self.change(steps=steps, wrong_only=true != predicted or true == -1)

    @property
    def query(self) -> Query:
        """The selection as a `Query`."""
        schema = self.predictions.scan().collect_schema()
        flags = [name for name, kind in schema.items() if kind == pl.Boolean]
        return query(self.selection, self.predictions.classes, self.rows_inside, self.decisions.tagged, flags)

    @property
    def frame(self) -> pl.DataFrame:
        """The selected rows in their order, with the columns of `analysis.index.select`.

        Raises
        ------
        DataError
            If a step names a column or a map that is not there.
        """
        used = {step.get("column", CAUSE) for step in self.selection["steps"]} | {self.selection["order"]}
        late = [name for name in used if name == CAUSE or is_finding(name)]
        if late and not self._found:
            self.add_findings()
        if gone := [name for name in used if name not in {*self.predictions.scan().collect_schema(), *NAMES}]:
            raise DataError(f"selection: {gone[0]!r} is not there any more: remove its filter")
        return select(self.predictions, self.query)

    @property
    def rows(self) -> IntArray:
        """Row ids of the selection, int64 ``(n,)``, in its order."""
        return row_ids(self.frame)

    @property
    def selected(self) -> int | None:
        """Row id of the image shown in detail; None if there is none."""
        row = int(self.selection["selected"])
        return None if row < 0 else row

    @property
    def picked(self) -> IntArray:
        """Row ids of the images picked in the gallery, int64 ``(n,)``; if there are none, the one shown in detail."""
        chosen = self.selection["picked"] or ([] if self.selected is None else [self.selected])
        return np.array(chosen, np.int64)

    @cached_property
    def findings(self) -> Findings:
        """What the run's model gets wrong, and why; see `findings.find.find`."""
        return find(self.run)

    @cached_property
    def causes(self) -> pl.DataFrame:
        """A verdict for every error; see `findings.causes.causes`."""
        return causes(self.run.predictions, self.findings)

    def add_findings(self) -> dict[str, columns.Column]:
        """Look for findings, so that the selection can use their columns and ``cause``; return these."""
        self._found = True
        self.predictions = self._joined()
        subjects = [finding.subject for finding in self.findings]
        titles = dict(zip(cards.column_names(self.findings), subjects, strict=True))
        return self._sent({CAUSE: CAUSE, **titles, cards.REMAINDER: cards.REMAINDER})

    def add_cohorts(self) -> dict[str, columns.Column]:
        """Take over the cohorts as they are saved now, so that the selection can use their columns; return these."""
        self.predictions = self._joined()
        return self._sent({name: name for name in self._cohort_columns()})

    def _joined(self) -> Predictions:
        """The rows with a column of each cohort, and of each finding once these are known."""
        named = self._cohort_columns()
        whole = self._rows.join(flags(named, self._rows.index)) if named else self._rows
        if not self._found:
            return whole
        added = self.causes.select("index", cause="verdict")
        return whole.join(added).join(membership(self.findings, self._rows.index))

    def cohorts_header(self) -> list[dict[str, Any]]:
        """What the views show of each cohort: its rates, and with a second model the change.

        A cohort of errors alone has no change that means anything: any other model does better there.
        """
        lines = self.cohorts.table().to_dicts()
        for line in lines:
            name = line["cohort"]
            line |= {"column": f"{COHORT}{name}", "words": self.cohorts[name].words}
        if self.compared is not None:
            mixed = {line["cohort"] for line in lines if 0 < line["errors"] < line["rows"]}
            groups = {name: rows for name, rows in self.cohorts.groups.items() if name in mixed}
            changes = differences(self.run.predictions, self.compared.predictions, groups).to_dicts()
            change_of = {change["group"]: change for change in changes}
            alike = agreement(self.run.predictions, self.compared.predictions, self.cohorts.groups).to_dicts()
            alike_of = {one["group"]: one for one in alike}
            for line in lines:
                if same := alike_of.get(line["cohort"]):
                    line["agreement"] = {name: same[name] for name in ("agreement", "low", "high")}
                if change := change_of.get(line["cohort"]):
                    line["change"] = {name: change[name] for name in ("difference", "low", "high")}
        return lines

    def _cohort_columns(self) -> dict[str, IntArray]:
        """Row ids by the name of the column."""
        return {f"{COHORT}{name}": rows for name, rows in self.cohorts.groups.items()}

    def _sent(self, titles: Mapping[str, str]) -> dict[str, columns.Column]:
        """Columns of words for the views, by name."""
        words = self.predictions.table.sort("index").select("index", by_name(*titles)).collect()
        shown = words if self.shown is None else words.join(self.shown, on="index", how="semi", maintain_order="left")
        made = {name: columns.category(title, shown[name]) for name, title in titles.items()}
        return {name: column for name, column in made.items() if column is not None}

    def findings_header(self) -> dict[str, Any]:
        """What the views show of the findings, and under which each error comes, as JSON values."""
        wrong = self.run.predictions.scan().filter(~pl.col("correct")).select("index", "loss").collect()
        evidence = {str(row): text for row, text in self.causes.select("index", "evidence").iter_rows()}
        return {**cards.header(self.findings, dict(wrong.iter_rows())), "evidence": evidence}

    @cached_property
    def shown(self) -> pl.DataFrame | None:
        """Ids of the rows that are sent to a browser, None for all; see `columns.shown_rows`."""
        return columns.shown_rows(self.run.predictions)

    def header(self) -> dict[str, Any]:
        """What the views show of the run; see `columns.header_of`, with the second run's comparison if there is one."""
        notes = list(self.run.notes)
        if self.shown is not None:
            notes.append(
                f"Of {len(self.predictions):,} rows the views show all errors and a random sample of the correct rows, "
                f"{len(self.shown):,} in all. The matrix and the rates count every row."
            )
        header = columns.header_of(self.run.name, self.run.predictions, notes)
        header |= {"words": shared_words(), "start": dict(START)}
        if self.compared is not None:
            result = compare(self.run.predictions, self.compared.predictions)
            header["comparison"] = columns.comparison_header(self.compared.name, result, self.compared.predictions)
        if self.run.robustness is not None:
            header["robustness"] = columns.robustness_header(self.run.robustness)
        return header

    def columns(self) -> dict[str, columns.Column]:
        """The columns that the views draw from; see `columns.columns_of`."""
        return columns.columns_of(self.predictions, self.shown)

    def place_map(self, name: str) -> ProbabilityArray:
        """Compute or read the layout ``principal`` or ``neighbours``; its points float32 ``(N, 2)`` by sorted row id.

        Raises
        ------
        DataError
            If there are no embeddings, too many rows, or no such layout.
        """
        if name not in self.maps:
            self.maps[name] = self._layout(name)
        return self.maps[name]

    def _layout(self, name: str) -> ProbabilityArray:
        if name not in (PRINCIPAL, NEIGHBOURS):
            raise DataError(f"map: expected {PRINCIPAL} or {NEIGHBOURS}, not {name!r}")
        if self.run.predictions.embedding is None:
            raise DataError("There is no map: these predictions have no embeddings.")
        embedding = self.run.predictions.embedding[np.argsort(self.run.predictions.index, kind="stable")]
        if name == PRINCIPAL:
            return projection.principal(embedding)
        digest = projection.digest(embedding)
        path = None if self.run.folder is None else self.run.folder / "map.npz"
        found = None if path is None else projection.read_layout(path, digest)
        if found is None:
            found = projection.neighbours(embedding)
            if path is not None:
                try:
                    projection.write_layout(path, digest, found)
                except OutputError as error:  # the layout is usable nonetheless, until the kernel ends
                    self.unkept = str(error)
        return found

    def rows_inside(self, name: str, polygon: Sequence[float]) -> IntArray:
        """Row ids within a polygon on a map, int64 ``(n,)``, sorted."""
        return np.sort(self.run.predictions.index)[inside(self.place_map(name), polygon)]

    def code(self) -> str:
        """A Python cell that restores the selection, and its rows as a table."""
        runs = {"run": self.run, "other": self.compared}
        opened = [
            f"{name} = {run.opened}" if run.opened else f"# {name}: the run {run.name!r}, as you made it"
            for name, run in runs.items()
            if run is not None
        ]
        changed = {name: value for name, value in self.selection.items() if value != START[name]}
        options = ["run", "compared=other"] if self.compared else ["run"]
        options += [f"selection={changed!r}"] if changed else []
        return "\n".join(
            [
                "import workbench",
                "",
                *opened,
                f"explorer = workbench.Explorer({', '.join(options)})",
                f"rows = explorer.state.frame  # {len(self.rows):,} rows",
                "explorer",
                "",
            ]
        )


def _with_outcomes(before: Predictions, after: Predictions) -> Predictions:
    pairs = pair_rows(before, after).select("index", "outcome").collect(engine="streaming")
    second = after.columns("index", "predicted", "confidence").rename(
        {"predicted": "predicted_after", "confidence": "confidence_after"}
    )
    names = pl.lit(pl.Series(after.classes, dtype=pl.String))
    named = second.with_columns(predicted_after=names.gather(pl.col("predicted_after")))
    return before.join(pairs.join(named, on="index"))
