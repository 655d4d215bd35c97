"""Requests' bodies → the bytes of photographs, none of them decoded yet."""

from __future__ import annotations

import asyncio
import re

from fastapi import HTTPException, Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from higherhrnet.serving.limits import ServingLimits

KINDS = ("image/jpeg", "image/png", "image/webp")
FORM = "multipart/form-data"
MAX_SCANS = 100
"""Of a JPEG; progressive ones have about ten. Each costs a pass over all pixels, so a file of
thousands would keep a core busy for an hour."""
_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e]")
"""A scan's marker and the length of its header, which has 1 to 4 components: the marker alone also
comes by chance in what phones append to a JPEG."""


async def receive(request: Request, limits: ServingLimits) -> bytes:
    """A request's whole body.

    Raises:
        HTTPException: it is larger than allowed (413), which is noticed as it comes, or slow (408).
    """
    too_large = HTTPException(413, f"more than {limits.max_megabytes:g} million bytes")
    if int(request.headers.get("content-length", 0)) > limits.max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.max_bytes:
                    raise too_large
    except TimeoutError as error:
        raise HTTPException(
            408, f"the photograph did not arrive within {limits.timeout:g} seconds"
        ) from error
    return bytes(body)


def photographs(content_type: str, body: bytes, most: int) -> list[bytes]:
    """The photographs in a body: the body itself, or the parts of a form.

    Args:
        content_type: the request's header.
        body: all of it.
        most: parts that a form may have.

    Raises:
        HTTPException: they are of a kind that is not read (415), or the form is damaged or has
            too many parts (400).
    """
    kind, options = parse_options_header(content_type)
    if kind.decode("latin-1") in KINDS:
        found = [body]
    elif kind == FORM.encode():
        found = _parts(options.get(b"boundary", b""), body, most)
    else:
        kinds = ", ".join(KINDS)
        raise HTTPException(415, f"Content-Type must be one of {kinds}, or {FORM} of such")
    for photograph in found:
        _check_kind(photograph)
    return found


def _parts(boundary: bytes, body: bytes, most: int) -> list[bytes]:
    parts: list[bytearray] = []
    ends: list[None] = []

    def begin() -> None:
        if len(parts) == most:
            raise HTTPException(400, f"more photographs in a form than the {most} that this takes")
        parts.append(bytearray())

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": begin,
                "on_part_data": lambda data, start, end: parts[-1].extend(data[start:end]),
                "on_end": lambda: ends.append(None),
            },
        )
        parser.write(body)
    except FormParserError as error:
        raise HTTPException(400, f"the form is damaged: {error}") from error
    if not (parts and ends):
        raise HTTPException(400, "the form is cut short, or holds no photograph")
    return [bytes(part) for part in parts]


def _check_kind(data: bytes) -> None:
    """Only these three go to their decoders, however they are called."""
    if data.startswith(b"\xff\xd8\xff"):
        if sum(1 for _ in _SCAN.finditer(data)) > MAX_SCANS:
            raise HTTPException(422, f"a JPEG of more than {MAX_SCANS} scans; save it anew")
    elif not data.startswith(b"\x89PNG\r\n\x1a\n") and (data[:4], data[8:12]) != (b"RIFF", b"WEBP"):
        raise HTTPException(415, "not the bytes of a JPEG, PNG or WebP photograph")
