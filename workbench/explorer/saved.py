"""What a user keeps: answers about cohorts, and files to download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.core.texts import csv_bytes
from workbench.errors import DataError
from workbench.explorer.replies import Reply, columns_reply
from workbench.explorer.state import ExplorerState


class Saved:
    """Answers to questions about what is kept of a state."""

    def __init__(self, state: ExplorerState) -> None:
        self.state = state

    def cohorts(self) -> Reply:
        """The cohorts' rates, and a column of each in a buffer."""
        return columns_reply({"cohorts": self.state.cohorts_header()}, self.state.add_cohorts())

    def save_cohort(self, name: str, words: str, selection: dict[str, Any]) -> Reply:
        """Save the rows of a selection, or several that are picked, under a name."""
        self.state.selection = selection  # what the views show may be ahead of what the kernel was told
        picked = self.state.selection["picked"]
        rows = picked if len(picked) > 1 else self.state.rows.tolist()
        self.state.cohorts.save(name, rows, words)
        return self.cohorts()

    def remove_cohort(self, name: str) -> Reply:
        """Remove a cohort; the answer are those that are left."""
        self.state.cohorts.remove(name)
        return self.cohorts()

    def table(self, what: str) -> Reply:
        """A file to download: decisions as CSV, fixes for training, or the selected rows for other tools."""
        from workbench.explorer import exchange, exports

        state = self.state
        made: dict[str, Callable[[], tuple[str, bytes]]] = {
            "decisions": lambda: ("decisions.csv", csv_bytes(state.decisions.table())),
            "fixes": lambda: ("fixes.json", exports.json_bytes(state.decisions.fixes())),
            "label_studio": lambda: (
                "label_studio.json",
                exports.json_bytes(exchange.label_studio(state.run, state.rows, state.decisions.rows)),
            ),
            "parquet": lambda: ("rows.parquet", exchange.parquet(state.run, state.rows, state.decisions.rows)),
        }
        if what not in made:
            raise DataError(f"table: expected one of {', '.join(made)}, not {what!r}")
        name, data = made[what]()
        return {"name": name}, [data]
