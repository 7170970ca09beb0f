"""Modules that version 0.1 had elsewhere: importing them by their older names still works."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "workbench.records": "workbench.core.records",
    "workbench.predictions": "workbench.core.predictions",
    "workbench.classifier": "workbench.models.classifier",
    "workbench.run": "workbench.runs.opening",
    "workbench.state": "workbench.explorer.state",
    "workbench.attribution.evidence": "workbench.evidence.verdicts",
    "workbench.attribution.faithfulness": "workbench.evidence.faithfulness",
    "workbench.attribution.groups": "workbench.evidence.groups",
    "workbench.attribution.ranking": "workbench.evidence.ranking",
    "workbench.attribution.sanity": "workbench.evidence.sanity",
    "workbench.attribution.stability": "workbench.evidence.stability",
}


class _Moved(MetaPathFinder, Loader):
    """Finds a module under its older name, and puts the present one in its place."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(MOVED[module.__name__])


def install() -> None:
    """Make the older names importable; once for each process."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
