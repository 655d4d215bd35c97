"""Published weights → a file in the cache: resumed, checked, and whole or not there at all."""

from __future__ import annotations

import hashlib
import sys
import time
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from higherhrnet.errors import InputError
from higherhrnet.io.cache import cache_folder
from higherhrnet.zoo.published import PublishedModel

ATTEMPTS = 5
PAUSE = 0.5
"""Seconds before the second attempt; each further one waits as much longer."""
TIMEOUT = 30
"""Seconds without a byte after which a connection counts as cut."""
BLOCK = 2**18
"""Bytes written at a time."""
TORCH_FILE_STARTS = (b"PK\x03\x04", b"\x80\x02")
"""How a file that torch saved begins: as a zip, or before torch 1.6 as a pickle."""


class _ConnectionCut(Exception):
    """The network's fault, and perhaps better at the next attempt."""


def download_model(
    model: PublishedModel, folder: Path | None = None, *, progress: bool = True
) -> Path:
    """The model's file, fetched unless it is there already.

    What has arrived when a download breaks off is kept and resumed by the next. Of several
    processes that want the same file, one fetches it and the others wait.

    Args:
        model: what to fetch.
        folder: where to keep it, `cache_folder()` if None.
        progress: show a bar on standard error, if that is a terminal.

    Raises:
        InputError: the server does not have it or cannot be reached, what it gave is not the
            model, or the folder cannot be written.
    """
    folder = folder or cache_folder()
    target = folder / f"{model.name}.pth"
    try:
        if _is_whole(target, model):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{model.name}.lock").open("w") as lock:
            _wait_for(lock)
            if not _is_whole(target, model):
                _fetch(model, target, progress)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot keep {model.name} here ({error.strerror or error}); make room, or "
            "set HIGHERHRNET_CACHE to a folder that can be written"
        ) from error
    return target


def _wait_for(lock: IO[str]) -> None:
    """Wait until no other process holds the lock, then hold it until the file is closed."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)


def _is_whole(path: Path, model: PublishedModel) -> bool:
    return path.is_file() and _fault(path, model) is None


def _fault(path: Path, model: PublishedModel) -> str | None:
    """What shows that a file is not the model's; None if nothing does. Nothing is unpickled."""
    size = path.stat().st_size
    if model.size is not None and size != model.size:
        return f"expected {model.size} bytes, found {size}"
    with path.open("rb") as file:
        if model.digest is None:
            looks_right = file.read(4).startswith(TORCH_FILE_STARTS)
            return None if looks_right else "expected a file that torch saved, found something else"
        algorithm, expected = model.digest.split(":")
        found = hashlib.file_digest(file, algorithm).hexdigest()[: len(expected)]
    return None if found == expected else f"expected {algorithm} {expected}, found {found}"


def _fetch(model: PublishedModel, target: Path, progress: bool) -> None:
    part = target.with_name(f"{model.name}.part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _receive(model, part, progress)
            break
        except _ConnectionCut as cut:
            if attempt == ATTEMPTS:
                raise InputError(
                    f"{model.url}: the connection failed {ATTEMPTS} times ({cut}); "
                    "run the same command again to resume"
                ) from cut
            time.sleep(PAUSE * attempt)
    if fault := _fault(part, model):
        part.unlink()
        raise InputError(
            f"{model.url}: not the file that was published ({fault}), and so removed; "
            f"run the same command again, or look on {model.page} for a newer link"
        )
    part.replace(target)


def _receive(model: PublishedModel, part: Path, progress: bool) -> None:
    """Add to `part` what it lacks; all of it, where the server will not resume."""
    done = part.stat().st_size if part.exists() else 0
    with _open(model, done) as response:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            done = 0
        rest = response.headers.get("Content-Length")
        total = model.size if rest is None else done + int(rest)
        with (
            part.open("ab" if done else "wb") as file,
            tqdm(
                desc=model.name,
                initial=done,
                total=total,
                unit="B",
                unit_scale=True,
                disable=None if progress else True,
            ) as bar,
        ):
            while block := _read(response):
                bar.update(file.write(block))
    if total is not None and (size := part.stat().st_size) < total:
        raise _ConnectionCut(f"closed after {size} of {total} bytes")


def _open(model: PublishedModel, offset: int) -> HTTPResponse:
    """The server's answer with the file from `offset` on, or with all of it."""
    if not model.url.startswith(("https://", "http://")):
        raise InputError(f"{model.url}: only http and https are fetched")
    headers = {"User-Agent": "higherhrnet"} | ({"Range": f"bytes={offset}-"} if offset else {})
    by_hand = f"fetch it from {model.page} by hand, then run `higherhrnet convert` on it"
    try:
        response: HTTPResponse = urlopen(Request(model.url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and offset:  # there is nothing after what we have: not the same file
            return _open(model, 0)
        if error.code in (408, 429) or error.code >= 500:
            raise _ConnectionCut(f"{error.code} {error.reason}") from error
        raise InputError(f"{model.url}: {error.code} {error.reason}; {by_hand}") from error
    except (OSError, HTTPException) as error:
        raise _ConnectionCut(str(getattr(error, "reason", error))) from error
    if response.headers.get_content_type() == "text/html":  # Google Drive asks or refuses this way
        response.close()
        raise InputError(f"{model.url}: a web page instead of the file; {by_hand}")
    return response


def _read(response: HTTPResponse) -> bytes:
    """The next block; apart from the writing, so that the two kinds of OSError stay apart."""
    try:
        return response.read(BLOCK)
    except (OSError, HTTPException) as error:
        raise _ConnectionCut(str(error) or type(error).__name__) from error
