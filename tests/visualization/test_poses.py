"""Drawn poses have the right position, color and width, read back from the pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from higherhrnet.arrays import BoolArray, DoubleArray, Image
from higherhrnet.errors import InputError
from higherhrnet.io.images import read_image
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, COCO_WHOLEBODY, CROWDPOSE
from higherhrnet.visualization.poses import (
    CENTER_COLOR,
    LEFT_COLOR,
    PERSON_COLORS,
    RIGHT_COLOR,
    Color,
    draw,
    draw_onto,
)
from tests.visualization.cases import (
    CHAIN,
    DOT,
    INVALID_IMAGES,
    noise_image,
    non_contiguous_image,
)

Points = dict[str, tuple[float, float]]

STANDING: Points = {
    "left_shoulder": (360.0, 120.0),
    "right_shoulder": (280.0, 120.0),
    "left_elbow": (400.0, 180.0),
    "right_elbow": (240.0, 180.0),
    "left_hip": (350.0, 260.0),
    "right_hip": (290.0, 260.0),
}


def make_poses(people: list[Points], skeleton: Skeleton = COCO) -> Poses:
    """People with the given keypoints; all others were not found."""
    keypoints = np.zeros((len(people), len(skeleton), 2), np.float32)
    scores = np.zeros(keypoints.shape[:2], np.float32)
    for index, person in enumerate(people):
        for name, point in person.items():
            keypoints[index, skeleton.names.index(name)] = point
            scores[index, skeleton.names.index(name)] = 0.8
    return Poses(keypoints, scores, np.full(len(people), 0.5, np.float32), skeleton)


def shift(person: Points, dx: float, dy: float) -> Points:
    return {name: (x + dx, y + dy) for name, (x, y) in person.items()}


def changed(before: Image, after: Image) -> BoolArray:
    """(H, W) which pixels differ."""
    return np.asarray((before != after).any(2))


def distance_to_limbs(poses: Poses, height: int, width: int) -> DoubleArray:
    """(height, width) the distance of each pixel to the nearest limb or keypoint."""
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).astype(float)
    nearest = np.full((height, width), np.inf)
    for points, found in zip(poses.keypoints.astype(float), poses.found, strict=True):
        ends = [(k, k) for k in range(len(found)) if found[k]]
        ends += [(a, b) for a, b in poses.skeleton.limb_index if found[a] and found[b]]
        for a, b in ends:
            limb = points[b] - points[a]
            fraction = ((grid - points[a]) @ limb / max(limb @ limb, 1e-9)).clip(0, 1)
            offset = grid - points[a] - fraction[..., None] * limb
            nearest = np.minimum(nearest, np.hypot(offset[..., 0], offset[..., 1]))
    return nearest


def test_the_image_is_not_changed() -> None:
    image = noise_image()
    copy = image.copy()
    drawn = draw(image, make_poses([STANDING]))
    assert np.array_equal(image, copy)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert changed(image, drawn).any()


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE, COCO_WHOLEBODY, CHAIN, DOT])
def test_without_people_the_result_is_an_identical_copy(skeleton: Skeleton) -> None:
    image = noise_image()
    drawn = draw(image, make_poses([], skeleton))
    assert np.array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


def test_only_pixels_at_keypoints_and_limbs_change() -> None:
    image = noise_image()
    poses = make_poses([STANDING, shift(STANDING, -200, 150)])
    distance = distance_to_limbs(poses, *image.shape[:2])
    mask = changed(image, draw(image, poses))
    assert not mask[distance > 12].any()
    assert mask[distance < 1].mean() > 0.99


def test_keypoints_that_were_not_found_are_not_drawn() -> None:
    image = noise_image()
    poses = make_poses([STANDING])  # the other keypoints are at (0, 0)
    assert np.array_equal(draw(image, poses)[:60, :150], image[:60, :150])


@pytest.mark.parametrize(
    ("limb", "color"),
    [
        (("left_shoulder", "left_elbow"), LEFT_COLOR),
        (("left_shoulder", "left_hip"), LEFT_COLOR),
        (("right_shoulder", "right_elbow"), RIGHT_COLOR),
        (("right_shoulder", "right_hip"), RIGHT_COLOR),
        (("left_shoulder", "right_shoulder"), CENTER_COLOR),
        (("left_hip", "right_hip"), CENTER_COLOR),
    ],
)
@pytest.mark.parametrize("background", [0, 255])
def test_limbs_have_the_color_of_their_side(
    limb: tuple[str, str], color: Color, background: int
) -> None:
    drawn = draw(np.full((480, 640, 3), background, np.uint8), make_poses([STANDING]))
    x, y = np.mean([STANDING[end] for end in limb], 0).round().astype(int)
    assert drawn[y, x].tolist() == list(color)


@pytest.mark.parametrize(("side", "color"), [("left", LEFT_COLOR), ("right", RIGHT_COLOR)])
def test_a_limb_from_the_center_to_one_side_has_the_color_of_the_side(
    side: str, color: Color
) -> None:
    person = {"neck": (100.0, 100.0), f"{side}_shoulder": (200.0, 100.0)}
    drawn = draw(np.zeros((200, 300, 3), np.uint8), make_poses([person], CROWDPOSE))
    assert drawn[100, 150].tolist() == list(color)


def test_keypoints_of_different_people_have_different_colors() -> None:
    shifts = (-240.0, 0.0, 230.0)
    drawn = draw(noise_image(), make_poses([shift(STANDING, dx, 0) for dx in shifts]))
    x, y = (int(value) for value in STANDING["left_elbow"])
    colors = {tuple(drawn[y, x + int(dx)].tolist()) for dx in shifts}
    assert colors == set(PERSON_COLORS[:3])


def test_low_scores_are_not_drawn() -> None:
    image = noise_image()
    poses = make_poses([STANDING])
    poses.keypoint_scores[0, COCO.names.index("left_elbow")] = 0.3
    without = make_poses([{k: v for k, v in STANDING.items() if k != "left_elbow"}])
    shown = draw(image, poses, min_keypoint_score=0.3)
    hidden = draw(image, poses, min_keypoint_score=0.31)
    assert changed(image, shown)[175:186, 395:406].all()
    assert not changed(image, hidden)[:, 390:].any()
    assert np.array_equal(hidden, draw(image, without))
    assert np.array_equal(draw(image, poses, min_score=0.6), image)


def test_lines_are_wider_on_larger_images_and_narrower_on_small_people() -> None:
    def line_width(image_scale: float, person_scale: float = 1) -> int:
        """The number of pixels across the left upper arm that have its color."""
        arm = ("left_shoulder", "left_elbow")
        scale = image_scale * person_scale
        person = {name: (x * scale, y * scale) for name, (x, y) in STANDING.items()}
        x = round(np.mean([person[end][0] for end in arm]))
        size = int(480 * image_scale), int(640 * image_scale)
        drawn = draw(np.zeros((*size, 3), np.uint8), make_poses([person]))
        return int((drawn[:, x] == LEFT_COLOR).all(1).sum())

    widths = [line_width(scale) for scale in (0.5, 1, 2, 6)]
    assert widths == sorted(set(widths))
    assert widths[0] >= 1
    assert line_width(2, person_scale=0.3) < line_width(2)


def test_parts_outside_the_image_are_not_drawn() -> None:
    image = noise_image()
    far = {
        "left_shoulder": (320.0, 240.0),
        "left_elbow": (1e8, 240.0),
        "right_shoulder": (-500.0, -3e9),
    }
    drawn = draw(image, make_poses([far]))
    assert drawn[240, 600].tolist() == list(LEFT_COLOR)
    outside = make_poses([shift(STANDING, 5000, 0)])
    assert np.array_equal(draw(image, outside), image)


@pytest.mark.parametrize("skeleton", [CHAIN, DOT])
@pytest.mark.parametrize("size", [(1, 1), (7, 900), (480, 640)])
def test_every_skeleton_can_be_drawn_on_every_size(
    skeleton: Skeleton, size: tuple[int, int]
) -> None:
    person = {name: (5.0 * i, 3.0) for i, name in enumerate(skeleton.names)}
    assert draw(noise_image(*size), make_poses([person], skeleton)).shape == (*size, 3)


def test_memory_layout_does_not_matter() -> None:
    view = non_contiguous_image()
    poses = make_poses([STANDING])
    assert np.array_equal(draw(view, poses), draw(np.ascontiguousarray(view), poses))


@pytest.mark.parametrize("image", INVALID_IMAGES)
def test_arrays_that_are_not_rgb_images_are_rejected(image: Image) -> None:
    with pytest.raises(InputError, match="RGB uint8"):
        draw(image, make_poses([]))


def test_image_files_and_pil_images_are_drawn_on_and_the_drawing_is_written(
    tmp_path: Path,
) -> None:
    image, poses = noise_image(), make_poses([STANDING])
    Pillow.fromarray(image).save(tmp_path / "image.png")
    expected = draw(image, poses)
    drawn = draw(tmp_path / "image.png", poses, path=tmp_path / "drawn.png")
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(read_image(tmp_path / "drawn.png"), expected)
    np.testing.assert_array_equal(draw(Pillow.fromarray(image), poses), expected)


def test_track_ids_are_drawn_and_determine_the_color() -> None:
    image = np.full((480, 640, 3), 90, np.uint8)
    poses = make_poses([STANDING, shift(STANDING, -200, 60)])
    drawn = draw(image, replace(poses, track_ids=np.array([7, 12])))
    reversed_order = draw(image, replace(poses[[1, 0]], track_ids=np.array([12, 7])))
    np.testing.assert_array_equal(drawn, reversed_order)
    above = slice(0, 108), slice(330, 390)  # the left shoulder of the first person
    assert not changed(image, draw(image, poses))[above].any()
    assert (drawn[above] == PERSON_COLORS[7]).all(2).any()


def test_track_ids_at_the_edge_are_drawn_within_the_image() -> None:
    image = np.full((480, 640, 3), 90, np.uint8)
    poses = make_poses([shift(STANDING, 0, -118)])
    first, second = 3, 3 + len(PERSON_COLORS)  # of the same color
    drawn = (draw(image, replace(poses, track_ids=np.array([i]))) for i in (first, second))
    assert changed(*drawn).any()


def test_keypoints_of_a_face_that_are_six_pixels_apart_can_be_distinguished() -> None:
    """The person is 400 pixels tall, and the image has 640×480 pixels."""
    keypoints = np.zeros((1, 133, 2), np.float32)
    scores = np.zeros((1, 133), np.float32)
    face = np.arange(23, 40)
    keypoints[0, face] = np.stack([200 + 6 * np.arange(17), np.full(17, 60)], 1)
    keypoints[0, 15] = 250, 460
    scores[0, [*face, 15]] = 1
    poses = Poses(keypoints, scores, np.ones(1, np.float32), COCO_WHOLEBODY)
    drawn = draw(np.zeros((480, 640, 3), np.uint8), poses).astype(int)
    at_keypoints, between = drawn[60, 200:297:6], drawn[60, 203:297:6]
    assert np.abs(at_keypoints - PERSON_COLORS[0]).max() < 40
    assert np.abs(between - PERSON_COLORS[0]).max(1).min() > 100


def test_drawing_onto_an_image_changes_it_unless_it_is_read_only() -> None:
    poses = make_poses([STANDING, shift(STANDING, 300, 200)])
    image = noise_image(480, 640)
    read_only = image.copy()
    read_only.flags.writeable = False
    expected = draw(image, poses)
    np.testing.assert_array_equal(draw_onto(read_only, poses), expected)
    assert draw_onto(image, poses) is image
    np.testing.assert_array_equal(image, expected)
    assert not np.array_equal(read_only, expected)
