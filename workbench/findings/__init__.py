"""Findings: what a model gets wrong, why, and what would help, each with its proof.

``workbench.findings(run)`` is `find.find`: the package can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from workbench.findings.find import find
from workbench.findings.record import Finding, Findings, Forecast

__all__ = ["Finding", "Findings", "Forecast", "find"]


class _Callable(ModuleType):
    """A package that is called by the name of what it makes."""

    def __call__(self, *arguments: Any, **options: Any) -> Findings:
        return find(*arguments, **options)


__doc__ = find.__doc__ or __doc__  # what help() of a callable shows
sys.modules[__name__].__class__ = _Callable
