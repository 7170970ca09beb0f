"""Every attribution method by name; packages and users add their own."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from workbench.attribution.catalogue import BUILT_IN
from workbench.attribution.method import Method
from workbench.errors import AttributionError

if TYPE_CHECKING:
    from workbench.models.classifier import Classifier

__all__ = ["GROUP", "METHODS", "Method", "is_slow", "method_of", "methods", "register"]
SLOW_PASSES = 40
GROUP = "workbench.methods"
METHODS: dict[str, Method] = dict(BUILT_IN)


def register(method: Method) -> None:
    """Add a method of your own; commands, explorer and evidence find it by its name.

    Raises
    ------
    AttributionError
        If there is a method of that name, or it has a colon.
    """
    if ":" in method.name:
        raise AttributionError(
            f"method: expected a name without a colon, behind which settings stand, not {method.name!r}"
        )
    if any(_plain(known) == _plain(method.name) for known in METHODS):
        raise AttributionError(f"method: {method.name!r} already exists: give it another name")
    METHODS[method.name] = method


def methods() -> Mapping[str, Method]:
    """Every method by name: those here, those of installed packages, and those registered since.

    A package brings methods by the entry-point group ``workbench.methods``: each entry names a `Method`. One that can't
    be loaded is omitted, with a warning that names it.
    """
    _load_packages()
    return METHODS


@functools.cache
def _load_packages() -> None:
    for entry in entry_points(group=GROUP):
        try:
            found = entry.load()
            if not isinstance(found, Method):
                raise AttributionError(f"expected a workbench.attribution.method.Method, not {type(found).__name__}")
            register(found)
        except Exception as error:  # noqa: BLE001  whatever is wrong with one package, the other methods work
            warnings.warn(f"the method {entry.value!r} of an installed package is omitted: {error}", stacklevel=3)


def method_of(name: str) -> Method:
    """The method of that name, in any case, and with hyphens or spaces; with settings after colons a variant of it.

    ``"integrated-gradients:steps=128:baseline=blurred"`` is Integrated gradients with these settings wherever a
    method's name is taken.

    Raises
    ------
    AttributionError
        If there is no such method; the message lists the names. Or if a setting is unknown or wrong.
    """
    wanted, *settings = name.split(":")
    for known, method in methods().items():
        if _plain(known) == _plain(wanted.strip()):
            return method.variant(method.parsed(settings)) if settings else method
    raise AttributionError(f"method: expected one of {', '.join(METHODS)}, not {wanted!r}")


def _plain(name: str) -> str:
    return name.lower().replace(" ", "-")


def is_slow(name: str, classifier: Classifier | None) -> bool:
    """Whether a map of one image takes more than 40 passes through the model, at the last layer if it has layers.

    Raises
    ------
    AttributionError
        If there is no such method.
    """
    method = method_of(name)
    if classifier is None:
        return False
    channels = 512 if method.at_layer else 0
    return sum(method.cost(method.settings, channels, max(classifier.size))) > SLOW_PASSES
