"""Addresses of images and videos on the network, and the download of images."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException, HTTPMessage, HTTPResponse
from io import BytesIO
from pathlib import PurePosixPath
from queue import Empty, Queue
from threading import Thread
from typing import IO, cast
from urllib.error import HTTPError
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from higherhrnet.errors import InputError, require
from higherhrnet.io.images import IMAGE_EXTENSIONS
from higherhrnet.io.kinds import stream_kind

SCHEMES = ("http", "https", "rtsp", "rtsps")
"""The schemes of addresses that are sources."""
TIMEOUT = 10.0
"""Seconds without data after which a connection fails."""
DOWNLOAD_SECONDS = 60.0
"""The maximum duration of a download in seconds."""
MAX_DOWNLOAD_SIZE = 2**28
"""The maximum size of an image file that is downloaded, in bytes: 256 MiB."""
MAX_REDIRECTS = 5
"""The maximum number of redirects of a request."""
_STILL_EXTENSIONS = {*IMAGE_EXTENSIONS} - {".gif", ".png", ".webp"}
_VIDEO_TYPES = re.compile(r"video/|multipart/x-mixed-replace|.*mpegurl", re.IGNORECASE)


@dataclass(frozen=True)
class Url:
    """An address of an image or a video.

    `str` and `repr` omit the user name and the password, and replace the query, which may contain
    a token, with its hash.
    """

    address: str
    """The complete address. It may contain a password and must not be printed or stored."""

    @property
    def parts(self) -> SplitResult:
        """The parts of the address."""
        return urlsplit(self.address)

    @property
    def is_http(self) -> bool:
        """Whether the scheme is http or https, as opposed to that of a camera stream."""
        return self.parts.scheme in ("http", "https")

    @property
    def is_still(self) -> bool:
        """Whether the extension is that of an image that cannot be animated."""
        return self.is_http and PurePosixPath(self.parts.path).suffix.lower() in _STILL_EXTENSIONS

    @property
    def host(self) -> str:
        """The host and the port."""
        return self.parts.netloc.rpartition("@")[2]

    @property
    def file_name(self) -> str:
        """A relative path without `..` that identifies the address, beginning with the host."""
        path = [_in_file_name(unquote(part)) for part in self.parts.path.split("/")]
        host = _in_file_name(self.host)
        names = [host, *(part for part in path if part not in ("", ".", ".."))]
        if self._query_hash:
            last = PurePosixPath(names[-1])
            names[-1] = f"{last.stem}-{self._query_hash}{last.suffix}"
        return "/".join(names)

    @property
    def _query_hash(self) -> str:
        query = self.parts.query + self.parts.fragment
        return sha256(query.encode()).hexdigest()[:8] if query else ""

    def __str__(self) -> str:
        query = f"?…{self._query_hash}" if self._query_hash else ""
        return f"{self.parts.scheme}://{self.host}{self.parts.path}{query}"

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"


def parse_url(argument: str) -> Url | None:
    """Returns the address that an argument contains; None if it is not an address.

    Raises:
        InputError: the scheme is not supported, or the host is missing or invalid.
    """
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", argument)
    if not match:
        return None
    scheme = match[1].lower()
    require(
        scheme in SCHEMES,
        f"{scheme}:// is not supported; use a path or an address with {', '.join(SCHEMES)}",
    )
    url = Url(scheme + argument[len(scheme) :].strip())
    try:
        valid = bool(url.parts.hostname) and url.parts.port != 0
    except ValueError:  # an invalid port or IPv6 address
        valid = False
    require(valid, f"{scheme}://…: the address has no valid host or port")
    require(not re.search(r"[\0-\x20]", url.address), f"{url}: spaces in an address must be %20")
    return url


def download_image(url: Url) -> bytes | None:
    """Downloads an image; returns None for a video, of which only the beginning is read.

    Raises:
        InputError: the server cannot be reached, does not have the file or is too slow, or the
            file is too large or neither an image nor a video.
    """
    result: Queue[bytes | InputError | None] = Queue(1)

    def run() -> None:
        try:
            result.put(_download(url))
        except InputError as error:
            result.put(error)
        except (OSError, HTTPException, ValueError) as error:
            result.put(InputError(f"{url}: cannot be downloaded: {_reason(error)}"))

    # A server that sends one byte at a time is within the limit of every single read.
    Thread(target=run, daemon=True, name="higherhrnet-download").start()
    try:
        data = result.get(timeout=DOWNLOAD_SECONDS)
    except Empty:
        raise InputError(f"{url}: not downloaded within {DOWNLOAD_SECONDS:.0f} s") from None
    if isinstance(data, InputError):
        raise data
    return data


def _download(url: Url) -> bytes | None:
    end = time.monotonic() + DOWNLOAD_SECONDS
    with _open(url) as response:
        data = response.read(4096)
        kind = stream_kind(BytesIO(data))
        media_type = response.headers.get("Content-Type", "")
        if kind == "video" or data.startswith(b"#EXTM3U") or _VIDEO_TYPES.match(media_type):
            return None
        require(kind is not None, f"{url}: neither an image nor a video of a supported format")
        blocks, size = [data], len(data)
        while (block := response.read(2**16)) and time.monotonic() < end:
            blocks.append(block)
            size += len(block)
            if size > MAX_DOWNLOAD_SIZE:
                raise InputError(f"{url}: larger than {MAX_DOWNLOAD_SIZE >> 20} MiB")
        require(not response.length, f"{url}: the connection was interrupted")
    return b"".join(blocks)


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
    return cast(HTTPResponse, build_opener(_RedirectHandler).open(request, timeout=TIMEOUT))


def _reason(error: Exception) -> str:
    """Returns the reason of a failed request in one line, without the address."""
    if isinstance(error, HTTPError):
        reason = "a redirect that is not followed" if error.code // 100 == 3 else error.msg
        return f"HTTP status {error.code} ({reason})"
    reason = getattr(error, "reason", error)  # of a URLError
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    return str(getattr(reason, "strerror", None) or reason or type(reason).__name__)


def _in_file_name(text: str) -> str:
    """Replaces the characters that file names cannot contain."""
    return re.sub(r'[\0-\x1f\\/:*?"<>|\[\]]', "_", text)
