"""Addresses of images and videos on the network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from higherhrnet.errors import require
from higherhrnet.io.images import IMAGE_EXTENSIONS

SCHEMES = ("http", "https", "rtsp", "rtsps")
"""The schemes of addresses that are sources."""
TIMEOUT = 10.0
"""Seconds without data after which a connection fails."""
_STILL_EXTENSIONS = {*IMAGE_EXTENSIONS} - {".gif", ".png", ".webp"}
_DEVICE_NAME = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)


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


Origin = Path | Url | int
"""The path of a file, a network address or the number of a camera."""


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


def _in_file_name(text: str) -> str:
    """Replaces what names of files and folders cannot contain, also on Windows."""
    name = re.sub(r'[\0-\x1f\\/:*?"<>|\[\]]', "_", text)
    if name.strip(" ."):
        name = re.sub(r"[ .]$", "_", name)
    return _DEVICE_NAME.sub(r"\1_", name)
