"""Skeletons: flip pairs, conversion from and to categories and files, and validation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from higherhrnet.errors import InputError
from higherhrnet.io.skeleton_files import category_skeleton, load_skeleton
from higherhrnet.poses.keypoint_names import opposite_name
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import (
    AIC,
    COCO,
    COCO_WHOLEBODY,
    CROWDPOSE,
    SKELETONS,
    default_sigmas,
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
    def lists(pairs: tuple[tuple[str, str], ...]) -> list[list[str]]:
        return [list(pair) for pair in pairs]

    return f"""
        name = "{skeleton.name}"
        names = {list(skeleton.names)}
        limbs = {lists(skeleton.limbs)}
        flip_pairs = {lists(skeleton.flip_pairs)}
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
def test_the_opposite_name_exchanges_left_and_right(name: str, other: str) -> None:
    assert opposite_name(name) == other
    assert opposite_name(other) == name


@pytest.mark.parametrize(
    ("skeleton", "index"),
    [
        (COCO, (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)),
        (CROWDPOSE, (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 12, 13)),
        (DOG, (0, 2, 1, 4, 3)),
        (replace(DOG, flip_pairs=()), (0, 2, 1, 4, 3)),
        (replace(DOG, flip_pairs=DOG.flip_pairs[1:]), (0, 1, 2, 4, 3)),
        (PLAIN, (0, 1)),
        (replace(PLAIN, names=("left_a", "right_b")), (0, 1)),
        (replace(PLAIN, names=("upright", "left")), (0, 1)),
    ],
    ids=[
        "coco",
        "crowdpose",
        "pairs",
        "by name",
        "pairs replace names",
        "no sides",
        "no partner",
        "side within a word",
    ],
)
def test_each_keypoint_is_exchanged_with_its_partner(
    skeleton: Skeleton, index: tuple[int, ...]
) -> None:
    assert skeleton.flip_index == index
    assert [index[other] for other in index] == list(range(len(index)))  # its own inverse


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda skeleton: skeleton.name)
def test_predefined_skeletons_match_the_reference_implementation(skeleton: Skeleton) -> None:
    keypoints = {"coco": 17, "crowdpose": 14}[skeleton.name]
    assert len(skeleton) == len(skeleton.names) == len(skeleton.sigmas) == keypoints
    assert len(skeleton.limbs) == {"coco": 19, "crowdpose": 15}[skeleton.name]
    for limb, (a, b) in zip(skeleton.limbs, skeleton.limb_index, strict=True):
        assert limb == (skeleton.names[a], skeleton.names[b])
    order = [0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16]
    assert list(skeleton.grouping_order) == order[:keypoints]


def test_the_skeleton_of_ai_challenger_matches_mmpose() -> None:
    assert AIC.names[:3] == ("right_shoulder", "right_elbow", "right_wrist")
    assert AIC.names[9:] == ("left_hip", "left_knee", "left_ankle", "head_top", "neck")
    assert AIC.flip_index == (3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8, 12, 13)
    assert AIC.grouping_order == tuple(range(14))
    assert len(AIC.limbs) == 14
    assert sum(AIC.sigmas) == pytest.approx(0.30056174)


def test_the_skeleton_of_coco_wholebody_matches_mmpose() -> None:
    names = COCO_WHOLEBODY.names
    assert len(names) == len(COCO_WHOLEBODY.sigmas) == 133
    assert len(COCO_WHOLEBODY.limbs) == 65
    assert names[:17] == COCO.names
    expected = {
        17: "left_big_toe", 19: "left_heel", 22: "right_heel", 23: "face-0", 90: "face-67",
        91: "left_hand_root", 95: "left_thumb4", 96: "left_forefinger1",
        111: "left_pinky_finger4", 112: "right_hand_root", 121: "right_middle_finger1",
        132: "right_pinky_finger4",
    }  # fmt: skip
    assert {index: names[index] for index in expected} == expected
    sigmas = {17: 0.068, 23: 0.042, 70: 0.034, 90: 0.008, 91: 0.029, 111: 0.031, 112: 0.029}
    assert {index: COCO_WHOLEBODY.sigmas[index] for index in sigmas} == sigmas
    assert sum(COCO_WHOLEBODY.sigmas) == pytest.approx(3.861)
    assert COCO_WHOLEBODY.grouping_order == tuple(range(133))
    # The flip of the body and the feet, the face and the hands.
    index = COCO_WHOLEBODY.flip_index
    assert index[:17] == COCO.flip_index
    assert index[17:23] == (20, 21, 22, 17, 18, 19)
    assert index[91:] == (*range(112, 133), *range(91, 112))
    face = [other - 23 for other in index[23:91]]
    assert face[:27] == [*range(16, -1, -1), *range(26, 16, -1)]
    assert face[27:] == [
        27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
    ]  # fmt: skip
    assert ("left_wrist", "left_thumb1") in COCO_WHOLEBODY.limbs
    assert ("right_ring_finger3", "right_ring_finger4") in COCO_WHOLEBODY.limbs
    assert ("right_ankle", "right_heel") in COCO_WHOLEBODY.limbs


def test_the_default_grouping_order_is_that_of_the_names() -> None:
    assert PLAIN.grouping_order == (0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ()}, "there must be keypoint names, each only once"),
        ({"names": ("a", "a")}, "there must be keypoint names, each only once"),
        ({"limbs": (("a", "c"),)}, "a–c has the unknown keypoint c"),
        ({"flip_pairs": (("d", "b"),)}, "d–b has the unknown keypoint d"),
        ({"sigmas": (0.1,)}, "one sigma above 0 for each keypoint"),
        ({"sigmas": (0.1, 0.0)}, "one sigma above 0 for each keypoint"),
        ({"grouping_order": (0,)}, "grouping_order must contain each keypoint once"),
        ({"grouping_order": (0, 0)}, "grouping_order must contain each keypoint once"),
        ({"grouping_order": (1, 2)}, "grouping_order must contain each keypoint once"),
        ({"flip_pairs": (("a", "b"), ("a", "a"))}, "flip_pairs has a keypoint twice"),
    ],
    ids=str,
)
def test_inconsistent_values_are_rejected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=r"^skeleton plain: ") as error:
        replace(PLAIN, **change)
    assert message in str(error.value)
    assert "\n" not in error.value.args[0]


@pytest.mark.parametrize("skeleton", [DOG, PLAIN, COCO, CROWDPOSE], ids=lambda s: s.name)
def test_a_skeleton_is_restored_from_its_category(skeleton: Skeleton) -> None:
    assert category_skeleton(skeleton.to_category()) == skeleton


def test_a_category_with_only_names_gets_the_limbs_and_sigmas_of_coco() -> None:
    skeleton = category_skeleton({"name": "cow", "keypoints": ["left_eye", "right_eye", "horn"]})
    assert (skeleton.name, skeleton.limbs) == ("cow", (("left_eye", "right_eye"),))
    assert skeleton.sigmas == (*COCO.sigmas[1:3], MEAN_SIGMA)
    assert skeleton.flip_index == (1, 0, 2)


def test_categories_of_coco_and_crowdpose_are_recognized_by_their_names() -> None:
    for known in SKELETONS.values():
        category = {"name": "person", "keypoints": list(known.names), "skeleton": [[1, 2]]}
        assert category_skeleton(category) is known


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ({"name": "cat"}, "category cat has no keypoints"),
        ({"name": "cat", "keypoints": []}, "category cat has no keypoints"),
        (
            {"keypoints": ["a", "b"], "skeleton": [[1, 3]]},
            "skeleton has numbers outside 1 to 2",
        ),
        (
            {"keypoints": ["a", "b"], "skeleton": [[0, 2]]},
            "skeleton has numbers outside 0 to 1",
        ),
        ({"keypoints": ["a", "a"]}, "skeleton custom: there must be keypoint names"),
        ({"keypoints": ["a", "b"], "sigmas": [0.1]}, "skeleton custom: there must be one sigma"),
        ({"keypoints": ["a", "b"], "skeleton": [[1, 2, 2]]}, "custom"),
        ({"keypoints": ["a", "b"], "skeleton": ["ab"]}, "custom"),
        ({"keypoints": ["a", "b"], "flip_pairs": [["a"]]}, "custom"),
    ],
    ids=str,
)
def test_invalid_categories_are_rejected(category: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        category_skeleton(category)


def test_default_sigmas_are_those_of_coco_or_their_mean() -> None:
    assert default_sigmas(COCO.names) == COCO.sigmas
    assert default_sigmas(("tail", "nose")) == (MEAN_SIGMA, 0.026)


@pytest.mark.parametrize("name", SKELETONS)
def test_predefined_skeletons_are_loaded_by_name(name: str) -> None:
    assert load_skeleton(name) is SKELETONS[name]


@pytest.mark.parametrize("skeleton", [DOG, PLAIN, CROWDPOSE], ids=lambda s: s.name)
def test_a_skeleton_is_loaded_from_a_file(skeleton: Skeleton, tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text(to_toml(skeleton), encoding="utf-8")
    assert load_skeleton(path) == load_skeleton(str(path)) == skeleton


def test_a_file_with_only_names_gives_its_own_name_to_the_skeleton(tmp_path: Path) -> None:
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
        ("", "the key names is missing"),
        ('names = ["a"]\nlinks = []', "unknown key links"),
        ("names = 5", "not a skeleton"),
        ('names = ["a", "b"]\nlimbs = [["a", "c"]]', "a–c has the unknown keypoint c"),
        ('names = ["a", "b"]\nlimbs = [["a"]]', "not a skeleton"),
        ('names = ["a", "b"]\nsigmas = ["x", 1]', "not a skeleton"),
        ('names = ["a", "b"]\ngrouping_order = ["a", "z"]', "not a skeleton"),
        ("names = ['\udcff']", "not a skeleton"),
    ],
)
def test_invalid_files_are_rejected(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=message) as error:
        load_skeleton(str(path))
    assert str(error.value).startswith(f"{path}: not a skeleton: ")
    assert "\n" not in error.value.args[0]


def test_a_file_with_deeply_nested_brackets_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f"names = {'[' * 5000}{']' * 5000}\n")
    with pytest.raises(InputError, match=r"a\.toml: not a skeleton: its brackets are nested too"):
        load_skeleton(str(path))


def test_unknown_names_are_rejected_with_the_known_ones(tmp_path: Path) -> None:
    for name in ("horse", str(tmp_path)):
        with pytest.raises(
            InputError,
            match=f"no such file; a skeleton is {', '.join(SKELETONS)} or a",
        ):
            load_skeleton(name)
