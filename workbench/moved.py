"""Modules that version 0.1 had elsewhere still import by their older names, with most of what was in them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# older module, without the package's name: where its names are now
MOVED: Mapping[str, tuple[str, ...]] = {
    "analysis.causes": ("findings.causes",),
    "attribution.evidence": ("evidence.verdicts", "core.records"),
    "attribution.faithfulness": ("evidence.faithfulness", "evidence.pixels"),
    "attribution.groups": ("evidence.groups",),
    "attribution.imputation": ("evidence.imputation",),
    "attribution.layers": ("models.layers", "models.layer", "models.hooks"),
    "attribution.ranking": ("evidence.ranking",),
    "attribution.sanity": ("evidence.sanity",),
    "attribution.stability": ("evidence.stability",),
    "bundle": ("explorer.columns",),
    "card": ("reports.card",),
    "commands": ("cli.commands", "cli.reporting"),
    "classifier": (
        "models.classifier",
        "models.making",
        "models.layer",
        "models.layers",
        "models.hooks",
        "models.weights",
        "core.records",
    ),
    "decisions": ("explorer.decisions", "explorer.words"),
    "decode": ("images.decode",),
    "explain": ("explorer.explain", "explorer.judge", "attribution.targets"),
    "export": ("reports.report", "reports.material"),
    "files": ("core.files",),
    "foreign": (
        "models.classifier",
        "models.making",
        "models.crops",
        "models.transforms",
        "models.weights",
        "models.adapt",
    ),
    "modules": ("explorer.modules",),
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
    "ui.answers": ("explorer.answers",),
    "ui.dashboard": ("explorer.dashboard",),
    "ui.explorer": ("explorer.widget",),
    "ui.work": ("explorer.work",),
    "ui": ("explorer",),
    "verify": ("reports.verify",),
    "views": ("explorer.exports",),
    "whatif": ("robustness.changes",),
}
# names that are others now, by the older module
RENAMED: Mapping[str, Mapping[str, str]] = {
    "attribution.imputation": {"blurred": "blur", "imputed": "impute"},
    "attribution.layers": {"kept": "record"},
    "classifier": {"untouched": "preserve"},
    "files": {"alone": "lock"},
    "foreign": {"cropped": "crop"},
    "modules": {"joined": "join_modules"},
    "projection": {"keep": "write_layout", "kept": "read_layout"},
    "remote": {"fetched": "fetch", "staged": "stage"},
    "selection": {"checked": "check_selection"},
    "whatif": {"changed": "apply"},
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
        older = module.__name__.removeprefix(PREFIX)
        homes = [importlib.import_module(PREFIX + name) for name in MOVED[older]]
        renamed = RENAMED.get(older, {})
        if len(homes) == 1 and not renamed:
            sys.modules[module.__name__] = homes[0]
            return

        def found(name: str) -> object:
            for home in homes:
                if hasattr(home, renamed.get(name, name)):
                    return getattr(home, renamed.get(name, name))
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = found  # type: ignore[method-assign]


def install() -> None:
    """Make the older names importable; once for each process."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Moved())
