"""Receives the image files of a request, without decoding them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from higherhrnet.io.image_formats.heif import heif_kind
from higherhrnet.io.image_formats.image_kinds import unreadable_kind
from higherhrnet.serving.json_images import decode_json_images, json_schema
from higherhrnet.serving.limits import ServingLimits
from higherhrnet.serving.problems import image_prefix

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
OTHER_IMAGE_TYPES = ("image/jpg", "image/pjpeg", "image/x-png", "application/octet-stream")
"""Media types that are not registered for these formats, but sent by clients."""
FORM_TYPE = "multipart/form-data"
JSON_TYPE = "application/json"
BINARY = {"type": "string", "format": "binary"}
"""OpenAPI's schema of a file."""
MAX_TEXT_FIELDS = 64
"""Maximum number of text fields in a form; they are ignored."""
MAX_SCANS = 100
"""Maximum number of scans of a JPEG; progressive files have about ten. Each scan is a pass over all
pixels, so that a small file with thousands of scans would occupy a core for an hour."""
_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e]")
"""The marker of a scan and the length of its header, which describes 1 to 4 components. The marker
alone also occurs by chance in data that phones append to a JPEG."""


@dataclass(frozen=True)
class Upload:
    """The content of a request."""

    images: list[bytes]
    """The image files."""
    ignored_fields: list[str] = field(default_factory=list)
    """The names of fields of a form or a JSON body that are not images."""


def openapi_body(**bounds: int) -> dict[str, Any]:
    """Returns the OpenAPI entry of a request body that `receive_images` accepts.

    Args:
        bounds: the schema's bounds on the number of files in a form, such as `maxItems`.
    """
    form = {
        "type": "object",
        "description": "Every file is an image, regardless of its name. Text fields are ignored "
        "and named in the header X-Ignored-Fields.",
        "properties": {"image": {"type": "array", "items": BINARY, "minItems": 1, **bounds}},
        "required": ["image"],
        "additionalProperties": False,  # of the kind of `image`
    }
    content: dict[str, Any] = {media_type: {"schema": BINARY} for media_type in IMAGE_TYPES}
    encoding = {"image": {"contentType": ", ".join(IMAGE_TYPES)}}
    content[FORM_TYPE] = {"schema": form, "encoding": encoding}
    content[JSON_TYPE] = {"schema": json_schema(**bounds)}
    return {"requestBody": {"required": True, "content": content}}


async def receive_images(
    request: Request, limits: ServingLimits, max_images: int, settings: Collection[str] = ()
) -> Upload:
    """Receives the image files of a request: the body itself, the files of a form, or JSON.

    Args:
        request: the request, with a body that has not been read.
        limits: the size and the time that the body may take.
        max_images: maximum number of images in a form or in JSON.
        settings: the names of query parameters, which are errors as fields.

    Returns:
        The files, which begin like a JPEG, PNG or WebP image, and the names of other fields.

    Raises:
        HTTPException: the form or the JSON is invalid (400); the body did not arrive in time (408)
            or is too large (413); it or an image in it is not of a supported type (415); a JPEG has
            too many scans (422).
    """
    media_type = parse_options_header(request.headers.get("content-type"))[0].decode("latin-1")
    if media_type not in (*IMAGE_TYPES, *OTHER_IMAGE_TYPES, FORM_TYPE, JSON_TYPE):
        supported = ", ".join((*IMAGE_TYPES, FORM_TYPE))
        found = f", not {media_type[:100]}" if media_type else ""
        raise HTTPException(415, f"Content-Type must be one of {supported}, or {JSON_TYPE}{found}")
    try:
        async with asyncio.timeout(limits.timeout):
            if media_type == FORM_TYPE:
                upload = await _receive_form(request, limits, max_images)
            else:
                upload = Upload([await _receive_body(request, limits)])
    except TimeoutError as error:
        raise HTTPException(
            408, f"the request did not arrive within {limits.timeout:g} seconds"
        ) from error
    if media_type == JSON_TYPE:
        upload = Upload(*await asyncio.to_thread(decode_json_images, upload.images[0]))
    for name in settings:
        if name in upload.ignored_fields:
            raise HTTPException(400, f"{name} must be a query parameter: ?{name}=…")
    if len(upload.images) > max_images:
        raise HTTPException(400, f"the request contains more images than {max_images}")
    await asyncio.to_thread(_check_formats, upload.images)
    return upload


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


async def _receive_form(request: Request, limits: ServingLimits, max_images: int) -> Upload:
    # a file may come without a file name, as a text field: Latin-1 preserves its bytes
    content_type = request.headers["content-type"] + "; charset=latin-1"
    parser = _FormParser(
        Headers({"content-type": content_type}),
        _receive_chunks(request, limits),
        max_files=max_images,
        max_fields=max_images + MAX_TEXT_FIELDS,
        max_part_size=limits.max_bytes,
    )
    parser.spool_max_size = limits.max_bytes  # keeps files in memory instead of on the disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"the form is invalid: {error.message}") from error
    images, ignored = [], []
    for name, value in form.multi_items():
        data = await value.read() if isinstance(value, UploadFile) else value.encode("latin-1")
        if isinstance(value, UploadFile) or _is_image(data):
            images.append(data)
        else:
            ignored.append(name)
    if not parser.complete:
        raise HTTPException(400, "the form is incomplete")
    if not images:
        fields = f", only the text fields {', '.join(ignored)}" if ignored else ""
        raise HTTPException(400, f"the form contains no file{fields}")
    return Upload(images, ignored)


def _is_image(data: bytes) -> bool:
    """Returns whether data begins like a JPEG, PNG or WebP image."""
    return data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (
        (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
    )


def _check_formats(images: list[bytes]) -> None:
    """Rejects data that is not JPEG, PNG or WebP, so that no other decoder reads it."""
    for index, data in enumerate(images):
        of_image = image_prefix(index, len(images))
        if not data:
            raise HTTPException(415, f"{of_image}the data is empty, not a JPEG, PNG or WebP image")
        if not _is_image(data):
            kind = heif_kind(data) or unreadable_kind(data)
            but = f", but {kind}" if kind else ""
            raise HTTPException(415, f"{of_image}the data is not a JPEG, PNG or WebP image{but}")
        if data.startswith(b"\xff\xd8\xff") and sum(1 for _ in _SCAN.finditer(data)) > MAX_SCANS:
            raise HTTPException(
                422, f"{of_image}the JPEG has more than {MAX_SCANS} scans; save the image again"
            )
