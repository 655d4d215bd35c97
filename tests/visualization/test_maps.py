"""Drawn heatmaps, tags and offsets have the right position and color, read back from the pixels."""

import cv2
import numpy as np
import pytest

from higherhrnet.arrays import FloatArray, Image
from higherhrnet.errors import InputError
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE
from higherhrnet.visualization.maps import (
    CAPTION_HEIGHT,
    TILE_GAP,
    TILE_SIZE,
    draw_heatmaps,
    draw_maps,
    draw_overlays,
    draw_tags,
)
from higherhrnet.visualization.offsets import draw_offsets
from tests.visualization.cases import (
    CHAIN,
    DOT,
    INVALID_IMAGES,
    noise_image,
    non_contiguous_image,
)

BLACK = np.zeros((60, 80, 3), np.uint8)


def gaussians(points: list[tuple[int, int]], height: int = 60, width: int = 80) -> FloatArray:
    """(K, height, width) heatmaps, each with one Gaussian at x, y."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    maps = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in points]
    return np.array(maps, np.float32)


def constant_tags(*values: float) -> FloatArray:
    """(K, 60, 80) tags with one value per keypoint."""
    return np.stack([np.full((60, 80), value, np.float32) for value in values])


def brightest_point(image: Image) -> tuple[float, float]:
    """x and y of the brightest point as fractions of the width and height."""
    gray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 2)
    y, x = np.unravel_index(gray.argmax(), gray.shape)
    return float((x + 0.5) / image.shape[1]), float((y + 0.5) / image.shape[0])


@pytest.mark.parametrize("size", [(480, 640), (1200, 900), (120, 160)])
def test_heatmaps_are_brightest_at_their_peaks(size: tuple[int, int]) -> None:
    drawn = draw_heatmaps(noise_image(*size), gaussians([(20, 45)]))
    assert drawn.shape == (*size, 3)
    assert drawn.dtype == np.uint8
    assert brightest_point(drawn) == pytest.approx((20.5 / 80, 45.5 / 60), abs=0.02)


@pytest.mark.parametrize("person_tags", [[0.0, 6.0], [[0.0, 5.0], [5.0, 0.0]]])
@pytest.mark.parametrize("shared", [False, True])
def test_tags_have_one_color_per_person(
    person_tags: list[float] | list[list[float]], shared: bool
) -> None:
    heatmaps = np.maximum(gaussians([(20, 15), (20, 45)]), gaussians([(60, 15), (60, 45)]))
    values = np.array(person_tags, np.float32)
    row = values[(np.arange(80) > 40).astype(int)]  # (80,) or (80, T): left and right person
    tags = np.broadcast_to(row, (1 if shared else 2, 60, *row.shape))
    drawn = draw_tags(BLACK, heatmaps, tags).astype(int)
    left, right = drawn[[15, 45], 20], drawn[[15, 45], 60]
    assert np.abs(left[0] - left[1]).max() == 0
    assert np.abs(right[0] - right[1]).max() == 0
    assert np.abs(left[0] - right[0]).max() > 100
    assert drawn[30, 40].max() == 0  # no heatmap is high there


def test_each_pixel_has_the_tag_of_its_highest_heatmap() -> None:
    heatmaps, tags = gaussians([(20, 30), (60, 30)]), constant_tags(0.0, 6.0)
    shared = np.where(heatmaps[1:] > heatmaps[:1], tags[1:], tags[:1])
    assert np.array_equal(draw_tags(BLACK, heatmaps, tags), draw_tags(BLACK, heatmaps, shared))


def test_similar_tags_of_one_person_have_similar_colors() -> None:
    heatmaps, tags = gaussians([(20, 30), (60, 30)]), constant_tags(3.0, 3.05)
    drawn = draw_tags(BLACK, heatmaps, tags).astype(int)
    assert np.abs(drawn[30, 20] - drawn[30, 60]).max() < 40


def test_each_tile_of_the_maps_is_brightest_at_the_peak_of_its_keypoint() -> None:
    points = [(8 + 4 * k, 50 - 2 * k) for k in range(len(COCO))]
    heatmaps = gaussians(points)
    drawn = draw_maps(noise_image(), heatmaps, heatmaps, COCO)
    assert drawn.dtype == np.uint8
    assert drawn.shape[1] == 6 * (TILE_SIZE + TILE_GAP)
    row_height = 180 + CAPTION_HEIGHT + TILE_GAP  # an image of 640×480 fills 240×180
    top = drawn.shape[0] - 3 * row_height
    for k, (x, y) in enumerate(points):
        row = top + k // 6 * row_height + CAPTION_HEIGHT
        column = k % 6 * (TILE_SIZE + TILE_GAP) + TILE_GAP // 2
        tile = drawn[row : row + 180, column : column + TILE_SIZE]
        assert brightest_point(tile) == pytest.approx(((x + 0.5) / 80, (y + 0.5) / 60), abs=0.02)


@pytest.mark.parametrize("skeleton", [CHAIN, DOT, CROWDPOSE])
@pytest.mark.parametrize("size", [(1, 1), (20, 3000), (3000, 20), (300, 200)])
def test_drawn_maps_of_any_skeleton_and_image_size_are_of_moderate_size(
    skeleton: Skeleton, size: tuple[int, int]
) -> None:
    maps = np.zeros((len(skeleton), 5, 7), np.float32)
    drawn = draw_maps(np.zeros((*size, 3), np.uint8), maps, maps[:1, ..., None], skeleton)
    assert drawn.shape[2] == 3
    assert max(drawn.shape) < 1800


def test_memory_layout_does_not_matter() -> None:
    view, maps = non_contiguous_image(), gaussians([(10, 10)])
    drawn = draw_maps(np.ascontiguousarray(view), maps, maps, DOT)
    assert np.array_equal(draw_maps(view, maps, maps, DOT), drawn)


@pytest.mark.parametrize("image", INVALID_IMAGES)
def test_arrays_that_are_not_rgb_images_are_rejected(image: Image) -> None:
    maps = gaussians([(10, 10)])
    with pytest.raises(InputError, match="RGB uint8"):
        draw_maps(image, maps, maps, DOT)
    with pytest.raises(InputError, match="RGB uint8"):
        draw_heatmaps(image, maps)
    with pytest.raises(InputError, match="RGB uint8"):
        draw_tags(image, maps, maps)


@pytest.mark.parametrize(
    ("heatmaps", "tags", "message"),
    [
        ((3, 5), (3, 5, 7), r"must have the shape \(K, h, w\).*not \(3, 5\) and \(3, 5, 7\)"),
        ((3, 5, 7), (2, 5, 7), r"not \(3, 5, 7\) and \(2, 5, 7\)"),
        ((3, 5, 7), (3, 7, 5), r"not \(3, 5, 7\) and \(3, 7, 5\)"),
        ((3, 5, 7), (3, 5, 7, 1, 1), r"and \(3, 5, 7, 1, 1\)"),
        ((3, 0, 7), (3, 0, 7), r"not \(3, 0, 7\)"),
        ((2, 5, 7), (2, 5, 7), "skeleton chain has 3 keypoints, but there are 2 heatmaps"),
    ],
)
def test_shapes_that_do_not_match_are_rejected(
    heatmaps: tuple[int, ...], tags: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        draw_maps(
            noise_image(20, 30), np.zeros(heatmaps, np.float32), np.zeros(tags, np.float32), CHAIN
        )


def test_arrows_lead_from_each_center_to_the_keypoints() -> None:
    centers = np.zeros((20, 30), np.float32)
    centers[5, 5] = centers[12, 20] = 1
    offsets = np.zeros((2, 20, 30), np.float32)
    offsets[:, 5, 5] = -8, 0  # 8 cells to the right
    offsets[:, 12, 20] = 0, 6  # 6 cells up
    image = np.zeros((200, 300, 3), np.uint8)
    arrows = draw_offsets(image, centers, offsets).astype(int)
    arrows -= draw_offsets(image, centers, np.zeros_like(offsets))
    drawn = np.abs(arrows).max(2) > 30
    assert drawn[54, 70:130].all() and drawn[80:110, 204].all()
    assert not drawn[:, :40].any() and not drawn[140:].any()


def test_offsets_are_drawn_with_every_heatmap() -> None:
    maps, centers = np.zeros((3, 20, 30), np.float32), np.zeros((20, 30), np.float32)
    centers[9, 9] = 1
    offsets = np.full((6, 20, 30), -5, np.float32)
    image = noise_image(40, 60)
    drawn = draw_maps(image, maps, None, CHAIN, centers=centers, offsets=offsets)
    plain = draw_maps(image, maps, maps, CHAIN)
    assert drawn.shape == plain.shape
    rows = np.flatnonzero((drawn != plain).any((1, 2)))
    assert rows.max() > plain.shape[0] - TILE_SIZE  # in the tiles, too
    assert {*draw_overlays(image, maps, None, centers, offsets)} == {"heatmaps", "offsets"}
    assert {*draw_overlays(image, maps, maps)} == {"heatmaps", "tags"}


@pytest.mark.parametrize(
    ("centers", "offsets"), [((5, 7), (3, 5, 7)), ((5, 7), (2, 7, 5)), ((1, 5, 7), (2, 5, 7))]
)
def test_offsets_that_do_not_match_the_centers_are_rejected(
    centers: tuple[int, ...], offsets: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match=r"centers must have the shape \(h, w\)"):
        draw_offsets(noise_image(20, 30), np.zeros(centers, "f4"), np.zeros(offsets, "f4"))
