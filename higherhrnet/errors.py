"""The one error that is the user's to mend."""


class InputError(ValueError):
    """Something a person gave (a file, a flag, a model) cannot be used.

    Its message is one line: what was wrong, where, and the way out. The command line prints it
    without a traceback; every other exception is a bug and keeps its traceback.
    """


def require(holds: bool, message: str) -> None:
    """Raises InputError with the message unless something holds."""
    if not holds:
        raise InputError(message)
