"""What torch and models raise where an input does not fit."""

from __future__ import annotations

# what torch and models raise for an input that they were not made for
UNFIT = (RuntimeError, ValueError, TypeError, AssertionError, IndexError, KeyError, AttributeError)
