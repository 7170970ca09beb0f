"""What the views ask, checked before anything is computed."""

from __future__ import annotations

import math
from typing import Any

from workbench.errors import DataError
from workbench.explorer.words import AT_ONCE, SLOWLY

MOST = {"rows": 1_000_000, "methods": 100, "layers": 100, "targets": 1_000}
MOST_MAPS = 500  # of one image, at once
THUMBNAIL_SIDES = (64, 128, 256)
MOST_THUMBNAILS = 2_000  # of the smallest side; of larger ones as many pixels
STOP = "stop"


def question(content: object) -> tuple[str, dict[str, Any]]:
    """The name of a question, and what it asks of.

    Raises
    ------
    DataError
        If the message has no known ``ask``, a list in it is none or too long, or more maps are asked for than anyone
        would look at.
    """
    what = dict(content) if isinstance(content, dict) else {}
    what.pop("id", None)
    ask, known = what.pop("ask", None), (*AT_ONCE, *SLOWLY, STOP)
    if not isinstance(ask, str) or ask not in known:
        raise DataError(f'question: expected one of {", ".join(known)} in "ask", not {ask!r:.60}')
    for name, most in MOST.items():
        values = what.get(name, [])
        if not isinstance(values, list):
            raise DataError(f"question: {name}: expected a list, not {values!r:.60}")
        if len(values) > most:
            raise DataError(f"question: {name}: expected at most {most:,}, not {len(values):,}")
    maps = math.prod(max(1, len(what.get(name, []))) for name in ("methods", "layers", "targets"))
    if maps > MOST_MAPS:
        raise DataError(f"question: expected at most {MOST_MAPS} maps of an image, not {maps:,}: choose fewer")
    if ask == "thumbnails":
        side = what.get("side", THUMBNAIL_SIDES[0])
        if side not in THUMBNAIL_SIDES:
            raise DataError(f"question: side: expected one of {THUMBNAIL_SIDES}, not {side!r:.60}")
        most = MOST_THUMBNAILS * THUMBNAIL_SIDES[0] ** 2 // side**2
        if len(what.get("rows", [])) > most:
            raise DataError(f"question: expected at most {most:,} thumbnails at once")
    return ask, what
