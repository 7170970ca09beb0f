"""Modules that version 0.1 had elsewhere: importing them, and what was in them, by their older names still works."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# older module, without the package's name: where its names are now
MOVED: Mapping[str, tuple[str, ...]] = {
    "attribution.evidence": ("evidence.verdicts", "core.records"),
    "attribution.faithfulness": ("evidence.faithfulness",),
    "attribution.groups": ("evidence.groups",),
    "attribution.imputation": ("evidence.imputation",),
    "attribution.layers": ("models.layers", "models.hooks"),
    "attribution.ranking": ("evidence.ranking",),
    "attribution.sanity": ("evidence.sanity",),
    "attribution.stability": ("evidence.stability",),
    "bundle": ("explorer.columns",),
    "card": ("reports.card",),
    "classifier": ("models.classifier", "models.layers", "models.hooks", "models.weights", "core.records"),
    "decisions": ("explorer.decisions", "explorer.words"),
    "decode": ("images.decode",),
    "explain": ("explorer.explain", "explorer.judge", "attribution.targets"),
    "files": ("core.files",),
    "foreign": ("models.classifier", "models.transforms", "models.weights", "models.adapt"),
    "page": ("explorer.page",),
    "predict": ("models.predict", "models.sharding"),
    "predictions": ("core.predictions",),
    "projection": ("analysis.projection",),
    "records": ("core.records",),
    "remote": ("store.remote",),
    "render": ("images.render",),
    "run": ("runs.opening", "runs.run"),
    "selection": ("explorer.selection", "explorer.words"),
    "source": ("runs.training",),
    "stamp": ("core.stamp",),
    "state": ("explorer.state", "explorer.words"),
    "ui.dashboard": ("explorer.dashboard",),
    "ui.explorer": ("explorer.widget",),
    "ui": ("explorer",),
    "verify": ("reports.verify",),
    "views": ("explorer.exports",),
    "whatif": ("robustness.changes",),
}
RENAMED: Mapping[str, str] = {
    "alone": "lock",
    "blurred": "blur",
    "changed": "apply",
    "checked": "check_selection",
    "cropped": "crop",
    "fetched": "fetch",
    "imputed": "impute",
    "kept": "record",
    "staged": "stage",
    "untouched": "preserve",
}
PREFIX = "workbench."


class _Moved(MetaPathFinder, Loader):
    """Finds a module under its older name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(PREFIX) or fullname.removeprefix(PREFIX) not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=fullname == f"{PREFIX}ui")

    def exec_module(self, module: ModuleType) -> None:
        """Put the present module in the older one's place; of several a module that looks in each of them."""
        homes = [importlib.import_module(PREFIX + name) for name in MOVED[module.__name__.removeprefix(PREFIX)]]
        if len(homes) == 1:
            sys.modules[module.__name__] = homes[0]
            return

        def found(name: str) -> object:
            for home in homes:
                for known in (name, RENAMED.get(name, name)):
                    if hasattr(home, known):
                        return getattr(home, known)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = found  # type: ignore[method-assign]


def install() -> None:
    """Make the older names importable; once for each process."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Moved())
