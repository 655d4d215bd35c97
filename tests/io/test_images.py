"""Every kind of picture file against Pillow, which shares no code with what is tested."""

from __future__ import annotations

import os
import re
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from higherhrnet.errors import InputError
from higherhrnet.io.images import MAX_PIXELS, MIN_SIDE, encode_image, read_image

Y, X = np.mgrid[:40, :60]
RGB = np.stack([X * 4, Y * 6, (X + Y) * 2], axis=-1).astype(np.uint8)
"""No two of its turns or mirrorings are equal, nor any two of its channels."""
RGBA = np.dstack([RGB, 255 - X * 4]).astype(np.uint8)
DEEP = (RGB.astype(np.uint16) << 8) | 0x7F
ORIENTATION = 0x0112


def encode(picture: Pillow.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def picture(mode: str = "RGB") -> Pillow.Image:
    return Pillow.fromarray(RGB).convert(mode)


def with_orientation(value: int) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[ORIENTATION] = value
    return exif


def as_pillow_shows(data: bytes) -> NDArray[np.uint8]:
    """Turned as EXIF says, on white."""
    upright = ImageOps.exif_transpose(Pillow.open(BytesIO(data)))
    if upright.mode in ("RGBA", "LA", "P", "PA"):
        shown = upright.convert("RGBA")
        return np.asarray(
            Pillow.alpha_composite(Pillow.new("RGBA", shown.size, "white"), shown).convert("RGB")
        )
    return np.asarray(upright.convert("RGB"))


def assert_reads(data: bytes, expected: NDArray[np.uint8], within: int = 0) -> None:
    image = read_image(BytesIO(data))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= within


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *((kind, "RGB") for kind in ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")),
        *((kind, "L") for kind in ("JPEG", "PNG", "BMP", "TIFF", "PPM")),
        *((kind, "P") for kind in ("PNG", "BMP", "TIFF")),
        *((kind, "1") for kind in ("PNG", "TIFF")),
    ],
)
def test_ordinary_files_equal_pillow(kind: str, mode: str) -> None:
    data = encode(picture(mode), kind)
    assert_reads(data, as_pillow_shows(data))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"keep_rgb": True}),  # stored without a colour transform
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
    ],
)
def test_ways_of_storing_equal_pillow(kind: str, options: dict[str, Any]) -> None:
    data = encode(picture(), kind, **options)
    assert_reads(data, as_pillow_shows(data), within=1)


def test_of_many_pictures_in_a_file_the_first_is_read() -> None:
    mirrored = picture().transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
    for kind in ("TIFF", "WEBP"):
        data = encode(picture(), kind, save_all=True, append_images=[mirrored])
        assert_reads(data, as_pillow_shows(data))


@pytest.mark.parametrize("transform", [0, 2], ids=["as Pillow writes it", "YCCK as Photoshop does"])
def test_cmyk_jpeg_is_not_inverted(transform: int) -> None:
    inks = np.asarray(picture("CMYK")).copy()
    inks[..., 3] = 50
    data = bytearray(encode(Pillow.fromarray(inks, "CMYK"), "JPEG", quality=95))
    data[data.index(b"Adobe") + 11] = transform
    # Inks become colours by a product, which the two round differently.
    assert_reads(bytes(data), as_pillow_shows(bytes(data)), within=3)


def test_cmyk_tiff() -> None:
    data = encode(picture("CMYK"), "TIFF")
    assert_reads(data, as_pillow_shows(data), within=1)


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_sixteen_bits_keep_the_upper_eight(extension: str) -> None:
    for stored, expected in [
        (DEEP[..., ::-1], RGB),
        (DEEP[..., 0], np.repeat(RGB[..., :1], 3, axis=2)),
    ]:
        data = cv2.imencode(extension, stored)[1].tobytes()
        assert_reads(data, expected, within=1)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_is_turned_as_exif_says(orientation: int, mode: str) -> None:
    data = encode(picture(mode), "JPEG", exif=with_orientation(orientation))
    assert_reads(data, as_pillow_shows(data), within=3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [3, 5, 6])
def test_other_kinds_are_turned_as_exif_says(orientation: int, kind: str) -> None:
    data = encode(picture(), kind, exif=with_orientation(orientation))
    assert_reads(data, as_pillow_shows(data))


def test_exif_can_be_ignored() -> None:
    data = encode(picture(), "JPEG", exif=with_orientation(6))
    stored = np.asarray(Pillow.open(BytesIO(data)))
    np.testing.assert_array_equal(read_image(BytesIO(data), respect_exif=False), stored)


@pytest.mark.parametrize(
    ("see_through", "kind", "options"),
    [
        (Pillow.fromarray(RGBA), "PNG", {}),
        (Pillow.fromarray(RGBA).convert("LA"), "PNG", {}),
        (picture("P"), "PNG", {"transparency": 0}),
        (Pillow.fromarray(RGBA), "WEBP", {"lossless": True, "exact": True}),
        (Pillow.fromarray(RGBA), "WEBP", {"lossless": True}),
        (Pillow.fromarray(RGBA), "WEBP", {"quality": 90}),
        (Pillow.fromarray(RGBA), "WEBP", {"save_all": True, "append_images": [picture()]}),
    ],
)
def test_transparent_files_are_laid_on_white(
    see_through: Pillow.Image, kind: str, options: dict[str, Any]
) -> None:
    data = encode(see_through, kind, **options)
    assert_reads(data, as_pillow_shows(data), within=1)


def test_transparent_sixteen_bit_png() -> None:
    deep = np.dstack([DEEP[..., ::-1], RGBA[..., 3].astype(np.uint16) * 257])
    expected = as_pillow_shows(encode(Pillow.fromarray(RGBA), "PNG"))
    assert_reads(cv2.imencode(".png", deep)[1].tobytes(), expected, within=1)


def test_transparent_and_turned_keeps_the_turn_and_its_colours() -> None:
    data = encode(Pillow.fromarray(RGBA), "PNG", exif=with_orientation(6))
    assert_reads(data, np.rot90(RGB, -1))


def test_arrays() -> None:
    assert read_image(RGB) is RGB
    turned = read_image(RGB[:, ::-1])
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, RGB[:, ::-1])
    np.testing.assert_array_equal(read_image(RGB[..., 0]), np.stack([RGB[..., 0]] * 3, axis=-1))
    on_white = as_pillow_shows(encode(Pillow.fromarray(RGBA), "PNG"))
    assert np.abs(read_image(RGBA).astype(int) - on_white).max() <= 1


@pytest.mark.parametrize(
    "array",
    [
        RGB.astype(np.float32) / 255,
        DEEP,
        RGB.astype(bool),
        RGB.transpose(2, 0, 1),
        RGB[None],
        RGB[..., :1],
        RGB[0, 0],
        np.zeros((), np.uint8),
    ],
)
def test_other_arrays_are_refused_with_what_is_wanted(array: NDArray[Any]) -> None:
    with pytest.raises(InputError, match=r"uint8 of shape \(H, W, 3\) RGB"):
        read_image(array)


def test_neither_path_nor_file_nor_array() -> None:
    with pytest.raises(InputError, match="cannot read a picture from Image: give a path"):
        read_image(picture())


def test_paths_and_open_files(tmp_path: Path) -> None:
    path = tmp_path / "Füße 人.png"
    path.write_bytes(encode(picture(), "PNG"))
    with path.open("rb") as file:
        for source in (path, str(path), file):
            np.testing.assert_array_equal(read_image(source), RGB)


def test_what_follows_the_picture_does_no_harm() -> None:
    data = encode(picture(), "JPEG")  # as phones append a film to it
    assert_reads(data + b"ftypmp42" * 1000, as_pillow_shows(data))


def png(width: int, height: int) -> bytes:
    """A black one-bit PNG of any size, at a few bytes a row."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


JPEG = encode(picture(), "JPEG")


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"Dear reader, this is no picture.\n" * 20, "not a picture of a known kind"),
        (b"BM, says a text that begins as a bitmap does.\n" * 20, "more than 178"),
        (JPEG[:-2], "cut short"),  # all but the marker of its end
        (JPEG[: len(JPEG) // 2], "cut short"),
        (JPEG[:20], "cut short"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "HEIC"),
        (png(1, 1), f"1×1 pixels are too few.* at least {MIN_SIDE}"),
        (png(MIN_SIDE - 1, 100), "15×100 pixels are too few"),
        (png(20_000, 10_000), "20000×10000 is more than 178,956,970 pixels"),
        (png(30_000, 20), "more than 20 times as long as wide"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    assert re.search(expected, refusal(path))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "PPM", "JPEG2000"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_part_of_a_file_is_never_taken_for_the_whole(
    tmp_path: Path, kind: str, part: float
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode(Pillow.fromarray(noise), kind)
    path = tmp_path / "part"
    path.write_bytes(data[: int(len(data) * part)])
    assert "cut short" in refusal(path)


def test_a_jpeg_cut_after_its_thumbnail_is_refused(tmp_path: Path) -> None:
    """The thumbnail has an end marker of its own."""
    exif = b"Exif\0\0" + encode(picture().resize((32, 32)), "JPEG")
    data = encode(picture(), "JPEG", exif=exif)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[:-40])
    assert "cut short" in refusal(path)


def test_the_smallest_and_the_longest_that_are_read() -> None:
    assert read_image(BytesIO(png(MIN_SIDE, MIN_SIDE))).shape == (MIN_SIDE, MIN_SIDE, 3)
    assert read_image(BytesIO(png(20 * 20, 20))).shape == (20, 20 * 20, 3)
    assert 13_000 * 13_000 < MAX_PIXELS < 14_000 * 14_000


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing.jpg")
    assert "cannot be read" in refusal(tmp_path)
    with pytest.raises(InputError, match="null"):
        read_image("a\0b")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything is permitted")
def test_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "locked.png"
    path.write_bytes(encode(picture(), "PNG"))
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_callers_may_refuse_smaller_ones_too() -> None:
    data = encode_image(np.zeros((40, 50, 3), np.uint8), ".png")
    assert read_image(BytesIO(data), max_pixels=2000).shape == (40, 50, 3)
    with pytest.raises(InputError, match="more than 1,999 pixels"):
        read_image(BytesIO(data), max_pixels=1999)
