"""Build the API reference from the docstrings: ``python docs/build.py OUT``, a page for every module."""

from __future__ import annotations

import sys
from pathlib import Path

import pdoc
import pdoc.render

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("workbench", "training")


def modules() -> list[str]:
    """Every module of both packages, but the commands' entry points."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in paths if path.name != "__main__.py"]
    return [".".join(names[:-1] if names[-1] == "__init__" else names) for names in parts]


def main(out: Path) -> None:
    """Write the reference into ``out``."""
    pdoc.render.configure(docformat="numpy", footer_text="Classifier workbench")
    pdoc.pdoc(*modules(), output_directory=out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
