"""Transforms equal the reference implementation's; those of the unbiased convention are exact."""

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from higherhrnet.errors import InputError
from higherhrnet.geometry import (
    FIRST_PIXEL_CENTER,
    Convention,
    invert,
    network_size,
    resize_for_network,
    transform,
)

CONVENTIONS: list[Convention] = ["reference", "unbiased"]
SIZES = [(480, 640), (333, 500), (500, 333), (64, 64), (37, 1000), (1, 1)]
"""Heights and widths of images."""

sides = st.integers(1, 3000)
scales = st.sampled_from([(1.0, 1.0), (0.5, 0.5), (0.5, 1.0), (0.5, 2.0)])
"""Pairs of the smallest scale and a scale."""


def smooth_image(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth waves, so that an offset of half a pixel matters but rounding hardly does."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + 1) * np.cos(y / 7), np.sin((x + y) / 11), np.cos(x / 6)]
    return (127 + 120 * np.stack(waves, 2)).astype(np.uint8)


def random_points(height: float, width: float) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(0, [width, height], (50, 2))


def golden_cases(golden: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((golden / "resize.json").read_text())
    assert cases
    return cases


def arguments_of(case: dict[str, Any]) -> tuple[int, int, int, float, float]:
    height, width, size, scale, min_scale = (
        case[key] for key in ("height", "width", "input_size", "scale", "min_scale")
    )
    return height, width, size, scale, min_scale


@pytest.mark.golden
def test_network_sizes_equal_the_reference(golden: Path) -> None:
    for case in golden_cases(golden):
        width_height = list(network_size(*arguments_of(case))[::-1])
        assert width_height == case["resized_width_height"], case


@pytest.mark.golden
def test_points_on_the_image_equal_the_reference(golden: Path) -> None:
    for case in golden_cases(golden):
        resize = resize_for_network(*arguments_of(case))
        center = transform(np.array(case["centre"]), resize.matrix)
        np.testing.assert_allclose(center, [resize.width / 2, resize.height / 2], atol=1e-9)
        points = resize.to_image(np.array(case["points"]), resize.size)
        np.testing.assert_allclose(points, case["points_in_image"], atol=1e-3, err_msg=str(case))


@pytest.mark.golden
def test_resized_images_equal_the_reference(golden: Path) -> None:
    arrays = np.load(golden / "resize.npz")
    cases = {key.split("/")[0] for key in arrays}
    assert cases
    for case in sorted(cases):
        image, expected = arrays[f"{case}/image"], arrays[f"{case}/resized"]
        height, width = image.shape[:2]
        resize = resize_for_network(height, width, 128)
        np.testing.assert_array_equal(resize.warp(image), expected, err_msg=case)


@given(sides, sides, st.sampled_from([128, 512, 640]), scales)
def test_the_shorter_side_is_the_input_size_and_the_longer_a_multiple_of_64(
    height: int, width: int, size: int, scales: tuple[float, float]
) -> None:
    min_scale, scale = scales
    h, w = network_size(height, width, size, scale, min_scale)
    short, long = (w, h) if width < height else (h, w)
    assert short == size * scale
    assert short <= long
    assert long * min_scale / scale % 64 == 0
    # The whole image except for a fraction of a pixel, and less than 64 pixels more.
    exact = size * min_scale * max(height, width) / min(height, width)
    assert -1 < long * min_scale / scale - exact < 64


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_points_are_restored_by_the_inverse_transform(
    height: int, width: int, scale: float, convention: Convention
) -> None:
    resize = resize_for_network(height, width, 256, scale, 0.5, convention)
    map_width, map_height = resize.width // 4, resize.height // 4
    points = random_points(height, width)
    on_map = transform(points, resize.matrix) / 4
    restored = resize.to_image(on_map, (map_height, map_width))
    np.testing.assert_allclose(restored, points - FIRST_PIXEL_CENTER[convention], atol=1e-9)
    if (
        convention == "unbiased"
    ):  # rounding the center in the reference convention may move points outside
        assert (on_map > -1).all()
        assert (on_map < [map_width + 1, map_height + 1]).all()


@given(sides, sides)
def test_maps_of_all_scales_cover_the_same_part_of_the_image(height: int, width: int) -> None:
    """Equal fractions of a map's width and height are equal points on the image."""
    assume(max(height, width) < 20 * min(height, width))
    for convention in CONVENTIONS:
        images = []
        for scale in (0.5, 1.0, 2.0):
            resize = resize_for_network(height, width, 128, scale, 0.5, convention)
            fractions = np.array([[0, 0], [0.3, 0.8], [1, 1]])
            images.append(resize.to_image(fractions * [32, 64], (64, 32)))
        np.testing.assert_allclose(images[1:], images[:1] * 2, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_unbiased_flips_of_maps_are_flips_of_the_image(height: int, width: int) -> None:
    resize = resize_for_network(height, width, 256, convention="unbiased")
    map_width, map_height = resize.width // 4, resize.height // 4
    points = random_points(map_height, map_width)
    plain = resize.to_image(points, (map_height, map_width))
    points[:, 0] = map_width - points[:, 0]
    flipped = resize.to_image(points, (map_height, map_width))
    np.testing.assert_allclose(flipped[:, 0], width - 1 - plain[:, 0], atol=1e-9)
    np.testing.assert_allclose(flipped[:, 1], plain[:, 1], atol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(48, 80), (90, 61), (64, 64)])
def test_unbiased_resizing_commutes_with_flipping(height: int, width: int) -> None:
    image = smooth_image(height, width)
    resize = resize_for_network(height, width, 128, convention="unbiased")
    plain, flipped = resize.warp(image), resize.warp(image[:, ::-1])
    # OpenCV rounds sampling positions to 1/32 pixel.
    np.testing.assert_allclose(flipped[:, ::-1].astype(int), plain, atol=3)


def test_the_reference_convention_rounds_the_center_of_odd_widths() -> None:
    """Column 30 is the center of 61 columns, but the map's center is transformed to column 31."""
    resize = resize_for_network(90, 61, 128)
    assert resize.to_image(np.array([64.0, 0]), (192, 128))[0] == 31


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("height", "width"), [(64, 100), (100, 64)])
def test_an_image_of_the_input_size_keeps_its_pixels_and_is_centered_on_black(
    height: int, width: int, convention: Convention
) -> None:
    image = smooth_image(height, width)
    warped = resize_for_network(height, width, 64, convention=convention).warp(image)
    y, x = (0, 14) if height < width else (14, 0)
    np.testing.assert_array_equal(warped[y : y + height, x : x + width], image)
    assert warped.sum() == image.sum()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_images_and_points_are_transformed_alike(convention: Convention) -> None:
    """The centroid of one bright pixel, enlarged eightfold, is at its transformed point."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[20, 9] = 255
    resize = resize_for_network(32, 32, 256, convention=convention)
    warped = resize.warp(image)[..., 0].astype(float)
    y, x = (np.arange(256) @ warped.sum(axis) / warped.sum() for axis in (1, 0))
    center = FIRST_PIXEL_CENTER[convention]
    expected = transform(np.array([9, 20]) + center, resize.matrix)
    np.testing.assert_allclose(np.array([x, y]) + center, expected, atol=0.05)
    on_map = (np.array([x, y]) + center) / 4
    np.testing.assert_allclose(resize.to_image(on_map, (64, 64)), [9, 20], atol=0.01)


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6))
def test_the_inverse_matrix_reverts_a_transform(numbers: list[float]) -> None:
    matrix = np.array(numbers).reshape(2, 3)
    assume(abs(np.linalg.det(matrix[:, :2])) > 0.1)
    points = random_points(100, 100)
    np.testing.assert_allclose(
        transform(transform(points, matrix), invert(matrix)), points, atol=1e-6
    )
    np.testing.assert_allclose(invert(invert(matrix)), matrix, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(20, 30000), (30000, 20), (1, 500)])
def test_very_long_images_are_rejected(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    with pytest.raises(InputError, match=f"{width}×{height} pixels .* crop it") as error:
        resize_for_network(height, width, 512).warp(image)
    assert "\n" not in error.value.args[0]


@pytest.mark.parametrize("convention", get_args(Convention))
def test_the_box_is_the_part_of_the_image_that_the_input_covers(convention: Convention) -> None:
    """Its corners are half an input pixel outside the centers of the corner pixels."""
    resize = resize_for_network(90, 161, 64, convention=convention)
    left, top, width, height = resize.box()
    half = 0.5 * width / resize.width, 0.5 * height / resize.height
    first = FIRST_PIXEL_CENTER[convention]
    corners = np.array([first, first]), np.array([resize.width, resize.height]) + first - 1
    (x, y), (end_x, end_y) = (resize.to_image(corner, resize.size) + 0.5 for corner in corners)
    np.testing.assert_allclose((left, top), (x - half[0], y - half[1]), atol=1e-9)
    np.testing.assert_allclose(
        (left + width, top + height), (end_x + half[0], end_y + half[1]), atol=1e-9
    )
    assert left <= 0.5 and left + width >= 160.5  # nearly the whole image
