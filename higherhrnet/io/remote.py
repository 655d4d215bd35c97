"""Downloads images and videos from the network."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Iterator
from http.client import HTTPException, HTTPMessage, HTTPResponse, responses
from io import BytesIO
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, cast
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from higherhrnet.errors import InputError, require
from higherhrnet.io.addresses import TIMEOUT, Url
from higherhrnet.io.kinds import stream_kind

DOWNLOAD_SECONDS = 60.0
"""The maximum duration in seconds until an image is downloaded, or until a video begins."""
VIDEO_DOWNLOAD_SECONDS = 3600.0
"""The maximum duration of the download of a video in seconds."""
MAX_IMAGE_SIZE = 2**28
"""The maximum size of an image file that is downloaded, in bytes: 256 MiB."""
MAX_VIDEO_SIZE = 2**33
"""The maximum size of a video file that is downloaded, in bytes: 8 GiB."""
MAX_REDIRECTS = 5
"""The maximum number of redirects of a request."""
_STREAM_TYPES = re.compile(r"multipart/x-mixed-replace|.*mpegurl", re.IGNORECASE)


def download(url: Url, folder: Path) -> Path | None:
    """Downloads an image or a video into a folder.

    Returns:
        The path of the file; None for a live stream, which has no end.

    Raises:
        InputError: the server cannot be reached, does not have the file or is too slow, or the
            file is too large, neither an image nor a video, or cannot be stored.
    """
    start = time.monotonic()
    try:
        with _open(url) as response, (folder / "download").open("wb") as file:
            head = b"".join(_blocks(response, start + DOWNLOAD_SECONDS, 4096))
            kind = stream_kind(BytesIO(head))
            media_type = response.headers.get("Content-Type", "")
            if _STREAM_TYPES.match(media_type) or head.startswith(b"#EXTM3U"):
                return None
            require(kind is not None, f"{url}: neither an image nor a video of a supported format")
            if kind == "video" and response.length is None:
                return None
            is_video = kind == "video"
            limit = MAX_VIDEO_SIZE if is_video else MAX_IMAGE_SIZE
            end = start + (VIDEO_DOWNLOAD_SECONDS if is_video else DOWNLOAD_SECONDS)
            file.write(head)
            size = len(head) + (response.length or 0)
            for block in _blocks(response, end, limit):
                file.write(block)
                size = max(size, file.tell())
                if size > limit:
                    break
            require(size <= limit, f"{url}: larger than {limit >> 20} MiB; use a smaller file")
            require(not response.length, f"{url}: the connection was interrupted")
            return Path(file.name)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{url}: cannot be downloaded: {_reason(error)}") from error


def _blocks(response: HTTPResponse, end: float, size: int) -> Iterator[bytes]:
    """Yields what is received, until at least `size` bytes were received.

    Args:
        response: the response.
        end: the time of `time.monotonic` after which TimeoutError is raised.
        size: the number of bytes.
    """
    while size > 0 and (block := response.read1(min(size, 2**16))):
        yield block
        size -= len(block)
        if time.monotonic() > end:
            raise TimeoutError("it takes too long")


class _RedirectHandler(HTTPRedirectHandler):
    """Follows a limited number of redirects, to http and https only and never from https to http.

    The password is not sent to the server to which a request is redirected.
    """

    max_redirections = MAX_REDIRECTS

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Returns the redirected request."""
        scheme = urlsplit(newurl).scheme
        if scheme not in ("https", req.type):
            raise HTTPError(req.full_url, code, f"redirects to {scheme}://", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: Url) -> HTTPResponse:
    """Sends a request; the user name and password of the address are sent as a header."""
    user, password = url.parts.username, url.parts.password
    path = quote(url.parts.path, safe="/%:@!$&'()*+,;=~-._")
    query = quote(url.parts.query, safe="/%:@!$&'()*+,;=~-._?")
    request = Request(
        url.parts._replace(netloc=url.host, path=path, query=query, fragment="").geturl(),
        headers={"User-Agent": "higherhrnet"},
    )
    if user is not None:
        credentials = f"{unquote(user)}:{unquote(password or '')}".encode()
        request.add_unredirected_header("Authorization", f"Basic {b64encode(credentials).decode()}")
    result: Queue[HTTPResponse | Exception] = Queue(1)

    def send() -> None:
        try:
            opener = build_opener(_RedirectHandler)
            result.put(cast(HTTPResponse, opener.open(request, timeout=TIMEOUT)))
        except Exception as error:
            result.put(error)

    # A server that sends its header byte by byte is within the limit of every single read.
    Thread(target=send, daemon=True, name="higherhrnet-download").start()
    try:
        response = result.get(timeout=DOWNLOAD_SECONDS)
    except Empty:
        raise TimeoutError("it takes too long") from None
    if isinstance(response, Exception):
        raise response
    return response


def _reason(error: Exception) -> str:
    """Returns the reason of a failed request in one line, without the address."""
    if isinstance(error, HTTPError):
        meaning = responses.get(error.code, "unknown")
        if error.code // 100 == 3:
            meaning = "a redirect that is not followed"
        return f"HTTP status {error.code} ({meaning})"
    reason = getattr(error, "reason", error)  # of a URLError
    if isinstance(reason, TimeoutError):
        return f"no data within {TIMEOUT:.0f} s, or not within the time limit of a download"
    return str(getattr(reason, "strerror", None) or reason or type(reason).__name__)
