"""The only error that a user of ``training`` has to read."""


class TrainingError(Exception):
    """Bad input or a failed write: the message states what was expected, what came and what to do.

    ``training.run`` prints the message as one line and exits with code 2.
    """
