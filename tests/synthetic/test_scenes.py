"""Drawn scenes: what is said of the people must be what the pictures show."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO as PycocotoolsCOCO

from higherhrnet.errors import InputError
from higherhrnet.skeleton import COCO, CROWDPOSE, Skeleton
from higherhrnet.synthetic.painting import CROWD, Scene
from higherhrnet.synthetic.scenes import draw_scene, write_scenes


def seen(scene: Scene, *names: str) -> list[tuple[str, int, int]]:
    """Name and nearest pixel of the keypoints that are to be seen and whose name has a part."""
    return [
        (name, round(float(x)), round(float(y)))
        for person in scene.keypoints
        for name, (x, y, visibility) in zip(COCO.names, person, strict=True)
        if visibility == 2 and any(part in name for part in names)
    ]


def test_a_seed_gives_one_scene() -> None:
    first, again, other = (draw_scene(seed, crowd=0.5) for seed in ((7, 1), (7, 1), (7, 2)))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.keypoints, again.keypoints)
    np.testing.assert_array_equal(first.owners, again.owners)
    assert (first.image != other.image).any()


def test_a_generator_goes_on() -> None:
    rng = np.random.default_rng(7)
    first, second = draw_scene(rng), draw_scene(rng)
    np.testing.assert_array_equal(first.image, draw_scene(7).image)
    assert (first.image != second.image).any()


@pytest.mark.parametrize("seed", range(20))
def test_left_is_reddish_and_right_bluish_where_the_keypoints_are(seed: int) -> None:
    scene = draw_scene(seed)
    for name, x, y in seen(scene, "elbow", "knee", "ankle"):
        red, _, blue = scene.image[y, x].astype(int)
        assert (red > blue) == name.startswith("left"), name


def test_without_side_tones_only_the_front_tells_left_from_right() -> None:
    scenes = [draw_scene(seed, side_tones=False) for seed in range(20)]
    reddish = {
        name.startswith("left") == (int(scene.image[y, x, 0]) > int(scene.image[y, x, 2]))
        for scene in scenes
        for name, x, y in seen(scene, "knee")
    }
    assert reddish == {True, False}


@pytest.mark.parametrize("seed", range(20))
def test_visible_keypoints_are_their_persons_pixels_and_differ_from_the_background(
    seed: int,
) -> None:
    empty = draw_scene(seed, people=(0, 0), objects=(0, 0), crowd=0).image.astype(int)
    scene = draw_scene(seed, objects=(0, 0), crowd=0)
    assert len(scene.keypoints) > 0
    x, y, visibility = scene.keypoints.transpose(2, 0, 1)
    assert set(np.unique(visibility)) <= {0, 1, 2}
    height, width = scene.owners.shape
    inside = visibility > 0
    assert ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)).all()
    assert not x[~inside].any() and not y[~inside].any()
    owner = scene.owners[np.rint(y).astype(int), np.rint(x).astype(int)]
    mine = np.arange(1, len(owner) + 1)[:, None]
    assert (owner == mine)[visibility == 2].all()
    assert (visibility[inside & (owner != mine)] == 1).all()
    nobody = scene.owners == 0
    far_from_people = cv2.erode(nobody.astype(np.uint8), np.ones((5, 5))) > 0
    np.testing.assert_array_equal(scene.image[far_from_people], empty[far_from_people])
    changed = np.abs(scene.image - empty).max(-1)[np.rint(y).astype(int), np.rint(x).astype(int)]
    assert np.mean(changed[visibility == 2] > 8) > 0.95  # a shirt may look like what it hides


def test_a_crowd_has_pixels_and_no_keypoints() -> None:
    scene = draw_scene(3, people=(2, 2), crowd=1)
    *people, crowd = scene.annotations()
    assert len(people) == len(scene.keypoints) == 2
    assert crowd["iscrowd"] == 1 and crowd["num_keypoints"] == 0
    assert crowd["area"] == (scene.owners == CROWD).sum() > 0
    assert not any(person["iscrowd"] for person in people)
    assert draw_scene(3, people=(2, 2), crowd=0).annotations()[-1]["iscrowd"] == 0


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda skeleton: skeleton.name)
def test_pycocotools_reads_written_scenes(tmp_path: Path, skeleton: Skeleton) -> None:
    path = write_scenes(
        tmp_path / "set", 6, seed=5, skeleton=skeleton, crowd=0.5, width=160, height=128
    )
    coco = PycocotoolsCOCO(str(path))
    assert Skeleton.from_category(coco.cats[1]) is skeleton
    assert len(coco.anns) == len(coco.getAnnIds())
    for id_, image in coco.imgs.items():
        scene = draw_scene((5, id_), skeleton=skeleton, crowd=0.5, width=160, height=128)
        picture = cv2.imread(str(path.parent / "images" / image["file_name"]))
        assert picture is not None
        np.testing.assert_array_equal(picture[..., ::-1], scene.image)
        found = coco.loadAnns(coco.getAnnIds(id_, iscrowd=False))
        for person, annotation in enumerate(found):
            check_person(annotation, coco.annToMask(annotation) > 0, scene, person)
        for annotation in coco.loadAnns(coco.getAnnIds(id_, iscrowd=True)):
            np.testing.assert_array_equal(coco.annToMask(annotation) > 0, scene.crowd)
            check_box(annotation, scene.crowd)
    assert any(annotation["iscrowd"] for annotation in coco.anns.values())


def check_person(
    annotation: dict[str, list[float]], mask: NDArray[np.bool_], scene: Scene, person: int
) -> None:
    triples = np.reshape(annotation["keypoints"], (-1, 3))
    np.testing.assert_allclose(triples, scene.keypoints[person], atol=1e-3)
    assert annotation["num_keypoints"] == (triples[:, 2] > 0).sum() > 0
    drawn = scene.owners == person + 1
    assert annotation["area"] == drawn.sum()
    check_box(annotation, drawn)
    assert mask[drawn].all()  # and no more than the holes, which COCO's polygons cannot have
    outlines, _ = cv2.findContours(drawn.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(drawn.astype(np.uint8), outlines, -1, 1, cv2.FILLED)
    np.testing.assert_array_equal(mask, filled > 0)


def check_box(annotation: dict[str, list[float]], mask: NDArray[np.bool_]) -> None:
    y, x = np.nonzero(mask)
    assert annotation["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]


def test_an_interrupted_set_has_no_annotations(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    (tmp_path / "images").rename(tmp_path / "kept")
    (tmp_path / "images").touch()  # a file where the folder should be
    with pytest.raises(InputError, match="cannot write scenes"):
        write_scenes(tmp_path, 1)
    assert not list(tmp_path.glob("annotations*"))


def test_scenes_of_a_set_do_not_depend_on_their_number(tmp_path: Path) -> None:
    one, two = (json.loads(write_scenes(tmp_path / str(n), n).read_text()) for n in (1, 2))
    count = len(one["annotations"])
    assert one["annotations"] == two["annotations"][:count]


def test_unknown_keypoints_are_named() -> None:
    hand = Skeleton("hand", ("left_wrist", "left_thumb"), (), (0.1, 0.1))
    with pytest.raises(InputError, match="left_thumb"):
        draw_scene(0, skeleton=hand)


@pytest.mark.parametrize(("height", "width"), [(64, 200), (300, 80), (8, 8)])
def test_any_size_will_do(height: int, width: int) -> None:
    scene = draw_scene(0, height=height, width=width, crowd=1)
    assert scene.image.shape == (height, width, 3)
    assert scene.owners.shape == (height, width)


def test_nobody_there() -> None:
    scene = draw_scene(0, people=(0, 0), crowd=0, skeleton=CROWDPOSE)
    assert scene.keypoints.shape == (0, 14, 3)
    assert scene.boxes.shape == (0, 4) and scene.areas.shape == (0,)
    assert scene.annotations() == []
