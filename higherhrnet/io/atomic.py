"""Writes files atomically: a file appears complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from higherhrnet.errors import InputError, require


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path to write to, which replaces `path` when the block succeeds.

    The temporary file is in the same folder and has the same suffix, from which writers derive the
    format. It is deleted when the block fails. Its name begins with that of `path`, shortened so
    that it is not too long where that of `path` is not. Missing parent folders are created.

    Raises:
        InputError: the file or folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:32]}.{token_hex(4)}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        require(
            path.is_file() or path.is_dir() or not path.exists(),
            f"{path}: is a device or a pipe, which would be replaced; name a file",
        )
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # an error of the folder itself is already being raised
            temporary.unlink(missing_ok=True)
