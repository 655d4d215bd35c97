"""Image files of every format are read as Pillow reads them, and invalid ones are rejected."""

from __future__ import annotations

import os
import re
import struct
import sys
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
from higherhrnet.io.images import MAX_PIXELS, MIN_SIDE, encode_image, read_image, write_image

Y, X = np.mgrid[:40, :60]
RGB = np.stack([X * 4, Y * 6, (X + Y) * 2], axis=-1).astype(np.uint8)
"""All its rotations and flips differ, and so do its channels."""
RGBA = np.dstack([RGB, 255 - X * 4]).astype(np.uint8)
DEEP = (RGB.astype(np.uint16) << 8) | 0x7F
ORIENTATION = 0x0112


def encode(image: Pillow.Image, file_format: str, **options: Any) -> bytes:  # noqa: ANN401
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def pil_image(mode: str = "RGB") -> Pillow.Image:
    return Pillow.fromarray(RGB).convert(mode)


def with_orientation(value: int) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[ORIENTATION] = value
    return exif


def pillow_pixels(data: bytes) -> NDArray[np.uint8]:
    """The pixels as Pillow decodes them, with the EXIF orientation applied, on white."""
    upright = ImageOps.exif_transpose(Pillow.open(BytesIO(data)))
    if upright.mode in ("RGBA", "LA", "P", "PA"):
        rgba = upright.convert("RGBA")
        white = Pillow.new("RGBA", rgba.size, "white")
        upright = Pillow.alpha_composite(white, rgba)
    return np.asarray(upright.convert("RGB"))


def assert_reads(data: bytes, expected: NDArray[np.uint8], tolerance: int = 0) -> None:
    image = read_image(BytesIO(data))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize(
    ("file_format", "mode"),
    [
        *((name, "RGB") for name in ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")),
        *((name, "L") for name in ("JPEG", "PNG", "BMP", "TIFF", "PPM")),
        *((name, "P") for name in ("PNG", "BMP", "TIFF")),
        *((name, "1") for name in ("PNG", "TIFF")),
    ],
)
def test_common_formats_equal_pillow(file_format: str, mode: str) -> None:
    data = encode(pil_image(mode), file_format)
    assert_reads(data, pillow_pixels(data))


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"keep_rgb": True}),  # without a color transform
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
    ],
)
def test_compression_variants_equal_pillow(file_format: str, options: dict[str, Any]) -> None:
    data = encode(pil_image(), file_format, **options)
    assert_reads(data, pillow_pixels(data), tolerance=1)


def test_the_first_of_several_images_in_a_file_is_read() -> None:
    flipped = pil_image().transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
    for file_format in ("TIFF", "WEBP"):
        data = encode(pil_image(), file_format, save_all=True, append_images=[flipped])
        assert_reads(data, pillow_pixels(data))


@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK as from Pillow", "YCCK as from Photoshop"])
def test_cmyk_jpeg_is_not_inverted(transform: int) -> None:
    inks = np.asarray(pil_image("CMYK")).copy()
    inks[..., 3] = 50
    data = bytearray(encode(Pillow.fromarray(inks, "CMYK"), "JPEG", quality=95))
    data[data.index(b"Adobe") + 11] = transform
    # The product that converts inks to colors is rounded differently.
    assert_reads(bytes(data), pillow_pixels(bytes(data)), tolerance=3)


def test_cmyk_tiff() -> None:
    data = encode(pil_image("CMYK"), "TIFF")
    assert_reads(data, pillow_pixels(data), tolerance=1)


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_sixteen_bit_files_keep_the_upper_eight_bits(extension: str) -> None:
    for stored, expected in [
        (DEEP[..., ::-1], RGB),
        (DEEP[..., 0], np.repeat(RGB[..., :1], 3, axis=2)),
    ]:
        data = cv2.imencode(extension, stored)[1].tobytes()
        assert_reads(data, expected, tolerance=1)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_is_rotated_by_exif(orientation: int, mode: str) -> None:
    data = encode(pil_image(mode), "JPEG", exif=with_orientation(orientation))
    assert_reads(data, pillow_pixels(data), tolerance=3)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [3, 5, 6])
def test_other_formats_are_rotated_by_exif(orientation: int, file_format: str) -> None:
    data = encode(pil_image(), file_format, exif=with_orientation(orientation))
    assert_reads(data, pillow_pixels(data))


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize(
    ("file_format", "mode"),
    [("JPEG", "RGB"), ("PNG", "RGB"), ("TIFF", "RGB"), ("TIFF", "L"), ("TIFF", "RGBA")],
)
def test_exif_can_be_ignored(file_format: str, mode: str, orientation: int) -> None:
    image = pil_image("RGB").convert(mode)
    data = encode(image, file_format, exif=with_orientation(orientation))
    stored = np.asarray(Pillow.open(BytesIO(encode(image, file_format))).convert("RGB"))
    np.testing.assert_array_equal(read_image(BytesIO(data), respect_exif=False), stored)


def test_a_damaged_tiff_without_orientation_is_rejected() -> None:
    data = encode(pil_image(), "TIFF", exif=with_orientation(6))
    for damaged in (data[:4], data[:8], data[:4] + b"\xff" * 4 + data[8:], b"MM\0*" + data[4:]):
        with pytest.raises(InputError):
            read_image(BytesIO(damaged), respect_exif=False)


@pytest.mark.parametrize(
    ("image", "file_format", "options"),
    [
        (Pillow.fromarray(RGBA), "PNG", {}),
        (Pillow.fromarray(RGBA).convert("LA"), "PNG", {}),
        (pil_image("P"), "PNG", {"transparency": 0}),
        (Pillow.fromarray(RGBA), "WEBP", {"lossless": True, "exact": True}),
        (Pillow.fromarray(RGBA), "WEBP", {"lossless": True}),
        (Pillow.fromarray(RGBA), "WEBP", {"quality": 90}),
        (Pillow.fromarray(RGBA), "WEBP", {"save_all": True, "append_images": [pil_image()]}),
    ],
)
def test_transparent_files_are_blended_with_white(
    image: Pillow.Image, file_format: str, options: dict[str, Any]
) -> None:
    data = encode(image, file_format, **options)
    assert_reads(data, pillow_pixels(data), tolerance=1)


def test_a_transparent_sixteen_bit_png_is_blended_with_white() -> None:
    deep = np.dstack([DEEP[..., ::-1], RGBA[..., 3].astype(np.uint16) * 257])
    expected = pillow_pixels(encode(Pillow.fromarray(RGBA), "PNG"))
    assert_reads(cv2.imencode(".png", deep)[1].tobytes(), expected, tolerance=1)


def test_a_transparent_image_with_a_rotation_is_rotated_and_stays_opaque() -> None:
    data = encode(Pillow.fromarray(RGBA), "PNG", exif=with_orientation(6))
    assert_reads(data, np.rot90(RGB, -1))


def test_arrays_of_all_channel_counts_are_accepted() -> None:
    assert read_image(RGB) is RGB
    flipped = read_image(RGB[:, ::-1])
    assert flipped.flags.c_contiguous
    np.testing.assert_array_equal(flipped, RGB[:, ::-1])
    np.testing.assert_array_equal(read_image(RGB[..., 0]), np.stack([RGB[..., 0]] * 3, axis=-1))
    on_white = pillow_pixels(encode(Pillow.fromarray(RGBA), "PNG"))
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
def test_other_arrays_are_rejected(array: NDArray[Any]) -> None:
    with pytest.raises(InputError, match=r"uint8 of shape \(H, W, 3\) RGB"):
        read_image(array)


def test_pil_images_are_decoded_and_rotated() -> None:
    data = encode(pil_image(), "JPEG", exif=with_orientation(6))
    rotated = read_image(Pillow.open(BytesIO(data)))
    np.testing.assert_array_equal(rotated, pillow_pixels(data))
    stored = read_image(Pillow.open(BytesIO(data)), respect_exif=False)
    np.testing.assert_array_equal(stored, np.asarray(Pillow.open(BytesIO(data))))


def test_objects_of_other_types_are_rejected() -> None:
    with pytest.raises(InputError, match="cannot read an image from an object of type int; pass"):
        read_image(5)  # type: ignore[arg-type]


def test_a_truncated_pil_image_is_rejected() -> None:
    with pytest.raises(InputError, match=r"PIL image cannot be decoded: .*truncated"):
        read_image(Pillow.open(BytesIO(JPEG[:-20])))


def test_files_that_are_closed_or_open_for_text_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")
    with path.open() as file, pytest.raises(InputError, match=r"a\.txt: .*binary mode"):
        read_image(file)  # type: ignore[arg-type]
    with path.open("rb") as closed:
        pass
    with pytest.raises(InputError, match=r"a\.txt: cannot be read: read of closed file"):
        read_image(closed)


def test_paths_and_open_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "Füße 人.png"
    path.write_bytes(encode(pil_image(), "PNG"))
    with path.open("rb") as file:
        for source in (path, str(path), file):
            np.testing.assert_array_equal(read_image(source), RGB)


def test_data_after_the_image_is_ignored() -> None:
    data = encode(pil_image(), "JPEG")  # phones append a video to it
    assert_reads(data + b"ftypmp42" * 1000, pillow_pixels(data))


def png(width: int, height: int) -> bytes:
    """A black one-bit PNG file of any size, which needs few bytes per row."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


JPEG = encode(pil_image(), "JPEG")


def error_message(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_image(path)
    message = str(error.value)
    assert "\n" not in error.value.args[0]
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"Dear reader, this is not an image.\n" * 20, "not an image of a supported format"),
        (b"BM, a text that begins like a bitmap.\n" * 20, "more than 178"),
        (JPEG[:-2], "truncated"),  # only the end marker is missing
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[:20], "truncated"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "HEIC image cannot be decoded"),
        (png(1, 1), f"1×1 pixels are too few.* at least {MIN_SIDE}"),
        (png(MIN_SIDE - 1, 100), "15×100 pixels are too few"),
        (png(20_000, 10_000), "20000×10000 is more than 178,956,970 pixels"),
        (png(30_000, 20), "more than 20 times as long as the other"),
    ],
)
def test_invalid_files_are_rejected_in_one_line(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    assert re.search(expected, error_message(path))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "PPM", "JPEG2000"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
def test_truncated_files_are_rejected(tmp_path: Path, file_format: str, fraction: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode(Pillow.fromarray(noise), file_format)
    path = tmp_path / "truncated"
    path.write_bytes(data[: int(len(data) * fraction)])
    assert "truncated" in error_message(path)


def test_a_jpeg_truncated_after_its_thumbnail_is_rejected(tmp_path: Path) -> None:
    """The thumbnail has an end marker, too."""
    exif = b"Exif\0\0" + encode(pil_image().resize((32, 32)), "JPEG")
    data = encode(pil_image(), "JPEG", exif=exif)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[:-40])
    assert "truncated" in error_message(path)


def test_the_smallest_and_the_most_elongated_images_are_read() -> None:
    assert read_image(BytesIO(png(MIN_SIDE, MIN_SIDE))).shape == (MIN_SIDE, MIN_SIDE, 3)
    assert read_image(BytesIO(png(20 * 20, 20))).shape == (20, 20 * 20, 3)
    assert 13_000 * 13_000 < MAX_PIXELS < 14_000 * 14_000


def test_missing_files_and_folders_are_rejected(tmp_path: Path) -> None:
    assert "No such file" in error_message(tmp_path / "missing.jpg")
    assert "cannot be read" in error_message(tmp_path)
    with pytest.raises(InputError, match="null"):
        read_image("a\0b")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read all files")
def test_a_file_without_permission_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "locked.png"
    path.write_bytes(encode(pil_image(), "PNG"))
    path.chmod(0)
    assert "Permission denied" in error_message(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="the system has no /dev/zero")
def test_an_endless_device_is_not_read() -> None:
    with pytest.raises(InputError, match=r"^/dev/zero: is a device, not a file"):
        read_image("/dev/zero")


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(2**31 + 1)  # sparse: it occupies no space on the disk
    with pytest.raises(InputError, match=r"a\.jpg: is larger than 2 GiB"):
        read_image(tmp_path / "a.jpg")


def test_max_pixels_limits_the_size_of_files() -> None:
    data = encode_image(np.zeros((40, 50, 3), np.uint8), ".png")
    assert read_image(BytesIO(data), max_pixels=2000).shape == (40, 50, 3)
    with pytest.raises(InputError, match="more than 1,999 pixels"):
        read_image(BytesIO(data), max_pixels=1999)


def test_images_are_written_in_the_format_of_the_suffix(tmp_path: Path) -> None:
    write_image(str(tmp_path / "a.png"), RGB)
    np.testing.assert_array_equal(np.asarray(Pillow.open(tmp_path / "a.png")), RGB)
    write_image(tmp_path / "a.webp", RGB)
    assert Pillow.open(tmp_path / "a.webp").format == "WEBP"


def test_an_image_that_may_be_overwritten_is_encoded_as_others() -> None:
    image = np.random.default_rng(0).integers(0, 256, (150, 90, 3), np.uint8)
    data = encode_image(image, ".png")
    np.testing.assert_array_equal(read_image(data), image)
    assert encode_image(image.copy(), ".png", overwrite=True) == data


@pytest.mark.parametrize("name", ["a.foo", "a"])
def test_unknown_formats_are_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"20000×1 pixels cannot be written as \.webp"):
        write_image(tmp_path / "a.webp", np.zeros((1, 20000, 3), np.uint8))
    with pytest.raises(InputError, match="unknown image format"):
        write_image(tmp_path / name, RGB)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("array", [RGB[..., 0], RGB / np.float32(255)])
def test_arrays_that_are_no_images_are_not_written(array: NDArray[Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an image must be RGB uint8"):
        write_image(tmp_path / "a.png", array)
    assert not list(tmp_path.iterdir())
