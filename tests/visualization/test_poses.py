"""What the pictures must show, read back from their pixels."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.poses import Poses
from higherhrnet.skeleton import COCO, CROWDPOSE, Skeleton
from higherhrnet.visualization.maps import (
    CAPTION,
    GAP,
    TILE_SIZE,
    draw_heatmaps,
    draw_maps,
    draw_tags,
)
from higherhrnet.visualization.poses import LEFT, MIDDLE, PEOPLE, RIGHT, draw

Floats = NDArray[np.float32]

CHAIN = Skeleton(
    "chain", ("head", "body", "tail"), (("head", "body"), ("body", "tail")), (0.1,) * 3
)
DOT = Skeleton("dot", ("centre",), (), (0.1,))


def photograph(height: int = 480, width: int = 640) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def poses(people: list[dict[str, tuple[float, float]]], skeleton: Skeleton = COCO) -> Poses:
    """People from the keypoints that they have, by name."""
    keypoints = np.zeros((len(people), len(skeleton), 2), np.float32)
    scores = np.zeros(keypoints.shape[:2], np.float32)
    for p, person in enumerate(people):
        for name, place in person.items():
            keypoints[p, skeleton.names.index(name)] = place
            scores[p, skeleton.names.index(name)] = 0.8
    return Poses(keypoints, scores, np.full(len(people), 0.5, np.float32), skeleton)


STANDING = {
    "left_shoulder": (360.0, 120.0),
    "right_shoulder": (280.0, 120.0),
    "left_elbow": (400.0, 180.0),
    "right_elbow": (240.0, 180.0),
    "left_hip": (350.0, 260.0),
    "right_hip": (290.0, 260.0),
}


def changed(before: Image, after: Image) -> NDArray[np.bool_]:
    return np.asarray((before != after).any(2))


def distance_to_limbs(people: Poses, height: int, width: int) -> NDArray[np.float64]:
    """(height, width) distance of each pixel to the nearest drawn limb or keypoint."""
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).astype(float)
    nearest = np.full((height, width), np.inf)
    for person, found in zip(people.keypoints.astype(float), people.found, strict=True):
        ends = [(k, k) for k in range(len(found)) if found[k]]
        ends += [(a, b) for a, b in people.skeleton.limb_index if found[a] and found[b]]
        for a, b in ends:
            along = person[b] - person[a]
            place = ((grid - person[a]) @ along / max(along @ along, 1e-9)).clip(0, 1)
            offset = grid - person[a] - place[..., None] * along
            nearest = np.minimum(nearest, np.hypot(offset[..., 0], offset[..., 1]))
    return nearest


def test_the_photograph_is_left_alone() -> None:
    image = photograph()
    kept = image.copy()
    drawn = draw(image, poses([STANDING]))
    assert np.array_equal(image, kept)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert changed(image, drawn).any()


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE, CHAIN, DOT])
def test_nobody_to_draw_gives_an_identical_copy(skeleton: Skeleton) -> None:
    image = photograph()
    drawn = draw(image, poses([], skeleton))
    assert np.array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


def test_only_pixels_at_keypoints_and_limbs_change() -> None:
    image = photograph()
    moved = {name: (x - 200, y + 150) for name, (x, y) in STANDING.items()}
    people = poses([STANDING, moved])
    distance = distance_to_limbs(people, *image.shape[:2])
    where = changed(image, draw(image, people))
    assert not where[distance > 12].any()
    assert where[distance < 1].mean() > 0.99


def test_keypoints_that_were_not_found_draw_nothing() -> None:
    image = photograph()
    people = poses([STANDING])  # the others lie at (0, 0) with score 0
    assert np.array_equal(draw(image, people)[:60, :150], image[:60, :150])


@pytest.mark.parametrize(
    ("limb", "colour"),
    [
        (("left_shoulder", "left_elbow"), LEFT),
        (("left_shoulder", "left_hip"), LEFT),
        (("right_shoulder", "right_elbow"), RIGHT),
        (("right_shoulder", "right_hip"), RIGHT),
        (("left_shoulder", "right_shoulder"), MIDDLE),
        (("left_hip", "right_hip"), MIDDLE),
    ],
)
@pytest.mark.parametrize("background", [0, 255])
def test_limbs_have_the_colour_of_their_side(
    limb: tuple[str, str], color: tuple[int, int, int], background: int
) -> None:
    drawn = draw(np.full((480, 640, 3), background, np.uint8), poses([STANDING]))
    x, y = np.mean([STANDING[end] for end in limb], 0).round().astype(int)
    assert drawn[y, x].tolist() == list(color)


@pytest.mark.parametrize(("side", "colour"), [("left", LEFT), ("right", RIGHT)])
def test_a_limb_from_the_middle_to_one_side_is_that_sides(
    side: str, color: tuple[int, int, int]
) -> None:
    person = {"neck": (100.0, 100.0), f"{side}_shoulder": (200.0, 100.0)}
    drawn = draw(np.zeros((200, 300, 3), np.uint8), poses([person], CROWDPOSE))
    assert drawn[100, 150].tolist() == list(color)


def test_people_are_told_apart_by_their_keypoints() -> None:
    shifts = (-240.0, 0.0, 230.0)
    people = [{name: (x + dx, y) for name, (x, y) in STANDING.items()} for dx in shifts]
    drawn = draw(photograph(), poses(people))
    x, y = (int(value) for value in STANDING["left_elbow"])
    colors = {tuple(drawn[y, x + int(dx)].tolist()) for dx in shifts}
    assert colors == set(PEOPLE[:3])


def test_low_scores_are_not_drawn() -> None:
    image = photograph()
    people = poses([STANDING])
    people.keypoint_scores[0, COCO.names.index("left_elbow")] = 0.3
    without = poses([{k: v for k, v in STANDING.items() if k != "left_elbow"}])
    shown = draw(image, people, min_keypoint_score=0.3)
    hidden = draw(image, people, min_keypoint_score=0.31)
    assert changed(image, shown)[175:186, 395:406].all()
    assert not changed(image, hidden)[:, 390:].any()
    assert np.array_equal(hidden, draw(image, without))
    assert np.array_equal(draw(image, people, min_score=0.6), image)


def test_lines_are_thicker_on_larger_photographs_and_thinner_on_small_people() -> None:
    def thickness(scale: float, size: float = 1) -> int:
        """Pixels across the left upper arm that have its colour."""
        arm = ("left_shoulder", "left_elbow")
        person = {name: (x * scale * size, y * scale * size) for name, (x, y) in STANDING.items()}
        x = round(np.mean([person[end][0] for end in arm]))
        drawn = draw(np.zeros((int(480 * scale), int(640 * scale), 3), np.uint8), poses([person]))
        return int((drawn[:, x] == LEFT).all(1).sum())

    widths = [thickness(scale) for scale in (0.5, 1, 2, 6)]
    assert widths == sorted(set(widths))
    assert widths[0] >= 1
    assert thickness(2, size=0.3) < thickness(2)


def test_parts_outside_the_photograph_are_cut_off() -> None:
    image = photograph()
    far = {
        "left_shoulder": (320.0, 240.0),
        "left_elbow": (1e8, 240.0),
        "right_shoulder": (-500.0, -3e9),
    }
    drawn = draw(image, poses([far]))
    assert drawn[240, 600].tolist() == list(LEFT)
    beyond = {name: (x + 5000, y) for name, (x, y) in STANDING.items()}
    assert np.array_equal(draw(image, poses([beyond])), image)


@pytest.mark.parametrize("skeleton", [CHAIN, DOT])
@pytest.mark.parametrize("size", [(1, 1), (7, 900), (480, 640)])
def test_any_skeleton_on_any_size(skeleton: Skeleton, size: tuple[int, int]) -> None:
    people = poses([{name: (5.0 * i, 3.0) for i, name in enumerate(skeleton.names)}], skeleton)
    assert draw(photograph(*size), people).shape == (*size, 3)


def test_views_of_other_memory_layouts_are_drawn_alike() -> None:
    view = np.rot90(photograph())[::-1, :, ::-1]
    people = poses([STANDING])
    assert np.array_equal(draw(view, people), draw(np.ascontiguousarray(view), people))
    maps = spots([(10, 10)])
    sheet = draw_maps(np.ascontiguousarray(view), maps, maps, DOT)
    assert np.array_equal(draw_maps(view, maps, maps, DOT), sheet)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 30), np.uint8),
        np.zeros((20, 30, 1), np.uint8),
        np.zeros((20, 30, 4), np.uint8),
        np.zeros((20, 30, 3), np.float32),
        np.zeros((0, 30, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_photograph_is_refused(image: Image) -> None:
    with pytest.raises(InputError, match="RGB uint8"):
        draw(image, poses([]))
    with pytest.raises(InputError, match="RGB uint8"):
        draw_maps(image, spots([(10, 10)]), spots([(10, 10)]), DOT)


def spots(places: list[tuple[int, int]], height: int = 60, width: int = 80) -> Floats:
    """(K, height, width) one Gaussian a map, at x, y."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    maps = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in places]
    return np.array(maps, np.float32)


def brightest(picture: Image) -> tuple[float, float]:
    """x and y of the brightest place, as parts of the picture's width and height."""
    gray = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 2)
    y, x = np.unravel_index(gray.argmax(), gray.shape)
    return float((x + 0.5) / picture.shape[1]), float((y + 0.5) / picture.shape[0])


@pytest.mark.parametrize("size", [(480, 640), (1200, 900), (120, 160)])
def test_heatmaps_glow_at_their_peaks(size: tuple[int, int]) -> None:
    picture = draw_heatmaps(photograph(*size), spots([(20, 45)]))
    assert picture.shape == (*size, 3)
    assert picture.dtype == np.uint8
    assert brightest(picture) == pytest.approx((20.5 / 80, 45.5 / 60), abs=0.02)


@pytest.mark.parametrize("per_person", [[0.0, 6.0], [[0.0, 5.0], [5.0, 0.0]]])
@pytest.mark.parametrize("shared", [False, True])
def test_tags_colour_people_alike_within_and_apart_between(
    per_person: list[float] | list[list[float]], shared: bool
) -> None:
    heatmaps = np.maximum(spots([(20, 15), (20, 45)]), spots([(60, 15), (60, 45)]))
    values = np.array(per_person, np.float32)
    one = values[(np.arange(80) > 40).astype(int)]  # (80,) or (80, T): left and right person
    tags = np.broadcast_to(one, (1 if shared else 2, 60, *one.shape))
    picture = draw_tags(np.zeros((60, 80, 3), np.uint8), heatmaps, tags).astype(int)
    left, right = picture[[15, 45], 20], picture[[15, 45], 60]
    assert np.abs(left[0] - left[1]).max() == 0
    assert np.abs(right[0] - right[1]).max() == 0
    assert np.abs(left[0] - right[0]).max() > 100
    assert picture[30, 40].max() == 0  # no heatmap is high there: nobody's


def test_each_place_has_the_tag_of_its_highest_keypoint() -> None:
    heatmaps = spots([(20, 30), (60, 30)])
    tags = np.stack([np.full((60, 80), tag, np.float32) for tag in (0.0, 6.0)])
    shared = np.where(heatmaps[1:] > heatmaps[:1], tags[1:], tags[:1])
    black = np.zeros((60, 80, 3), np.uint8)
    assert np.array_equal(draw_tags(black, heatmaps, tags), draw_tags(black, heatmaps, shared))


def test_a_lone_persons_tags_do_not_fill_the_rainbow() -> None:
    heatmaps = spots([(20, 30), (60, 30)])
    tags = np.stack([np.full((60, 80), tag, np.float32) for tag in (3.0, 3.05)])
    picture = draw_tags(np.zeros((60, 80, 3), np.uint8), heatmaps, tags).astype(int)
    assert np.abs(picture[30, 20] - picture[30, 60]).max() < 40


def test_a_tile_of_the_sheet_is_brightest_at_its_keypoints_peak() -> None:
    places = [(8 + 4 * k, 50 - 2 * k) for k in range(len(COCO))]
    heatmaps = spots(places)
    sheet = draw_maps(photograph(), heatmaps, heatmaps, COCO)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 6 * (TILE_SIZE + GAP)
    cell = 180 + CAPTION + GAP  # a 640×480 photograph in a tile of 240×180
    top = sheet.shape[0] - 3 * cell
    for k, (x, y) in enumerate(places):
        row, left = top + k // 6 * cell + CAPTION, k % 6 * (TILE_SIZE + GAP)
        left += GAP // 2
        tile = sheet[row : row + 180, left : left + TILE_SIZE]
        assert brightest(tile) == pytest.approx(((x + 0.5) / 80, (y + 0.5) / 60), abs=0.02)


@pytest.mark.parametrize("skeleton", [CHAIN, DOT, CROWDPOSE])
@pytest.mark.parametrize("size", [(1, 1), (20, 3000), (3000, 20), (300, 200)])
def test_a_sheet_of_any_skeleton_and_size_stays_moderate(
    skeleton: Skeleton, size: tuple[int, int]
) -> None:
    maps = np.zeros((len(skeleton), 5, 7), np.float32)  # nobody there
    sheet = draw_maps(np.zeros((*size, 3), np.uint8), maps, maps[:1, ..., None], skeleton)
    assert sheet.shape[2] == 3
    assert max(sheet.shape) < 1800


@pytest.mark.parametrize(
    ("heatmaps", "tags"),
    [
        ((3, 5), (3, 5, 7)),
        ((3, 5, 7), (2, 5, 7)),
        ((3, 5, 7), (3, 7, 5)),
        ((3, 5, 7), (3, 5, 7, 1, 1)),
        ((3, 0, 7), (3, 0, 7)),
        ((2, 5, 7), (2, 5, 7)),  # the skeleton has three
    ],
)
def test_maps_that_do_not_belong_together_are_refused(
    heatmaps: tuple[int, ...], tags: tuple[int, ...]
) -> None:
    image = photograph(20, 30)
    with pytest.raises(InputError):
        draw_maps(image, np.zeros(heatmaps, np.float32), np.zeros(tags, np.float32), CHAIN)


def test_tracks_have_their_number_and_its_colour_whatever_their_place() -> None:
    image = np.full((480, 640, 3), 90, np.uint8)
    people = poses([STANDING, {name: (x - 200, y + 60) for name, (x, y) in STANDING.items()}])
    first, second = (
        draw(image, replace(chosen, track_ids=tracks))
        for chosen, tracks in (
            (people, np.array([7, 12])),
            (people[[1, 0]], np.array([12, 7])),
        )
    )
    np.testing.assert_array_equal(first, second)
    above = slice(0, 108), slice(330, 390)  # over the left shoulder of the first
    assert not changed(image, draw(image, people))[above].any()
    assert (first[above] == PEOPLE[7]).all(2).any()
    edge = poses([{name: (x, y - 118) for name, (x, y) in STANDING.items()}])
    alike = (np.array([number]) for number in (3, 3 + len(PEOPLE)))  # in all but the number
    assert changed(*(draw(image, replace(edge, track_ids=tracks)) for tracks in alike)).any()
