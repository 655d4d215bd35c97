"""Skeletons: the mirror derived from names or given, files and categories both ways, refusals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from higherhrnet.errors import InputError
from higherhrnet.skeleton import (
    COCO,
    CROWDPOSE,
    SKELETONS,
    Skeleton,
    default_sigmas,
    load_skeleton,
    mirrored,
)

DOG = Skeleton(
    "dog",
    names=("tail", "left_paw", "right_paw", "hock_L", "hock_R"),
    limbs=(("tail", "left_paw"), ("left_paw", "right_paw")),
    sigmas=(0.1, 0.2, 0.3, 0.4, 0.5),
    grouping_order=(4, 2, 0, 1, 3),
    flip_pairs=(("left_paw", "right_paw"), ("hock_L", "hock_R")),
)
MEAN_SIGMA = sum(COCO.sigmas) / 17
PLAIN = Skeleton("plain", ("a", "b"), (), (0.1, 0.1))


def to_toml(skeleton: Skeleton) -> str:
    def words(pairs: tuple[tuple[str, str], ...]) -> list[list[str]]:
        return [list(pair) for pair in pairs]

    return f"""
        name = "{skeleton.name}"
        names = {list(skeleton.names)}
        limbs = {words(skeleton.limbs)}
        flip_pairs = {words(skeleton.flip_pairs)}
        sigmas = {list(skeleton.sigmas)}
        grouping_order = {[skeleton.names[i] for i in skeleton.grouping_order]}
    """


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("left_eye", "right_eye"),
        ("right_eye", "left_eye"),
        ("nose", "nose"),
        ("L_Right_Toe", "L_Left_Toe"),
        ("eye-left", "eye-right"),
        ("leftKnee", "rightKnee"),
    ],
)
def test_a_names_mirror_image_has_left_and_right_changed(name: str, other: str) -> None:
    assert mirrored(name) == other
    assert mirrored(other) == name


@pytest.mark.parametrize(
    ("skeleton", "index"),
    [
        (COCO, (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)),
        (CROWDPOSE, (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 12, 13)),
        (DOG, (0, 2, 1, 4, 3)),
        (replace(DOG, flip_pairs=()), (0, 2, 1, 3, 4)),
        (replace(DOG, flip_pairs=DOG.flip_pairs[1:]), (0, 1, 2, 4, 3)),
        (PLAIN, (0, 1)),
        (replace(PLAIN, names=("left_a", "right_b")), (0, 1)),
        (replace(PLAIN, names=("upright", "left")), (0, 1)),
    ],
    ids=[
        "coco",
        "crowdpose",
        "given",
        "by name",
        "given are all",
        "no sides",
        "no partner",
        "word",
    ],
)
def test_each_keypoint_changes_place_with_its_mirror_image(
    skeleton: Skeleton, index: tuple[int, ...]
) -> None:
    assert skeleton.flip_index == index
    assert [index[other] for other in index] == list(range(len(index)))  # twice is nothing


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_the_built_in_skeletons_have_the_originals_numbers(skeleton: Skeleton) -> None:
    keypoints = {"coco": 17, "crowdpose": 14}[skeleton.name]
    assert len(skeleton) == len(skeleton.names) == len(skeleton.sigmas) == keypoints
    assert len(skeleton.limbs) == {"coco": 19, "crowdpose": 15}[skeleton.name]
    for limb, (a, b) in zip(skeleton.limbs, skeleton.limb_index, strict=True):
        assert limb == (skeleton.names[a], skeleton.names[b])
    order = [0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16]
    assert list(skeleton.grouping_order) == order[:keypoints]


def test_keypoints_are_grouped_in_the_order_of_their_names_if_no_other_is_given() -> None:
    assert PLAIN.grouping_order == (0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ()}, "names must be there and differ"),
        ({"names": ("a", "a")}, "names must be there and differ"),
        ({"limbs": (("a", "c"),)}, "a–c names a keypoint it does not have"),
        ({"flip_pairs": (("d", "b"),)}, "d–b names a keypoint it does not have"),
        ({"sigmas": (0.1,)}, "one sigma > 0 for each keypoint"),
        ({"sigmas": (0.1, 0.0)}, "one sigma > 0 for each keypoint"),
        ({"grouping_order": (0,)}, "grouping_order must hold each keypoint once"),
        ({"grouping_order": (0, 0)}, "grouping_order must hold each keypoint once"),
        ({"grouping_order": (1, 2)}, "grouping_order must hold each keypoint once"),
        ({"flip_pairs": (("a", "b"), ("a", "a"))}, "flip_pairs"),
    ],
    ids=str,
)
def test_a_skeleton_that_does_not_hold_together_is_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=r"^skeleton plain: ") as refused:
        replace(PLAIN, **change)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("skeleton", [DOG, PLAIN, COCO, CROWDPOSE], ids=lambda s: s.name)
def test_a_skeleton_comes_back_from_a_category(skeleton: Skeleton) -> None:
    assert Skeleton.from_category(skeleton.to_category()) == skeleton


def test_a_category_may_have_no_more_than_names_and_gets_known_limbs() -> None:
    skeleton = Skeleton.from_category({"keypoints": ["left_eye", "right_eye", "horn"]}, "cow")
    assert (skeleton.name, skeleton.limbs) == ("cow", (("left_eye", "right_eye"),))
    assert skeleton.sigmas == (*COCO.sigmas[1:3], MEAN_SIGMA)
    assert skeleton.flip_index == (1, 0, 2)


def test_a_category_of_coco_or_crowdpose_is_recognised_by_its_names() -> None:
    for known in SKELETONS.values():
        category = {"name": "person", "keypoints": list(known.names), "skeleton": [[1, 2]]}
        assert Skeleton.from_category(category) is known


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ({"name": "cat"}, "category cat lists no keypoints"),
        ({"name": "cat", "keypoints": []}, "category cat lists no keypoints"),
        ({"keypoints": ["a", "b"], "skeleton": [[1, 3]]}, "category custom: its skeleton counts"),
        ({"keypoints": ["a", "b"], "skeleton": [[0, 1]]}, "category custom: its skeleton counts"),
        ({"keypoints": ["a", "a"]}, "skeleton custom: keypoint names"),
        ({"keypoints": ["a", "b"], "sigmas": [0.1]}, "skeleton custom: needs one sigma"),
        ({"keypoints": ["a", "b"], "skeleton": [[1, 2, 2]]}, "custom"),
        ({"keypoints": ["a", "b"], "skeleton": ["ab"]}, "custom"),
        ({"keypoints": ["a", "b"], "flip_pairs": [["a"]]}, "custom"),
    ],
    ids=str,
)
def test_a_category_that_makes_no_skeleton_is_refused(
    category: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Skeleton.from_category(category)


def test_sigmas_are_cocos_by_name_and_its_mean_for_others() -> None:
    assert default_sigmas(COCO.names) == COCO.sigmas
    assert default_sigmas(("tail", "nose")) == (MEAN_SIGMA, 0.026)


@pytest.mark.parametrize("name", SKELETONS)
def test_built_in_skeletons_load_by_name(name: str) -> None:
    assert load_skeleton(name) is SKELETONS[name]


@pytest.mark.parametrize("skeleton", [DOG, PLAIN, CROWDPOSE], ids=lambda s: s.name)
def test_a_skeleton_comes_back_from_its_file(skeleton: Skeleton, tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text(to_toml(skeleton), encoding="utf-8")
    assert load_skeleton(str(path)) == skeleton


def test_a_file_may_have_no_more_than_names_and_names_the_skeleton(tmp_path: Path) -> None:
    path = tmp_path / "bird.toml"
    path.write_text('names = ["left_wing", "right_wing", "nose"]')
    skeleton = load_skeleton(str(path))
    assert (skeleton.name, skeleton.limbs) == ("bird", ())
    assert skeleton.flip_index == (1, 0, 2)
    assert skeleton.sigmas[2] == 0.026


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names = [", "not a skeleton"),
        ("", "names"),
        ("names = 5", "not a skeleton"),
        ('names = ["a", "b"]\nlimbs = [["a", "c"]]', "a–c names a keypoint"),
        ('names = ["a", "b"]\nlimbs = [["a"]]', "not a skeleton"),
        ('names = ["a", "b"]\nsigmas = ["x", 1]', "not a skeleton"),
        ('names = ["a", "b"]\ngrouping_order = ["a", "z"]', "not a skeleton"),
        ("names = ['\udcff']", "not a skeleton"),
    ],
)
def test_a_file_that_makes_no_skeleton_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=message) as refused:
        load_skeleton(str(path))
    assert str(refused.value).startswith(f"{path}: not a skeleton: ")
    assert "\n" not in str(refused.value)


def test_an_unknown_skeleton_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    for name in ("horse", str(tmp_path)):
        with pytest.raises(InputError, match=r"no such skeleton; known are coco, crowdpose"):
            load_skeleton(name)
