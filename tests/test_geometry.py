"""Resizing as the original does, and the unbiased convention's exact inverses and mirrors."""

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from higherhrnet.config import Convention
from higherhrnet.errors import InputError
from higherhrnet.geometry import (
    FIRST_PIXEL_CENTER,
    invert,
    network_size,
    resize_for_network,
    transform,
)

CONVENTIONS: list[Convention] = ["reference", "unbiased"]
SIZES = [(480, 640), (333, 500), (500, 333), (64, 64), (37, 1000), (1, 1)]
"""Height and width of photographs."""

sides = st.integers(1, 3000)
scales = st.sampled_from([(1.0, 1.0), (0.5, 0.5), (0.5, 1.0), (0.5, 2.0)])
"""The smallest scale and a scale."""


def drawn_picture(height: int, width: int) -> NDArray[np.uint8]:
    """Soft waves, so that half a pixel makes a difference but rounding makes little."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + 1) * np.cos(y / 7), np.sin((x + y) / 11), np.cos(x / 6)]
    return (127 + 120 * np.stack(waves, 2)).astype(np.uint8)


def points_on(height: float, width: float) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(0, [width, height], (50, 2))


def golden_resizes(golden: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((golden / "resize.json").read_text())
    assert cases
    return cases


def sizes(case: dict[str, Any]) -> tuple[int, int, int, float, float]:
    height, width, size, scale, smallest = (
        case[key] for key in ("height", "width", "input_size", "scale", "min_scale")
    )
    return height, width, size, scale, smallest


@pytest.mark.golden
def test_network_sizes_are_the_originals(golden: Path) -> None:
    for case in golden_resizes(golden):
        assert list(network_size(*sizes(case))) == case["resized_width_height"], case


@pytest.mark.golden
def test_points_on_the_photograph_are_the_originals(golden: Path) -> None:
    cases = golden_resizes(golden)
    assert cases
    for case in cases:
        resize = resize_for_network(*sizes(case))
        center = transform(np.array(case["centre"]), resize.matrix)
        np.testing.assert_allclose(center, [resize.width / 2, resize.height / 2], atol=1e-9)
        points = resize.to_image(np.array(case["points"]), resize.width, resize.height)
        np.testing.assert_allclose(points, case["points_in_image"], atol=1e-3, err_msg=str(case))


@pytest.mark.golden
def test_resized_pictures_are_the_originals(golden: Path) -> None:
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
    smallest, scale = scales
    w, h = network_size(height, width, size, scale, smallest)
    short, long = (w, h) if width < height else (h, w)
    assert short == size * scale
    assert short <= long
    assert long * smallest / scale % 64 == 0
    # The whole photograph but for a part of a pixel, and less than a step more.
    at_smallest = size * smallest * max(height, width) / min(height, width)
    assert -1 < long * smallest / scale - at_smallest < 64


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_points_come_back_from_the_network_to_where_they_were(
    height: int, width: int, scale: float, convention: Convention
) -> None:
    resize = resize_for_network(height, width, 256, scale, 0.5, convention)
    map_width, map_height = resize.width // 4, resize.height // 4
    points = points_on(height, width)
    on_map = transform(points, resize.matrix) / 4
    back = resize.to_image(on_map, map_width, map_height)
    np.testing.assert_allclose(back, points - FIRST_PIXEL_CENTER[convention], atol=1e-9)
    if convention == "unbiased":  # the original's whole-pixel centre may push points out
        assert (on_map > -1).all()
        assert (on_map < [map_width + 1, map_height + 1]).all()


@given(sides, sides)
def test_maps_of_all_scales_lie_over_each_other(height: int, width: int) -> None:
    """A point at a share of the map's width and height is the same on the photograph."""
    assume(max(height, width) < 20 * min(height, width))
    for convention in CONVENTIONS:
        images = []
        for scale in (0.5, 1.0, 2.0):
            resize = resize_for_network(height, width, 128, scale, 0.5, convention)
            share = np.array([[0, 0], [0.3, 0.8], [1, 1]])
            images.append(resize.to_image(share * [32, 64], 32, 64))
        np.testing.assert_allclose(images[1:], images[:1] * 2, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_unbiased_mirror_images_have_mirrored_points(height: int, width: int) -> None:
    resize = resize_for_network(height, width, 256, convention="unbiased")
    map_width, map_height = resize.width // 4, resize.height // 4
    points = points_on(map_height, map_width)
    there = resize.to_image(points, map_width, map_height)
    points[:, 0] = map_width - points[:, 0]
    mirrored = resize.to_image(points, map_width, map_height)
    np.testing.assert_allclose(mirrored[:, 0], width - 1 - there[:, 0], atol=1e-9)
    np.testing.assert_allclose(mirrored[:, 1], there[:, 1], atol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(48, 80), (90, 61), (64, 64)])
def test_unbiased_mirror_images_are_resized_to_mirror_images(height: int, width: int) -> None:
    image = drawn_picture(height, width)
    resize = resize_for_network(height, width, 128, convention="unbiased")
    plain, mirrored = resize.warp(image), resize.warp(image[:, ::-1])
    # OpenCV rounds where it looks to a 32nd of a pixel.
    np.testing.assert_allclose(mirrored[:, ::-1].astype(int), plain, atol=3)


def test_the_original_convention_mirrors_amiss_when_the_width_is_odd() -> None:
    """Its centre is a whole pixel; the test above would notice."""
    resize = resize_for_network(90, 61, 128)
    assert resize.to_image(np.array([64.0, 0]), 128, 192)[0] == 31


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("height", "width"), [(64, 100), (100, 64)])
def test_a_picture_shown_at_its_own_size_keeps_its_pixels_and_is_centred_on_black(
    height: int, width: int, convention: Convention
) -> None:
    image = drawn_picture(height, width)
    shown = resize_for_network(height, width, 64, convention=convention).warp(image)
    y, x = (0, 14) if height < width else (14, 0)
    np.testing.assert_array_equal(shown[y : y + height, x : x + width], image)
    assert shown.sum() == image.sum()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_bright_spot_is_where_its_point_is(convention: Convention) -> None:
    """Enlarged eightfold, the spot's middle and its pixel's centre agree, each in its own way."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[20, 9] = 255
    resize = resize_for_network(32, 32, 256, convention=convention)
    shown = resize.warp(image)[..., 0].astype(float)
    y, x = (np.arange(256) @ shown.sum(axis) / shown.sum() for axis in (1, 0))
    center = FIRST_PIXEL_CENTER[convention]
    expected = transform(np.array([9, 20]) + center, resize.matrix)
    np.testing.assert_allclose(np.array([x, y]) + center, expected, atol=0.05)
    on_map = (np.array([x, y]) + center) / 4
    np.testing.assert_allclose(resize.to_image(on_map, 64, 64), [9, 20], atol=0.01)


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6))
def test_an_inverted_matrix_undoes_the_matrix(numbers: list[float]) -> None:
    matrix = np.array(numbers).reshape(2, 3)
    assume(abs(np.linalg.det(matrix[:, :2])) > 0.1)
    points = points_on(100, 100)
    np.testing.assert_allclose(
        transform(transform(points, matrix), invert(matrix)), points, atol=1e-6
    )
    np.testing.assert_allclose(invert(invert(matrix)), matrix, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(20, 30000), (30000, 20), (1, 500)])
def test_a_very_long_thin_picture_is_refused(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    with pytest.raises(InputError, match=f"^{width}×{height} pixels .* crop it") as refused:
        resize_for_network(height, width, 512).warp(image)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("convention", get_args(Convention))
def test_the_box_is_where_the_network_input_lies_on_the_photograph(convention: Convention) -> None:
    """Its corners are half a pixel outside the places of the input's corner pixels."""
    resize = resize_for_network(90, 161, 64, convention=convention)
    left, top, width, height = resize.box()
    half = 0.5 * width / resize.width, 0.5 * height / resize.height
    first = FIRST_PIXEL_CENTER[convention]
    corner = np.array([first, first]), np.array([resize.width, resize.height]) + first - 1
    (x, y), (far_x, far_y) = (resize.to_image(c, resize.width, resize.height) + 0.5 for c in corner)
    np.testing.assert_allclose((left, top), (x - half[0], y - half[1]), atol=1e-9)
    np.testing.assert_allclose(
        (left + width, top + height), (far_x + half[0], far_y + half[1]), atol=1e-9
    )
    assert left <= 0.5 and left + width >= 160.5  # it shows the photograph to its edges, nearly
