"""Pixels of more than 8 bits are scaled so that white is white, and what was done is reported."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from higherhrnet.io.notices import notices_counted

Y, X = np.mgrid[:48, :64]
RGB = np.stack([X * 4, Y * 5, (X + Y) * 2], axis=-1).astype(np.uint8)
GRAY = RGB[..., 0]
ALPHA = (255 - X * 3).astype(np.uint8)
ON_WHITE = np.rint(RGB * (ALPHA[..., None] / 255) + (255 - ALPHA[..., None])).astype(np.uint8)
FULL_RANGE = np.random.default_rng(0).integers(0, 65536, (48, 64, 3), np.uint16)


def deep(pixels: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """The pixels with a number of bits, the lowest of 16."""
    return (pixels.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)


def png(pixels: NDArray[np.uint16], *chunks: bytes) -> bytes:
    """A 16-bit gray or RGB PNG file with additional chunks, which OpenCV cannot write."""

    def chunk(content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
        )

    color = 0 if pixels.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, color, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    contents = (b"IHDR" + header, *chunks, b"IDAT" + zlib.compress(rows), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(chunk, contents))


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:  # noqa: ANN401
    """A TIFF file by tifffile; RGB unless the pixels are gray."""
    file = BytesIO()
    photometric = "minisblack" if pixels.ndim == 2 else "rgb"
    tifffile.imwrite(file, pixels, **{"photometric": photometric, **options})
    return file.getvalue()


def opencv(extension: str) -> Callable[[NDArray[np.uint16]], bytes]:
    def encode(pixels: NDArray[np.uint16]) -> bytes:
        lossless = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000] if extension == ".jp2" else []
        bgr = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])
        return cv2.imencode(extension, bgr, lossless)[1].tobytes()

    return encode


def pnm(pixels: NDArray[np.uint16], white: int = 65535) -> bytes:
    kind = 5 if pixels.ndim == 2 else 6
    header = f"P{kind}\n# a comment\n{pixels.shape[1]} {pixels.shape[0]}\n{white}\n"
    return header.encode() + pixels.astype(">u2" if white > 255 else "u1").tobytes()


ENCODERS = pytest.mark.parametrize(
    "encode",
    [png, tiff, pnm, opencv(".jp2"), lambda pixels: tiff(pixels, tile=(64, 64), byteorder=">")],
    ids=["PNG", "TIFF", "PNM", "JPEG 2000", "tiled TIFF"],
)


def as_rgb(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


@contextmanager
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def assert_reads(data: bytes, expected: NDArray[Any], tolerance: int = 1) -> None:
    image = read_image(data)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= tolerance


@ENCODERS
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("pixels", [RGB, GRAY], ids=["RGB", "gray"])
def test_values_of_fewer_bits_are_scaled(
    pixels: NDArray[np.uint8], bits: int, encode: Callable[[NDArray[np.uint16]], bytes]
) -> None:
    with pytest.warns(UserWarning, match=f"{bits}-bit values in 16 bits were scaled"):
        assert_reads(encode(deep(pixels, bits)), as_rgb(pixels))


@ENCODERS
@pytest.mark.parametrize("pixels", [FULL_RANGE, FULL_RANGE[..., 0]], ids=["RGB", "gray"])
def test_full_range_images_are_converted_as_opencv_does(
    pixels: NDArray[np.uint16], encode: Callable[[NDArray[np.uint16]], bytes]
) -> None:
    data = encode(pixels)
    with no_warnings():
        image = read_image(data)
    assert np.abs(image.astype(int) - (as_rgb(pixels) >> 8)).max() <= 1
    if data[:2] == b"MM" and pixels.ndim == 2:
        return  # OpenCV returns other pixels than those of a tiled gray file
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert expected is not None and np.array_equal(image, expected)


def test_transparency_is_scaled_with_its_own_range() -> None:
    full = ALPHA.astype(np.uint16) * 257
    for alpha in (deep(ALPHA, 12), full):
        bgra = np.dstack([deep(RGB, 12)[..., ::-1], alpha])
        with pytest.warns(UserWarning, match="12-bit"):
            assert_reads(cv2.imencode(".png", bgra)[1].tobytes(), ON_WHITE)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_transparent_tiff_files_are_blended_with_white(dtype: str) -> None:
    factor = {"u1": 1, "u2": 257, "f4": 1 / 255}[dtype]
    rgba = (np.dstack([RGB, ALPHA]) * np.float64(factor)).astype(dtype)
    assert_reads(tiff(rgba, extrasamples=["unassalpha"]), ON_WHITE)
    premultiplied = np.rint(RGB * (ALPHA[..., None] / 255))
    rgba = (np.dstack([premultiplied, ALPHA]) * factor).astype(dtype)
    assert_reads(tiff(rgba, extrasamples=["assocalpha"]), ON_WHITE)
    opaque = tiff(rgba, extrasamples=["unspecified"])
    assert_reads(opaque, premultiplied)


@pytest.mark.parametrize("scale", [1 / 255, 1.1 / 255])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("options", [{}, {"tile": (32, 32)}, {"compression": "zlib"}])
def test_floating_point_tiff_files_of_0_to_1_are_read(
    options: dict[str, Any], dtype: str, scale: float
) -> None:
    expected = np.minimum(RGB * (scale * 255), 255)  # sharpening exceeds 1
    with no_warnings():
        assert_reads(tiff((RGB * scale).astype(dtype), **options), expected)


@pytest.mark.parametrize("white", [255, 65535])
def test_floating_point_tiff_files_of_other_ranges_are_reported(white: int) -> None:
    with pytest.warns(UserWarning, match=f"values up to {white} were divided by {white}"):
        assert_reads(tiff((GRAY * (white / 255)).astype(np.float32)), as_rgb(GRAY))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f * 9, "floating-point values up to .* HIGHERHRNET_WHITE_LEVEL"),
        (lambda f: f - 0.5, "contains values from -0.5 to .*; black must be 0"),
        (lambda f: np.where(X[..., None] == 5, np.nan, f), "NaN"),
        (lambda f: np.where(X[..., None] == 5, np.inf, f), "infinite"),
        (lambda f: f.astype(np.float16), "16-bit floating-point TIFF .*; convert it to PNG"),
        (lambda f: np.moveaxis(f, -1, 0), "unsupported kind"),
    ],
)
def test_ambiguous_and_unsupported_values_are_rejected(
    change: Callable[[NDArray[Any]], NDArray[Any]], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    pixels = change((RGB / 255).astype(np.float32))
    dtype = np.float16 if pixels.dtype == np.float16 else np.float32
    options = {"planarconfig": "separate"} if pixels.shape[0] == 3 else {}
    path.write_bytes(tiff(pixels.astype(dtype), **options))
    with pytest.raises(InputError, match=message) as error:
        read_image(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in error.value.args[0]


def test_the_maximum_that_a_pnm_file_states_is_white() -> None:
    for white in (15, 127, 255, 1023, 4095):
        dark = (RGB // 4).astype(np.uint32) * white // 255
        with no_warnings():
            expected = dark * 255 / white
            assert_reads(pnm(dark.astype(np.uint16), white), expected)
            text = f"P3\n64 48\n{white}\n{' '.join(map(str, dark.ravel()))}\n".encode()
            assert_reads(text, expected, 2)


def test_the_maximum_that_a_tiff_file_states_is_white() -> None:
    dark = deep(GRAY // 8, 12)
    data = tiff(dark, extratags=[(281, "H", 1, 4095, True)])
    with no_warnings():
        assert_reads(data, as_rgb(GRAY // 8))


def test_significant_bits_of_png_are_white_if_they_are_the_lower_ones() -> None:
    twelve_bits = b"sBIT\x0c"
    dark = deep(GRAY // 8, 12)
    with no_warnings():
        assert_reads(png(dark, twelve_bits), as_rgb(GRAY // 8))
        assert_reads(
            png(dark * np.uint16(16), twelve_bits), as_rgb(GRAY // 8)
        )  # as the standard requires


def test_other_integers_are_scaled() -> None:
    for pixels, dtype in ((GRAY * 128.5, np.int16), (GRAY * 16843009.0, np.uint32)):
        with no_warnings():
            assert_reads(tiff(pixels.astype(dtype)), as_rgb(GRAY), 2)
    with pytest.warns(UserWarning, match="12-bit values in 32 bits"):
        assert_reads(tiff(deep(GRAY, 12).astype(np.uint32)), as_rgb(GRAY))


def test_planar_tiff_files_are_read_or_rejected() -> None:
    def planar(pixels: NDArray[Any]) -> bytes:
        return tiff(np.moveaxis(pixels, -1, 0).copy(), planarconfig="separate")

    assert_reads(planar(RGB), RGB, 0)
    assert_reads(planar(RGB.astype(np.uint16) * 257), RGB)
    with pytest.raises(InputError, match="unsupported kind"):
        read_image(planar(deep(RGB, 12)))


def test_white_is_0_in_tiff_files_that_say_so() -> None:
    inverted = 65535 - GRAY.astype(np.uint16) * 257
    assert_reads(tiff(inverted, photometric="miniswhite"), as_rgb(GRAY))
    with pytest.warns(UserWarning, match="12-bit"):
        assert_reads(tiff(deep(255 - GRAY, 12), photometric="miniswhite"), as_rgb(GRAY))


@pytest.mark.parametrize(("dtype", "scale"), [("u1", 1.0), ("u2", 257.0), ("f4", 1 / 255)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_tiff_files_can_be_ignored(
    orientation: int, dtype: str, scale: float
) -> None:
    scaled = RGB.astype(np.float64) * scale
    data = tiff(scaled.astype(dtype), extratags=[(274, "H", 1, orientation, True)])
    assert np.abs(read_image(data, respect_exif=False).astype(int) - RGB).max() <= 1
    turned = read_image(data)
    assert turned.shape[:2] == ((64, 48) if orientation >= 5 else (48, 64))
    corner = {1: RGB[0, 0], 3: RGB[-1, -1], 6: RGB[-1, 0], 8: RGB[0, -1]}
    if orientation in corner:
        assert np.abs(turned[0, 0].astype(int) - corner[orientation]).max() <= 1


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_deep_pil_images_are_scaled_instead_of_clipped(mode: str) -> None:
    scale = 1 / 255 if mode == "F" else 257
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": "i4", "F": "f4"}[mode]
    pixels = (GRAY * np.float64(scale)).astype(dtype)
    image = Pillow.frombytes(mode, (64, 48), pixels.tobytes())
    assert np.abs(read_image(image).astype(int) - as_rgb(GRAY)).max() <= 1


def test_the_environment_sets_the_white_level(monkeypatch: pytest.MonkeyPatch) -> None:
    dark = deep(GRAY // 8, 12)
    monkeypatch.setenv("HIGHERHRNET_WHITE_LEVEL", "4095")
    with no_warnings():
        assert_reads(png(dark), as_rgb(GRAY // 8))
        assert_reads(tiff(dark.astype(np.float32)), as_rgb(GRAY // 8))
        assert_reads(cv2.imencode(".png", GRAY)[1].tobytes(), as_rgb(GRAY), 0)  # 8 bits
    monkeypatch.setenv("HIGHERHRNET_WHITE_LEVEL", "65535")
    assert_reads(png(deep(GRAY, 12)), as_rgb(deep(GRAY, 12) >> 8), 0)


@pytest.mark.parametrize("value", ["white", "0", "-1", "nan", "inf"])
def test_an_invalid_white_level_is_rejected(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHERHRNET_WHITE_LEVEL", value)
    with pytest.raises(InputError, match="HIGHERHRNET_WHITE_LEVEL must be a positive number"):
        read_image(png(FULL_RANGE))


def test_a_run_reports_the_number_of_scaled_images_once(capsys: pytest.CaptureFixture[str]) -> None:
    with notices_counted(), no_warnings():
        for bits in (12, 12, 10, 16):
            read_image(png(deep(GRAY, bits)))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" were")[0] for line in lines] == [
        "higherhrnet: 2 images: 12-bit values in 16 bits",
        "higherhrnet: 1 image: 10-bit values in 16 bits",
    ]
    with notices_counted():
        read_image(png(FULL_RANGE))
        read_image(png(np.zeros((48, 64), np.uint16)))
    assert capsys.readouterr().err == ""
