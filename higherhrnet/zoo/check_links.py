"""Checks whether the published models can still be downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from higherhrnet.zoo.download import TIMEOUT, address
from higherhrnet.zoo.published_model import PublishedModel

_CONNECTIONS = 8
"""Number of addresses that are checked concurrently."""


def check_links(models: Sequence[PublishedModel]) -> Iterator[tuple[PublishedModel, str | None]]:
    """Requests the first byte of each file.

    Yields:
        Each model, and the reason why its file cannot be downloaded; None: it can.
    """
    with ThreadPoolExecutor(_CONNECTIONS) as executor:
        yield from zip(models, executor.map(_problem, models), strict=True)


def _problem(model: PublishedModel) -> str | None:
    headers = {"User-Agent": "higherhrnet", "Range": "bytes=0-0"}
    try:
        with urlopen(Request(address(model), headers=headers), timeout=TIMEOUT) as response:
            content_type = response.headers.get_content_type()
            content_range = response.headers.get("Content-Range", "")
            size = content_range.rpartition("/")[2] or response.headers.get("Content-Length", "")
    except HTTPError as error:
        error.close()
        return f"{error.code} {error.reason}"
    except (OSError, HTTPException, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    if content_type == "text/html":
        return "a web page instead of the file"
    if model.size and size.isdigit() and int(size) != model.size:
        return f"{size} bytes instead of {model.size}"
    return None
