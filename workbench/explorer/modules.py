"""The views' ES modules and style sheets, each joined into one text that a notebook or a page can hold."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"
SHEETS = ("base", "plots", "lists", "findings", "gallery", "inspector", "boxes", "narrow")
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


@cache
def join_modules(entry: str) -> str:
    """The module ``entry`` and all that it imports, each once and after its own imports, as one ES module.

    Notebooks and pages opened from disk cannot load one module from another. Modules here import by
    ``import { names } from "./file.js";`` and no two of them define the same name at the top level, so that they can
    share one scope.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        for imported in _IMPORT.findall(text_of(name)):
            visit(imported)
        if name not in order:
            order.append(name)

    visit(entry)
    parts = [f"// {name}\n" + _EXPORT.sub("", _IMPORT.sub("", text_of(name))) for name in order]
    return "\n".join(parts)


@cache
def styles() -> str:
    """The views' style sheets, joined: `SHEETS` in their order, so that narrow screens have the last word."""
    return "\n".join(text_of(f"css/{name}.css") for name in SHEETS)


@cache
def text_of(name: str) -> str:
    """The text of a file in ``static``."""
    return (STATIC / name).read_text(encoding="utf-8")
