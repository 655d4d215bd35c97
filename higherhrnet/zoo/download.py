"""Downloads published weights into the cache: resumable, verified and atomic."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NoReturn
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout
from tqdm import tqdm

from higherhrnet.errors import InputError, require
from higherhrnet.io.cache import CACHE_HINT, cache_folder
from higherhrnet.zoo.published_model import PublishedModel

ATTEMPTS = 5
"""The number of attempts after which a download fails."""
RETRY_DELAY = 0.5
"""Seconds before the second attempt; the delay grows by as much with every further attempt."""
TIMEOUT = 30
"""Seconds without data after which a connection is considered interrupted."""
BLOCK_SIZE = 2**18
"""Bytes that are read and written at a time."""
WAIT = 0.5
"""Seconds between two looks at a file that another process downloads."""
TORCH_SIGNATURES = (b"PK\x03\x04", b"\x80\x02")
"""The first bytes of files of `torch.save`: a zip file, or a pickle from before version 1.6."""

OFFLINE = "HIGHERHRNET_OFFLINE"
"""The environment variable that forbids downloads if it is set to anything but 0."""
MIRROR = "HIGHERHRNET_MIRROR"
"""The environment variable with the address of a folder that contains copies of the files, named
after the models: `w32-512.pth`."""


class _ConnectionInterrupted(Exception):
    """The connection failed; another attempt may succeed."""


def download_model(model: PublishedModel) -> Path:
    """Downloads a model unless it is in the cache folder, and returns the path of the file.

    An interrupted download is resumed by the next call. If several processes request the same file,
    one of them downloads it while the others wait. A progress bar is shown if standard error is a
    terminal.

    Raises:
        InputError: the server cannot be reached or does not have the file, the file is not the
            published one, or the folder cannot be written to.
    """
    folder = cache_folder()
    target = folder / f"{model.name}.pth"
    with storing(model, folder):
        if _is_valid(target, model):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{model.name}.lock", model):
            if not _is_valid(target, model):
                _require_online(model, target)
                _download(model, target)
    return target


@contextmanager
def locked(path: Path, model: PublishedModel) -> Iterator[None]:
    """Holds a lock file, after waiting for the process that holds it.

    While it waits, the file is reported on standard error, with a progress bar of the other
    process's download if standard error is a terminal.

    Args:
        path: the lock file, in the folder of the model's file.
        model: the model that the other process downloads or converts.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        part = _part(path.parent, model)
        print(
            f"Waiting for another process, which downloads or converts {model.name} ({part})",
            file=sys.stderr,
        )
        with _progress_bar(model, model.size) as bar:
            while not lock.is_locked:
                with suppress(FileNotFoundError):  # not started, or complete
                    bar.update(part.stat().st_size - bar.n)
                with suppress(Timeout):
                    lock.acquire(timeout=WAIT)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def storing(model: PublishedModel, folder: Path) -> Iterator[None]:
    """Converts an OSError within the block to an InputError that names the folder."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{folder}: cannot store {model.name} ({error.strerror or error}); {CACHE_HINT}"
        ) from error


def address(model: PublishedModel) -> str:
    """Returns the address of a model's file: in the folder of $HIGHERHRNET_MIRROR, or its own."""
    mirror = os.environ.get(MIRROR)
    return f"{mirror.rstrip('/')}/{model.name}.pth" if mirror else model.url


def _require_online(model: PublishedModel, target: Path) -> None:
    require(
        os.environ.get(OFFLINE, "0") in ("", "0"),
        f"{model.name} is not in the cache, and {OFFLINE} forbids to download it; unset {OFFLINE}, "
        f"or download {address(model)} elsewhere and copy it to {target}",
    )


def describe(model: PublishedModel) -> str:
    """Describes a model in one line: name, size, source and license."""
    size = f"{model.size / 1e6:.0f} MB, " if model.size else ""
    note = f" ({model.note})" if model.note else ""
    return (
        f"{model.name}: {size}license {model.license}, from {urlsplit(address(model)).netloc}{note}"
    )


def _is_valid(path: Path, model: PublishedModel) -> bool:
    return path.is_file() and _mismatch(path, model) is None


def _mismatch(path: Path, model: PublishedModel) -> str | None:
    """Returns the difference from the published file, or None, without unpickling."""
    size = path.stat().st_size
    if model.size is not None and size != model.size:
        return f"expected {model.size} bytes, found {size}"
    with path.open("rb") as file:
        if model.digest is None:
            is_torch_file = file.read(4).startswith(TORCH_SIGNATURES)
            return None if is_torch_file else "expected a file of torch.save, found another format"
        algorithm, expected = model.digest.split(":")
        found = hashlib.file_digest(file, algorithm).hexdigest()[: len(expected)]
    return None if found == expected else f"expected {algorithm} {expected}, found {found}"


def _download(model: PublishedModel, target: Path) -> None:
    print(f"Downloading {describe(model)}", file=sys.stderr)
    part = _part(target.parent, model)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _continue_download(model, part)
            break
        except _ConnectionInterrupted as error:
            if attempt == ATTEMPTS:
                raise InputError(
                    f"{address(model)}: the connection failed {ATTEMPTS} times ({error}); "
                    "run the same command again to resume the download, or download the file "
                    f"elsewhere and copy it to {target}"
                ) from error
            time.sleep(RETRY_DELAY * attempt)
    if mismatch := _mismatch(part, model):
        part.unlink()
        raise InputError(
            f"{address(model)}: the downloaded file was removed, since it is not the published one "
            f"({mismatch}); run the same command again, or look for a newer link on {model.page}"
        )
    part.replace(target)


def _part(folder: Path, model: PublishedModel) -> Path:
    """Returns the path of a file that is not yet complete."""
    return folder / f"{model.name}.part"


def _progress_bar(model: PublishedModel, total: int | None, done: int = 0) -> tqdm[NoReturn]:
    """Returns a progress bar in bytes, which is shown if standard error is a terminal."""
    return tqdm(desc=model.name, initial=done, total=total, unit="B", unit_scale=True, disable=None)


def _continue_download(model: PublishedModel, part: Path) -> None:
    """Appends the missing bytes to `part`, or replaces it if the server cannot resume."""
    offset = part.stat().st_size if part.exists() else 0
    with _open(model, offset) as response:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            offset = 0
        remaining = response.headers.get("Content-Length")
        total = model.size if remaining is None else offset + int(remaining)
        with (
            part.open("ab" if offset else "wb") as file,
            _progress_bar(model, total, offset) as bar,
        ):
            while block := _read_block(response):
                bar.update(file.write(block))
    if total is not None and (size := part.stat().st_size) < total:
        raise _ConnectionInterrupted(f"closed after {size} of {total} bytes")


def _open(model: PublishedModel, offset: int) -> HTTPResponse:
    """Requests the file from `offset` on; the server may respond with the complete file."""
    if not address(model).startswith(("https://", "http://")):
        raise InputError(f"{address(model)}: only http and https are supported")
    headers = {"User-Agent": "higherhrnet"} | ({"Range": f"bytes={offset}-"} if offset else {})
    hint = f"download it from {model.page} with a browser, then run `higherhrnet convert` on it"
    try:
        response: HTTPResponse = urlopen(Request(address(model), headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and offset:  # the part is longer than the file, so not a part of it
            return _open(model, 0)
        if error.code in (408, 429) or error.code >= 500:
            raise _ConnectionInterrupted(f"{error.code} {error.reason}") from error
        raise InputError(f"{address(model)}: {error.code} {error.reason}; {hint}") from error
    except (OSError, HTTPException) as error:
        raise _ConnectionInterrupted(str(getattr(error, "reason", error))) from error
    if response.headers.get_content_type() == "text/html":  # how Google Drive rejects a download
        response.close()
        raise InputError(f"{address(model)}: a web page instead of the file; {hint}")
    return response


def _read_block(response: HTTPResponse) -> bytes:
    """Reads the next block; separate, so that its OSError is not taken for one of writing."""
    try:
        return response.read(BLOCK_SIZE)
    except (OSError, HTTPException) as error:
        raise _ConnectionInterrupted(str(error) or type(error).__name__) from error
