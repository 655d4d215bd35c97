"""HEIC and AVIF files are decoded upright; without the extra, the error has its pip command.

The HEIC files were encoded by libheif from the pixels below. Like those of phones, they state their
orientation twice: in the container and in EXIF.
"""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from higherhrnet.errors import InputError
from higherhrnet.io.images import read_image
from tests.conftest import HIDE_PACKAGES

HEIC = Path(__file__).parent / "heic"
Y, X = np.mgrid[:48, :64]
RGB = np.stack([X * 4, Y * 5, (X + Y) * 2], axis=-1).astype(np.uint8)
ALPHA = (255 - X * 3).astype(np.uint8)
ON_WHITE = np.rint(RGB * (ALPHA[..., None] / 255) + (255 - ALPHA[..., None]))


def upright(orientation: int) -> np.ndarray:
    """The pixels, rotated by Pillow as the EXIF orientation requires."""
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    Pillow.fromarray(RGB).save(file, "PNG", exif=exif)
    return np.asarray(ImageOps.exif_transpose(Pillow.open(file)))


def avif(image: Pillow.Image, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, "AVIF", quality=95, **options)
    return file.getvalue()


def assert_close(image: np.ndarray, expected: np.ndarray, tolerance: int = 8) -> None:
    assert image.dtype == np.uint8 and image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("respect_exif", [True, False])
@pytest.mark.parametrize("orientation", [2, 5, 6, 8])
def test_heic_is_rotated_once_by_its_container(orientation: int, respect_exif: bool) -> None:
    path = HEIC / f"orientation{orientation}.heic"
    image = read_image(path, respect_exif=respect_exif)
    assert_close(image, upright(orientation))


@pytest.mark.parametrize("respect_exif", [True, False])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_avif_is_rotated_once_by_its_container(orientation: int, respect_exif: bool) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = avif(Pillow.fromarray(RGB), exif=exif)
    assert_close(read_image(data, respect_exif=respect_exif), upright(orientation))


def test_transparent_heic_and_avif_are_blended_with_white() -> None:
    assert_close(read_image(HEIC / "transparent.heic"), ON_WHITE)
    assert_close(read_image(avif(Pillow.fromarray(np.dstack([RGB, ALPHA])))), ON_WHITE)


def test_ten_bit_heic_becomes_eight_bit() -> None:
    assert_close(read_image(HEIC / "ten_bits.heic"), RGB)


def test_gray_heic_becomes_rgb() -> None:
    assert_close(read_image(HEIC / "gray.heic"), np.repeat(RGB[..., :1], 3, axis=2))


def test_the_primary_image_of_several_is_read() -> None:
    assert_close(read_image(HEIC / "second_is_primary.heic"), RGB[::-1])


def test_the_first_image_of_an_avif_sequence_is_read() -> None:
    other = Pillow.fromarray(RGB[::-1].copy())
    data = avif(Pillow.fromarray(RGB), save_all=True, append_images=[other])
    assert_close(read_image(data), RGB)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_truncated_heic_and_avif_are_rejected(fraction: float) -> None:
    for data in ((HEIC / "plain.heic").read_bytes(), avif(Pillow.fromarray(RGB))):
        with pytest.raises(
            InputError, match=r"^the image: the (HEIC|AVIF) image cannot be decoded"
        ):
            read_image(data[: int(len(data) * fraction)])


def test_damaged_heic_and_avif_are_rejected_or_read() -> None:
    rng = np.random.default_rng(0)
    for data in ((HEIC / "plain.heic").read_bytes(), avif(Pillow.fromarray(RGB))):
        for position in range(12, len(data), 7):
            damaged = bytearray(data)
            damaged[position] = rng.integers(256)
            try:
                assert read_image(bytes(damaged), max_pixels=10_000).dtype == np.uint8
            except InputError as error:
                assert "\n" not in error.args[0]


def test_the_number_of_pixels_is_limited() -> None:
    for data in ((HEIC / "plain.heic").read_bytes(), avif(Pillow.fromarray(RGB))):
        assert read_image(data, max_pixels=48 * 64).shape == (48, 64, 3)
        with pytest.raises(InputError, match="64×48 is more than 3,071 pixels"):
            read_image(data, max_pixels=48 * 64 - 1)


@pytest.mark.parametrize(("package", "kind"), [("pi_heif", "HEIC"), ("PIL", "AVIF")])
def test_without_the_extra_the_error_has_the_pip_command(
    package: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    data = avif(Pillow.fromarray(RGB)) if kind == "AVIF" else (HEIC / "plain.heic").read_bytes()
    path.write_bytes(data)
    code = HIDE_PACKAGES.format(names=[package]) + (
        "from higherhrnet.io.images import read_image\n"
        "from higherhrnet.errors import InputError\n"
        "try: read_image(sys.argv[1])\n"
        "except InputError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{path}: reading {kind} needs {package}" in result.stdout
    assert 'pip install "higherhrnet[heif]"' in result.stdout and result.stdout.count("\n") == 1
