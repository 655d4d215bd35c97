"""Files that are not images, and unusual images, are read or rejected by the name of their kind."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow

from higherhrnet.errors import InputError
from higherhrnet.io.images import read_image

Y, X = np.mgrid[:48, :64]
RGB = np.stack([X * 4, Y * 5, (X + Y) * 2], axis=-1).astype(np.uint8)
RGBA = np.dstack([RGB, 255 - X * 3]).astype(np.uint8)
RGB565, RGB555 = (0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48"></svg>'


def encode(image: Pillow.Image, file_format: str, **options: Any) -> bytes:  # noqa: ANN401
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def pillow_on_white(data: bytes) -> NDArray[np.uint8]:
    """The pixels as Pillow decodes them, on white."""
    rgba = Pillow.open(BytesIO(data)).convert("RGBA")
    white = Pillow.new("RGBA", rgba.size, "white")
    return np.asarray(Pillow.alpha_composite(white, rgba).convert("RGB"))


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:  # noqa: ANN401
    file = BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", **options)
    return file.getvalue()


def preview_and_sensor() -> bytes:
    """A TIFF file with a preview that refers to another image, as NEF and ARW files are."""
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(RGB, photometric="rgb", subfiletype=1, subifds=1)
        writer.write(RGB, photometric="rgb")
    return file.getvalue()


def test_big_endian_bigtiff_is_read() -> None:  # Pillow does not read it
    assert np.array_equal(read_image(tiff(RGB, bigtiff=True, byteorder=">")), RGB)


def bmp(masks: tuple[int, int, int], header_size: int = 40, top_down: bool = False) -> bytes:
    """A BMP file of 16 bits per pixel, with masks after or within the header."""
    pixels = np.zeros((48, 64), np.uint16)
    for channel, mask in enumerate(masks):
        lowest = mask & -mask
        pixels |= (np.rint(RGB[..., channel] / 255 * (mask // lowest)) * lowest).astype(np.uint16)
    header = struct.pack(
        "<IiiHHIIiiII", header_size, 64, -48 if top_down else 48, 1, 16, 3, *[0] * 5
    )
    header += struct.pack("<III", *masks)
    header = header.ljust(header_size, b"\0")
    rows = pixels.astype("<u2")[:: 1 if top_down else -1].tobytes()
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + rows


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("header_size", [40, 52, 56, 108, 124])
@pytest.mark.parametrize("masks", [RGB565, RGB555, (0xF00, 0xF0, 0xF)])
def test_bmp_of_16_bits_is_read(
    masks: tuple[int, int, int], header_size: int, top_down: bool
) -> None:
    data = bmp(masks, header_size, top_down)
    image = read_image(data)
    steps = np.array([mask // (mask & -mask) for mask in masks])
    expected = np.rint(np.rint(RGB / 255 * steps) * 255 / steps)
    assert np.array_equal(image, expected)
    if masks == RGB565 and header_size == 40:
        assert np.abs(image.astype(int) - pillow_on_white(data)).max() <= 1


def test_bmp_of_16_bits_without_masks_is_read() -> None:
    data = bytearray(bmp(RGB555))
    data[30] = 0  # no masks
    data[10:14] = struct.pack("<I", 54)
    image = read_image(bytes(data[:54] + data[66:]))
    assert np.array_equal(image, read_image(bmp(RGB555)))


@pytest.mark.parametrize("length", [20, 50, 60, 1000, 6000])
def test_truncated_bmp_of_16_bits_is_rejected(length: int) -> None:
    with pytest.raises(InputError, match="truncated"):
        read_image(bmp(RGB565)[:length])


@pytest.mark.parametrize(
    "data",
    [
        encode(Pillow.fromarray(RGB), "PNG", transparency=tuple(map(int, RGB[5, 7]))),
        encode(Pillow.fromarray(RGB[..., 0]), "PNG", transparency=int(RGB[5, 7, 0])),
        encode(Pillow.fromarray(RGB[..., 0] > 99), "PNG", transparency=0),
        encode(Pillow.fromarray(RGB).convert("P"), "GIF", transparency=3),
        encode(Pillow.fromarray(RGBA), "JPEG2000"),
        encode(Pillow.fromarray(RGB), "JPEG2000", no_jp2=True),
        encode(Pillow.fromarray(RGB), "TIFF", big_tiff=True),
        tiff(RGB, tile=(32, 48), compression="zlib"),
        tiff(np.stack([RGB, RGB[::-1]])),
        encode(
            Pillow.fromarray(RGB), "MPO", save_all=True, append_images=[Pillow.new("RGB", (64, 48))]
        ),
        encode(Pillow.fromarray(RGB), "JPEG") + b"\xff\xd8trailing data" * 99,
    ],
    ids=[
        "PNG with a transparent color", "PNG with a transparent gray", "PNG of one bit",
        "transparent GIF", "transparent JPEG 2000", "JPEG 2000 codestream", "BigTIFF",
        "tiled TIFF", "multi-page TIFF", "MPO", "trailing data",
    ],
)  # fmt: skip
def test_unusual_images_equal_pillow(data: bytes) -> None:
    image = read_image(data)
    assert np.abs(image.astype(int) - pillow_on_white(data)).max() <= 1


def test_transparent_bmp_is_blended_with_white_unless_all_of_it_is_transparent() -> None:
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, 64, -48, 1, 32, 3, *[0] * 5) + masks
    start = struct.pack("<IHHI", 0, 0, 0, 122)
    for alpha in (RGBA[..., 3], np.zeros_like(X)):
        pixels = np.dstack([RGB[..., ::-1], alpha]).astype(np.uint8)
        data = b"BM" + start + header.ljust(108, b"\0") + pixels.tobytes()
        expected = pillow_on_white(data) if alpha.any() else RGB
        assert np.abs(read_image(data).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"%PDF-1.7\n", "a PDF document; export"),
        (SVG, "an SVG drawing; export"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn by hand -->\n' + SVG, "an SVG drawing"),
        (b"8BPS\0\1" + bytes(20), "a Photoshop document"),
        (b"v/1\x01\2\0\0\0", "an OpenEXR image"),
        (cv2.imencode(".hdr", RGB.astype(np.float32))[1].tobytes(), "a Radiance HDR image"),
        (b"\xff\x0a" + bytes(20), "a JPEG XL image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"P7\nWIDTH 64\n", "a PAM image"),
        (encode(Pillow.fromarray(RGB), "ICO"), "an icon"),
        (bytes(128) + b"DICM", "a DICOM file"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\n<HTML>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(20), r"a \.zip archive; extract it"),
        (b"\0\0\0\x18ftypisom", r"a video \(MP4"),
        (b"\0\0\0\x14ftypqt  ", r"a video \(MP4"),
        (b"RIFF\0\0\0\0AVI LIST", r"a video \(AVI\)"),
        (b"\x1aE\xdf\xa3", r"a video \(Matroska"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", r"a camera's raw file \(CR3\); develop"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), r"raw file \(CR2\)"),
        (b"FUJIFILMCCD-RAW 0201", r"raw file \(RAF\)"),
        (b"IIRO\x08\0\0\0", r"raw file \(ORF\)"),
        (b"IIU\0\x18\0\0\0", r"raw file \(RW2\)"),
        (tiff(RGB, extratags=[(50706, "B", 4, bytes([1, 4, 0, 0]), True)]), r"raw file \(DNG"),
        (preview_and_sensor(), r"NEF or a similar"),
        (b"\0" * 99, "supported format"),
        (b"P5" + b" " * 4000, "supported format"),
        (b"<!---->" * 500, "supported format"),
        (b"II*\0" + b"\xff" * 40, "supported format"),
        (b"MM\0+\0\x08\0\0" + b"\xff" * 40, "supported format"),
    ],
)  # fmt: skip
def test_other_files_are_rejected_by_their_kind(content: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=kind) as error:
        read_image(path)
    assert str(error.value).startswith(f"{path}: not an image") and "\n" not in error.value.args[0]


@pytest.mark.parametrize(
    "data",
    [
        tiff(RGB),
        tiff(RGB, bigtiff=True),
        bmp(RGB565),
        pytest.param(encode(Pillow.fromarray(RGB), "PNG"), marks=pytest.mark.slow),
    ],
)
def test_damaged_headers_are_rejected_or_read(data: bytes) -> None:
    """No change of a byte causes another exception than InputError."""
    rng = np.random.default_rng(0)
    for position in range(min(len(data), 400)):
        damaged = bytearray(data)
        damaged[position] = rng.integers(256)
        for content in (bytes(damaged), data[:position]):
            try:
                assert read_image(content, max_pixels=10_000).dtype == np.uint8
            except InputError as error:
                assert "\n" not in error.args[0]


def test_cielab_is_rejected() -> None:
    data = encode(Pillow.new("LAB", (64, 48)), "TIFF")
    with pytest.raises(InputError, match="CIELAB colors, which are not supported; convert it"):
        read_image(data)
