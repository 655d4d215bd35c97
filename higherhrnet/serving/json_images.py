"""The images of a JSON body: base64 strings or data: URLs."""

from __future__ import annotations

import base64
import json
from typing import Any

from fastapi import HTTPException

IMAGE_FIELDS = ("image", "images")
"""The fields of the JSON object that contain a string or a list of strings."""
_BASE64 = {"type": "string", "format": "byte", "description": "An image file in base64."}
MAX_VALUES = 10_000
"""Maximum number of values in the body. Small values need much more memory than their text."""
_STANDARD = str.maketrans("-_", "+/")


def decode_json_images(body: bytes) -> tuple[list[bytes], list[str]]:
    """Decodes the images of a JSON body.

    Args:
        body: the body, an object with the field `image` or `images`.

    Returns:
        The image files, and the names of other fields.

    Raises:
        HTTPException: the body is not such an object, or a string is not base64 (400).
    """
    if sum(map(body.count, (b"[", b"{", b","))) > MAX_VALUES:  # none of them occurs in base64
        raise HTTPException(400, f"the JSON body has more than {MAX_VALUES} values")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise HTTPException(400, 'the JSON body must be an object, such as {"image": "<base64>"}')
    strings: list[Any] = []
    for field in IMAGE_FIELDS:
        value = content.get(field, [])
        strings += value if isinstance(value, list) else [value]
    if not strings:
        raise HTTPException(400, "the JSON body contains no image; add the field image")
    images = [_decode(string, i) for i, string in enumerate(strings, 1)]
    return images, [name for name in content if name not in IMAGE_FIELDS]


def json_schema(**bounds: int) -> dict[str, Any]:
    """Returns OpenAPI's schema of a JSON body.

    Args:
        bounds: bounds on the number of images in a list, such as `maxItems`.
    """
    array = {"type": "array", "items": _BASE64, "minItems": 1, **bounds}
    return {
        "type": "object",
        "description": "`image`, or `images`, is an image file in base64, also as a `data:` URL, "
        "or a list of them. Other fields are ignored and named in the header X-Ignored-Fields.",
        "properties": {"image": {"anyOf": [_BASE64, array]}},
        "required": ["image"],
    }


def _decode(string: Any, number: int) -> bytes:  # noqa: ANN401
    """Decodes the base64 of an image: standard or URL-safe, with or without padding and spaces."""
    if not isinstance(string, str):
        raise HTTPException(400, f"image {number} is not a string; encode the file in base64")
    if string[:5].lower() == "data:":
        header, separator, string = string.partition(",")
        if not separator or not header.lower().endswith(";base64"):
            raise HTTPException(400, f"image {number}: the data: URL is not encoded in base64")
    compact = "".join(string.split()).translate(_STANDARD).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except ValueError as error:
        raise HTTPException(400, f"image {number} is not valid base64: {error}") from error
