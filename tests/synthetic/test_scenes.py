"""Synthetic scenes: annotations against the pixels of the images."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO as PycocotoolsCOCO

from higherhrnet.arrays import BoolArray
from higherhrnet.errors import InputError
from higherhrnet.io.skeleton_files import category_skeleton
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE
from higherhrnet.synthetic.painting import CROWD, Scene
from higherhrnet.synthetic.scenes import draw_scene, write_scenes


def visible_pixels(scene: Scene, *parts: str) -> list[tuple[str, int, int]]:
    """Names, columns and rows of the visible keypoints whose names contain one of the parts."""
    return [
        (name, round(float(x)), round(float(y)))
        for person in scene.keypoints
        for name, (x, y, visibility) in zip(COCO.names, person, strict=True)
        if visibility == 2 and any(part in name for part in parts)
    ]


def test_equal_seeds_give_equal_scenes() -> None:
    first, equal, other = (draw_scene(seed, crowd=0.5) for seed in ((7, 1), (7, 1), (7, 2)))
    np.testing.assert_array_equal(first.image, equal.image)
    np.testing.assert_array_equal(first.keypoints, equal.keypoints)
    np.testing.assert_array_equal(first.instance_map, equal.instance_map)
    assert (first.image != other.image).any()


def test_a_generator_is_advanced() -> None:
    rng = np.random.default_rng(7)
    first, second = draw_scene(rng), draw_scene(rng)
    np.testing.assert_array_equal(first.image, draw_scene(7).image)
    assert (first.image != second.image).any()


@pytest.mark.parametrize("seed", range(20))
def test_left_keypoints_are_reddish_and_right_ones_bluish(seed: int) -> None:
    scene = draw_scene(seed)
    for name, x, y in visible_pixels(scene, "elbow", "knee", "ankle"):
        red, _, blue = scene.image[y, x].astype(int)
        assert (red > blue) == name.startswith("left"), name


def test_without_side_colors_both_sides_have_either_color() -> None:
    scenes = [draw_scene(seed, side_colors=False) for seed in range(20)]
    left_is_reddish = {
        name.startswith("left") == (int(scene.image[y, x, 0]) > int(scene.image[y, x, 2]))
        for scene in scenes
        for name, x, y in visible_pixels(scene, "knee")
    }
    assert left_is_reddish == {True, False}


@pytest.mark.parametrize("seed", range(20))
def test_visible_keypoints_are_on_pixels_of_their_person(seed: int) -> None:
    background = draw_scene(seed, people=(0, 0), objects=(0, 0), crowd=0).image.astype(int)
    scene = draw_scene(seed, objects=(0, 0), crowd=0)
    assert len(scene.keypoints) > 0
    x, y, visibility = scene.keypoints.transpose(2, 0, 1)
    assert set(np.unique(visibility)) <= {0, 1, 2}
    height, width = scene.instance_map.shape
    inside = visibility > 0
    assert ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)).all()
    assert not x[~inside].any() and not y[~inside].any()
    columns, rows = np.rint(x).astype(int), np.rint(y).astype(int)
    instances = scene.instance_map[rows, columns]
    people = np.arange(1, len(instances) + 1)[:, None]
    assert (instances == people)[visibility == 2].all()
    assert (visibility[inside & (instances != people)] == 1).all()
    unowned = (scene.instance_map == 0).astype(np.uint8)
    far_from_people = cv2.erode(unowned, np.ones((5, 5))) > 0
    np.testing.assert_array_equal(scene.image[far_from_people], background[far_from_people])
    difference = np.abs(scene.image - background).max(-1)[rows, columns]
    # A few parts may happen to have the color of the background.
    assert np.mean(difference[visibility == 2] > 8) > 0.95


def test_a_crowd_has_a_mask_and_no_keypoints() -> None:
    scene = draw_scene(3, people=(2, 2), crowd=1)
    *people, crowd = scene.annotations()
    assert len(people) == len(scene.keypoints) == 2
    assert crowd["iscrowd"] == 1 and crowd["num_keypoints"] == 0
    assert crowd["area"] == (scene.instance_map == CROWD).sum() > 0
    assert not any(person["iscrowd"] for person in people)
    assert draw_scene(3, people=(2, 2), crowd=0).annotations()[-1]["iscrowd"] == 0


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda skeleton: skeleton.name)
def test_pycocotools_reads_written_scenes(tmp_path: Path, skeleton: Skeleton) -> None:
    path = write_scenes(
        tmp_path / "set", 6, seed=5, skeleton=skeleton, crowd=0.5, width=160, height=128
    )
    coco = PycocotoolsCOCO(str(path))
    assert category_skeleton(coco.cats[1]) is skeleton
    assert len(coco.anns) == len(coco.getAnnIds())
    for id_, image in coco.imgs.items():
        scene = draw_scene((5, id_), skeleton=skeleton, crowd=0.5, width=160, height=128)
        pixels = cv2.imread(str(path.parent / "images" / image["file_name"]))
        assert pixels is not None
        np.testing.assert_array_equal(pixels[..., ::-1], scene.image)
        for person, annotation in enumerate(coco.loadAnns(coco.getAnnIds(id_, iscrowd=False))):
            check_person(annotation, coco.annToMask(annotation) > 0, scene, person)
        for annotation in coco.loadAnns(coco.getAnnIds(id_, iscrowd=True)):
            np.testing.assert_array_equal(coco.annToMask(annotation) > 0, scene.crowd)
            check_box(annotation, scene.crowd)
    assert any(annotation["iscrowd"] for annotation in coco.anns.values())


def check_person(
    annotation: dict[str, list[float]], mask: BoolArray, scene: Scene, person: int
) -> None:
    keypoints = np.reshape(annotation["keypoints"], (-1, 3))
    np.testing.assert_allclose(keypoints, scene.keypoints[person], atol=1e-3)
    assert annotation["num_keypoints"] == (keypoints[:, 2] > 0).sum() > 0
    expected = scene.instance_map == person + 1
    assert annotation["area"] == expected.sum()
    check_box(annotation, expected)
    assert mask[expected].all()
    pixels = expected.astype(np.uint8)
    contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(pixels, contours, -1, 1, cv2.FILLED)  # COCO's polygons have no holes
    np.testing.assert_array_equal(mask, filled > 0)


def check_box(annotation: dict[str, list[float]], mask: BoolArray) -> None:
    y, x = np.nonzero(mask)
    assert annotation["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]


def test_an_incomplete_dataset_has_no_annotations(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    (tmp_path / "images").rename(tmp_path / "kept")
    (tmp_path / "images").touch()  # a file where the folder should be
    with pytest.raises(InputError, match="scenes cannot be written"):
        write_scenes(tmp_path, 1)
    assert not list(tmp_path.glob("annotations*"))


def test_scenes_do_not_depend_on_their_number(tmp_path: Path) -> None:
    one, two = (json.loads(write_scenes(tmp_path / str(n), n).read_text()) for n in (1, 2))
    count = len(one["annotations"])
    assert one["annotations"] == two["annotations"][:count]


def test_an_unknown_keypoint_is_an_error() -> None:
    hand = Skeleton("hand", ("left_wrist", "left_thumb"), (), (0.1, 0.1))
    with pytest.raises(InputError, match="left_thumb"):
        draw_scene(0, skeleton=hand)


@pytest.mark.parametrize(("height", "width"), [(64, 200), (300, 80), (8, 8)])
def test_draws_scenes_of_any_size(height: int, width: int) -> None:
    scene = draw_scene(0, height=height, width=width, crowd=1)
    assert scene.image.shape == (height, width, 3)
    assert scene.instance_map.shape == (height, width)


def test_a_scene_may_have_no_people() -> None:
    scene = draw_scene(0, people=(0, 0), crowd=0, skeleton=CROWDPOSE)
    assert scene.keypoints.shape == (0, 14, 3)
    assert scene.boxes.shape == (0, 4) and scene.areas.shape == (0,)
    assert scene.annotations() == []
