"""Errors that a user is meant to read."""


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
