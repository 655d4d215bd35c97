"""The error for mistakes that the user can correct."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from higherhrnet.messages import one_line


class InputError(ValueError):
    """A file, a flag, a model or another input from the user cannot be used.

    The message is one line: what is wrong, where, and what to do about it. The command line prints
    only its message; other exceptions are printed with a traceback.
    """

    def __str__(self) -> str:
        """Returns the message; control characters, which a path may contain, are escaped."""
        return one_line(super().__str__())


def require(condition: bool, message: str) -> None:
    """Raises InputError with the message if the condition is false."""
    if not condition:
        raise InputError(message)


def require_file(path: str | Path, hint: str) -> None:
    """Raises InputError unless the path is that of a file.

    Args:
        path: the path.
        hint: what to do about it, for the message.
    """
    with reading(path):
        is_file = Path(path).is_file()
    require(is_file, f"{path}: no such file; {hint}")


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Converts an OSError within the block to an InputError that names the path.

    `Path.is_file` raises OSError as well, for a name that is too long or a folder without
    permission.
    """
    try:
        yield
    except OSError as error:
        reason = str(error.strerror or error).partition("\n")[0]
        raise InputError(f"{path}: cannot be read: {reason}") from error


def require_packages(feature: str, extra: str, *packages: str) -> None:
    """Raises InputError if a package is not installed.

    Args:
        feature: what needs the packages, for the message.
        extra: the extra of higherhrnet that installs them.
        packages: the names under which they are imported.
    """
    missing = [name for name in packages if find_spec(name) is None]
    require(
        not missing,
        f'{feature} needs {" and ".join(missing)}: pip install "higherhrnet[{extra}]"',
    )
