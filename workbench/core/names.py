"""Class names in the forms that people have them: a sequence, or a dictionary by name or by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from workbench.core.texts import parse_json, read_text
from workbench.errors import DataError

ClassNames = Sequence[str] | Mapping[Any, Any]


def class_names(classes: ClassNames) -> tuple[str, ...]:
    """The names in the order of the class numbers.

    Parameters
    ----------
    classes : sequence of str, or mapping
        A mapping is read by its meaning: ``class_to_idx`` (name -> number, as torchvision's data sets have it) or
        ``id2label`` (number -> name, as Hugging Face's configurations have it), whatever its order.

    Raises
    ------
    DataError
        If the order can't be known (a set), a number is missing, there are fewer than two names, or one occurs twice.
    """
    given: Any = classes
    if isinstance(given, Mapping):
        names = _of_mapping(given)
    elif isinstance(given, Sequence) and not isinstance(given, str | bytes):
        names = tuple(map(str, given))
    elif isinstance(given, set | frozenset):
        raise DataError(
            "classes: expected names in the order of the outputs, not a set, which has no order: give a list"
        )
    else:
        raise DataError(
            f"classes: expected a list of names, or a dictionary of names and numbers, not {type(classes).__name__}"
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        shown = ", ".join(map(repr, twice[:5])) + (" ..." if len(twice) > 5 else "")
        raise DataError(f"classes: expected unique names, not {shown} more than once: add what tells them apart")
    if len(names) < 2:
        raise DataError(f"classes: expected at least two different names, not {', '.join(names) or 'none'}")
    return names


def names_in(array: NDArray[Any]) -> tuple[str, ...]:
    """The names in an array of text or of UTF-8 bytes, as NumPy stores short ones."""
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in array.tolist())


def read_names(path: Path) -> tuple[str, ...]:
    """The class names in a text file, one a line, or in a ``.json`` with what `class_names` takes.

    Raises
    ------
    DataError
        If the file is missing or damaged, or holds what `class_names` refuses.
    """
    text = read_text(path)
    if path.suffix == ".json":
        return class_names(parse_json(text, str(path), "expected class names, as a list or a dictionary with numbers"))
    return class_names([line.strip() for line in text.splitlines() if line.strip()])


def _of_mapping(classes: Mapping[Any, Any]) -> tuple[str, ...]:
    numbered = {str(name): number for name, number in classes.items() if isinstance(number, int)}
    if len(numbered) < len(classes):  # number -> name; JSON makes the numbers text
        try:
            numbered = {str(name): int(number) for number, name in classes.items()}
        except (TypeError, ValueError) as error:
            raise DataError(
                "classes: expected a dictionary from names to numbers, or from numbers to names, not "
                f"{dict(list(classes.items())[:2])}"
            ) from error
    if sorted(numbered.values()) != list(range(len(classes))):
        raise DataError(
            f"classes: expected the numbers 0 to {len(classes) - 1}, each once, not {sorted(numbered.values())[:10]}"
        )
    return tuple(sorted(numbered, key=lambda name: numbered[name]))
