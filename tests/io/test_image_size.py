"""The size of an image is read from its header."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from higherhrnet.io.image_formats.image_size import image_size

PIXELS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8))


def encode(file_format: str, **options: object) -> bytes:
    file = BytesIO()
    PIXELS.save(file, file_format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"comment": b"\xff\xc0" * 1000}),
        ("JPEG", {"icc_profile": b"\xff\xc0\x00\x11\x08" * 30_000}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("JPEG2000", {}),
        ("JPEG2000", {"no_jp2": True}),
    ],
)
def test_the_size_is_that_of_pillow(file_format: str, options: dict[str, object]) -> None:
    assert image_size(encode(file_format, **options)) == (70, 40)


def test_a_thumbnail_and_fill_bytes_precede_the_frame_header_of_a_jpeg_file() -> None:
    data = encode("JPEG")
    thumbnail = BytesIO()
    PIXELS.resize((20, 10)).save(thumbnail, "JPEG")
    segment = b"Exif\0\0" + thumbnail.getvalue()
    head = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
    changed = data[:2] + head + b"\xff" * 5 + data[2:]
    assert Image.open(BytesIO(changed)).size == (70, 40)
    assert image_size(changed) == (70, 40)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_truncated_header_has_no_size(file_format: str) -> None:
    data = encode(file_format)
    for length in range(24):
        assert image_size(data[:length]) == (-1, -1)
    assert image_size(b"\xff\xd8\xff\xe0\0\0" * 100) == (-1, -1)
