"""What torch and models raise where an input does not fit, and how it is reported."""

from __future__ import annotations

import itertools

# what torch and models raise for an input that they were not made for
UNFIT = (RuntimeError, ValueError, TypeError, AssertionError, IndexError, KeyError, AttributeError)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its type."""
    return next(itertools.chain(str(error).splitlines(), [type(error).__name__]))[:200]
