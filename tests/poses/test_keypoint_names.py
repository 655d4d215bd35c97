"""Left and right are found in the common forms of names, and nowhere else."""

from __future__ import annotations

import pytest

from higherhrnet.poses.keypoint_names import describe_pairs, find_side_pairs, has_side, respell
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE, SKELETONS


def skeleton(*names: str) -> Skeleton:
    return Skeleton("some", names, (), (0.1,) * len(names))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_eye", "right_eye"),
        ("L_Eye", "R_Eye"),
        ("l_eye", "r_eye"),
        ("LEFT_EYE", "RIGHT_EYE"),
        ("EyeL", "EyeR"),
        ("eye.L", "eye.R"),
        ("Eye_L", "Eye_R"),
        ("eye-left", "eye-right"),
        ("lShoulder", "rShoulder"),
        ("LKnee", "RKnee"),
        ("L Knee", "R Knee"),
        ("knee l", "knee r"),
        ("Leye", "Reye"),
        ("leye", "reye"),
        ("kneel", "kneer"),
        ("LEFTEYE", "RIGHTEYE"),
        ("EYELEFT", "EYERIGHT"),
        ("left ear", "right_ear"),
        ("Left Ear", "right-ear"),
        ("left_Eye", "Right_eye"),
        ("L1", "R1"),
        ("hand_l_2", "hand_r_2"),
        ("L2Eye", "R2Eye"),
        ("finger2L", "finger2R"),
        ("left3", "right3"),
        ("LtEye", "RtEye"),
        ("FL_paw", "FR_paw"),
        ("LF_paw", "RF_paw"),
        ("L_B_Elbow", "R_B_Elbow"),
        ("mixamorig:LeftArm", "mixamorig:RightArm"),
        ("Bip01 L Foot", "Bip01 R Foot"),
        ("eye(l)", "eye(r)"),
        ("left_lower_lip", "right_lower_lip"),
        ("L_Right_Toe", "L_Left_Toe"),
    ],
)
def test_common_forms_are_paired(left: str, right: str) -> None:
    assert skeleton("nose", left, "tail", right).flip_index == (0, 3, 2, 1)
    assert skeleton(right, left, "leg").flip_index == (1, 0, 2)
    assert skeleton(left, "nose").flip_index == (0, 1)


def test_ordinary_words_are_not_sides() -> None:
    words = (
        "lip", "rib", "leg", "ring", "lower_lip", "upper_lip", "lead", "elbow", "heel", "ankle",
        "pelvis", "tail", "neck", "nose", "head", "shoulder", "hip", "knee", "wrist", "ear", "eye",
        "rear", "finger", "little", "root", "lumbar", "rump", "chest", "jaw", "upright", "bright",
        "thumb", "spine", "collar", "withers", "throat", "hoof", "tip", "end", "middle", "crown",
    )  # fmt: skip
    assert find_side_pairs(words) == []
    assert [word for word in words if has_side(word)] == []


@pytest.mark.parametrize(
    "names",
    [
        ("L_Eye", "left eye", "right_eye"),
        ("L_Eye", "R_Eye", "Eye.R"),
        ("left_eye", "right_ear"),
        ("L1", "R2", "nose"),
        ("l", "p"),
        ("lip", "rib"),
    ],
)
def test_names_without_a_single_partner_are_not_paired(names: tuple[str, ...]) -> None:
    assert find_side_pairs(names) == []


def test_the_closest_form_is_paired_first() -> None:
    names = ("left_eye", "L_Eye", "right_eye", "R_Eye")
    assert skeleton(*names).pairs == [("left_eye", "right_eye"), ("L_Eye", "R_Eye")]


def test_pairs_name_the_left_keypoint_first_and_the_part() -> None:
    names = ("right_Ear_2", "left_Ear_2", "R_Eye", "eye.l", "RKnee", "LKnee")
    pairs = [("left_Ear_2", "right_Ear_2", "ear"), ("eye.l", "R_Eye", "eye")]
    assert find_side_pairs(names) == [*pairs, ("LKnee", "RKnee", "knee")]


def test_the_original_skeletons_keep_their_pairs() -> None:
    for known in (COCO, CROWDPOSE):
        pairs = [(name, name.replace("left", "right")) for name in known.names if "left" in name]
        assert known.pairs == pairs and len(pairs) in (6, 8)
    assert all(known.unpaired_sides == [] for known in SKELETONS.values())


@pytest.mark.parametrize("form", ["{n}_{name}", "{name}{n}", "({n}) {name}", "{name} #{n}"])
def test_numbers_of_all_keypoints_are_ignored(form: str) -> None:
    coco = SKELETONS["coco"]
    names = [form.format(n=n, name=name) for n, name in enumerate(coco.names)]
    assert skeleton(*names).flip_index == coco.flip_index
    names[0] = "nose"
    assert skeleton(*names).pairs == []
    assert skeleton("L1", "R1", "L2", "R2").flip_index == (1, 0, 3, 2)


def test_unpaired_sides_are_described() -> None:
    assert skeleton("l_eye", "r_ear", "lip").unpaired_sides == ["l_eye", "r_ear"]
    assert describe_pairs([]) == "none"
    assert describe_pairs([("a", "b")], ["l_eye"]) == (
        "a–b; warning: a side in the name, but no partner: l_eye"
    )


def test_names_are_respelled_unless_that_is_ambiguous() -> None:
    known = ("left_eye", "Nose")
    assert respell(("LEFT_EYE", "nose", "Tail"), known) == {
        "LEFT_EYE": "left_eye", "nose": "Nose", "Tail": "Tail",
    }  # fmt: skip
    assert respell(("Left Eye",), known) == {"Left Eye": "left_eye"}
    assert respell(("NOSE", "nose"), known) == {"NOSE": "NOSE", "nose": "nose"}
