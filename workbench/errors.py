"""Errors that a user is meant to read."""

import itertools


class WorkbenchError(Exception):
    """Something the user can mend; the message says what was expected, what came and what to do."""


class CheckpointError(WorkbenchError):
    """A checkpoint is missing, damaged, or does not fit."""


class DataError(WorkbenchError):
    """Images, labels or predictions are missing, damaged, or do not fit."""


class AttributionError(WorkbenchError):
    """An attribution was refused because it would be meaningless or impossible."""


class OutputError(WorkbenchError):
    """A file could not be written, or would overwrite another."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its type."""
    return next(itertools.chain(str(error).splitlines(), [type(error).__name__]))[:200]
