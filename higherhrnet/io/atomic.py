"""Files appear whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from higherhrnet.errors import InputError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to, and renames it when the block ends well.

    The temporary name is nobody else's, and keeps the suffix, by which writers choose a format.

    Raises:
        InputError: the place cannot be written to.
    """
    path = Path(path)
    beside = path.with_name(f".{path.stem}.{token_hex(4)}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # where the folder itself failed, that error is on its way
            beside.unlink(missing_ok=True)
