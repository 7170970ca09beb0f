"""Where the images of a table are: as its paths say, or, where those are another machine's, by their last parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from workbench.errors import DataError
from workbench.images.decode import SUFFIXES

LOOKED = 20
MOST = 2_000_000


def find_places(paths: Sequence[str], root: Path, *, follow_links: bool) -> tuple[list[Path], list[str]]:
    """The files of a table's paths within ``root``, and how they were found if not as they stand.

    Where none of the first paths exists, each is matched with the one file below ``root`` that shares most of its last
    parts: the file's name, or the name without its extension as in Kaggle's tables, then the folders before it.
    Windows' backslashes count as slashes.

    Raises
    ------
    DataError
        If a path is empty or leads out of ``root`` (without ``follow_links``), or matches no file or several.
    """
    base = root.resolve()
    paths = [_slashed(base, text) for text in paths]
    direct = [_inside(base, text) for text in paths[:LOOKED]]
    if any(place is not None and place.is_file() for place in direct) or not paths:
        return [_checked(base, text, row, root, follow_links) for row, text in enumerate(paths)], []
    index = _index(base)
    if not any(_last(text) in index for text in paths[:LOOKED]):
        return [_checked(base, text, row, root, follow_links) for row, text in enumerate(paths)], []
    found = [_matched(index, text, row, root) for row, text in enumerate(paths)]
    _check_each_once(found, paths, root)
    places = [_checked(base, str(place), row, root, follow_links) for row, place in enumerate(found)]
    shown = places[0].relative_to(base) if places[0].is_relative_to(base) else places[0].name
    return places, [f"The table's paths are not below {root}: files are matched by name, {paths[0]!r} with {shown}."]


def _check_each_once(found: Sequence[Path], paths: Sequence[str], root: Path) -> None:
    """Raise `DataError` if two different paths match one file: then one of the two is not there."""
    first: dict[Path, str] = {}
    for row, (place, text) in enumerate(zip(found, paths, strict=True)):
        if first.setdefault(place, text) != text:
            raise DataError(
                f"row {row}: {text!r} and {first[place]!r} both match {place.name} below {root}: write paths "
                "relative to that folder"
            )


def _slashed(base: Path, text: str) -> str:
    """A path with Windows' backslashes as slashes, unless a file's name has them."""
    if "\\" not in text or "\0" in text or PureWindowsPath(text).drive or (base / text).exists():
        return text
    return text.replace("\\", "/")


def _parts(text: str) -> tuple[str, ...]:
    kind = PureWindowsPath if "\\" in text else PurePosixPath
    return tuple(part for part in kind(text).parts if part not in ("/", "\\", ".."))


def _last(text: str) -> str:
    parts = _parts(text)
    return _stem(parts[-1]) if parts else ""


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in SUFFIXES else name


def _inside(base: Path, text: str) -> Path | None:
    return base / text if text and "\0" not in text else None


def _index(base: Path) -> dict[str, list[Path]]:
    """The image files below a folder by their names without extension."""
    found: dict[str, list[Path]] = {}
    for count, path in enumerate(base.rglob("*")):
        if count > MOST:
            raise DataError(f"{base} holds more than {MOST:,} files: name the folder of the images")
        if path.suffix.lower() in SUFFIXES:
            found.setdefault(path.stem, []).append(path)
    return found


def _matched(index: dict[str, list[Path]], text: str, row: int, root: Path) -> Path:
    """The one file that shares most of the last parts of a path."""
    wanted = _parts(text)[::-1]
    known = index.get(_last(text), [])
    if wanted and wanted[0] != _last(text):  # with an extension, which must be the file's
        known = [path for path in known if path.name == wanted[0]]

    def shared(path: Path) -> int:
        pairs = zip(wanted[1:], path.parts[::-1][1:], strict=False)
        return next((k for k, (one, other) in enumerate(pairs) if one != other), len(wanted) - 1)

    best = max(map(shared, known), default=-1)
    same = [path for path in known if shared(path) == best]
    if len(same) != 1:
        there = f"{len(same)} files, such as {same[0]} and {same[1]}" if same else "no file"
        raise DataError(f"row {row}: {text!r} matches {there} below {root}: write paths relative to that folder")
    return same[0]


def _checked(base: Path, text: str, row: int, root: Path, follow_links: bool) -> Path:
    place = _inside(base, text)
    inside = None if place is None else place.resolve()
    if place is None or inside is None or inside == base:
        raise DataError(f"row {row}: the path {text!r} leads out of {root}: expected one within it")
    if not inside.is_relative_to(base):
        linked = place.is_relative_to(base) and ".." not in place.parts
        if linked and follow_links:
            return place
        advice = ": it is a link; allow links with follow_links=True (--follow-links)" if linked else ""
        raise DataError(f"row {row}: the path {text!r} leads out of {root}{advice or ': expected one within it'}")
    return inside
