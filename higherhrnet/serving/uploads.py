"""Receives the image files of a request, without decoding them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import HTTPException, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from higherhrnet.serving.limits import ServingLimits

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
FORM_TYPE = "multipart/form-data"
BINARY = {"type": "string", "format": "binary"}
"""OpenAPI's schema of a file."""
MAX_SCANS = 100
"""Maximum number of scans of a JPEG; progressive files have about ten. Each scan is a pass over all
pixels, so that a small file with thousands of scans would occupy a core for an hour."""
_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e]")
"""The marker of a scan and the length of its header, which describes 1 to 4 components. The marker
alone also occurs by chance in data that phones append to a JPEG."""


def openapi_body(**bounds: int) -> dict[str, Any]:
    """Returns the OpenAPI entry of a request body that `receive_images` accepts.

    Args:
        bounds: the schema's bounds on the number of files in a form, such as `maxItems`.
    """
    form = {
        "type": "object",
        "description": "Every part is an image file, regardless of its name.",
        "properties": {"image": {"type": "array", "items": BINARY, "minItems": 1, **bounds}},
        "required": ["image"],
        "additionalProperties": False,  # otherwise text fields would be valid
    }
    content: dict[str, Any] = {media_type: {"schema": BINARY} for media_type in IMAGE_TYPES}
    encoding = {"image": {"contentType": ", ".join(IMAGE_TYPES)}}
    content[FORM_TYPE] = {"schema": form, "encoding": encoding}
    return {"requestBody": {"required": True, "content": content}}


async def receive_images(request: Request, limits: ServingLimits, max_images: int) -> list[bytes]:
    """Receives the image files of a request: the body itself, or the files of a form.

    Args:
        request: the request, with a body that has not been read.
        limits: the size and the time that the body may take.
        max_images: maximum number of files in a form.

    Returns:
        The files, which begin like a JPEG, PNG or WebP image.

    Raises:
        HTTPException: the form is invalid (400); the body did not arrive in time (408) or is too
            large (413); it or a file of the form is not of a supported type (415); a JPEG has too
            many scans (422).
    """
    media_type = parse_options_header(request.headers.get("content-type"))[0].decode("latin-1")
    if media_type not in (*IMAGE_TYPES, FORM_TYPE):
        supported = ", ".join(IMAGE_TYPES)
        raise HTTPException(415, f"Content-Type must be one of {supported}, or {FORM_TYPE}")
    try:
        async with asyncio.timeout(limits.timeout):
            if media_type == FORM_TYPE:
                images = await _receive_form(request, limits, max_images)
            else:
                images = [await _receive_body(request, limits)]
    except TimeoutError as error:
        raise HTTPException(
            408, f"the request did not arrive within {limits.timeout:g} seconds"
        ) from error
    await asyncio.to_thread(_check_formats, images)
    return images


async def _receive_chunks(request: Request, limits: ServingLimits) -> AsyncGenerator[bytes, None]:
    """Yields the body of a request, as long as it is not too large."""
    too_large = HTTPException(
        413, f"the request is larger than {limits.max_megabytes:g} million bytes"
    )
    if int(request.headers.get("content-length", 0)) > limits.max_bytes:
        raise too_large
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limits.max_bytes:
            raise too_large
        yield chunk


async def _receive_body(request: Request, limits: ServingLimits) -> bytes:
    body = bytearray()
    async for chunk in _receive_chunks(request, limits):
        body += chunk
    return bytes(body)


class _FormParser(MultiPartParser):
    """Starlette's parser, which also records whether the form is complete."""

    complete = False

    def on_end(self) -> None:
        self.complete = True


async def _receive_form(request: Request, limits: ServingLimits, max_images: int) -> list[bytes]:
    # a file may come without a file name, as a text field: Latin-1 preserves its bytes
    content_type = request.headers["content-type"] + "; charset=latin-1"
    parser = _FormParser(
        Headers({"content-type": content_type}),
        _receive_chunks(request, limits),
        max_files=max_images,
        max_fields=max_images,
        max_part_size=limits.max_bytes,
    )
    parser.spool_max_size = limits.max_bytes  # keeps files in memory instead of on the disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"the form is invalid: {error.message}") from error
    images = [
        await value.read() if isinstance(value, UploadFile) else value.encode("latin-1")
        for _, value in form.multi_items()
    ]
    if not parser.complete:
        raise HTTPException(400, "the form is incomplete")
    if not images:
        raise HTTPException(400, "the form contains no file")
    if len(images) > max_images:
        raise HTTPException(400, f"the form contains more files than {max_images}")
    return images


def _check_formats(images: list[bytes]) -> None:
    """Rejects data that is not JPEG, PNG or WebP, so that no other decoder reads it."""
    for data in images:
        if data.startswith(b"\xff\xd8\xff"):
            if sum(1 for _ in _SCAN.finditer(data)) > MAX_SCANS:
                raise HTTPException(
                    422, f"the JPEG has more than {MAX_SCANS} scans; save the image again"
                )
        elif not (
            data.startswith(b"\x89PNG\r\n\x1a\n") or (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
        ):
            raise HTTPException(415, "the data is not a JPEG, PNG or WebP image")
