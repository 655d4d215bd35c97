"""Skeletons are merged by the names of their keypoints."""

from __future__ import annotations

import pytest

from higherhrnet.data.merge import merge_skeletons
from higherhrnet.errors import InputError
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE

BODY = Skeleton("body", COCO.names[5:], COCO.limbs[:4], (0.5,) * 12)
"""COCO without the face."""


def test_a_known_set_of_keypoints_gives_the_known_skeleton() -> None:
    face = Skeleton("face", COCO.names[:5], (), (1.0,) * 5)
    for skeletons in ([COCO], [COCO, BODY], [BODY, COCO], [BODY, face]):
        assert merge_skeletons(skeletons) is COCO
    assert merge_skeletons([CROWDPOSE, BODY]) is CROWDPOSE
    assert merge_skeletons([BODY]) is BODY


def test_a_merged_skeleton_has_the_keypoints_and_limbs_of_all() -> None:
    merged = merge_skeletons([COCO, CROWDPOSE])
    assert merged.names == (*COCO.names, "head", "neck")
    assert merged.name == "coco+crowdpose"
    assert merged.sigmas == (*COCO.sigmas, 0.079, 0.079)
    assert merged.grouping_order == (*COCO.grouping_order, 17, 18)
    assert merged.flip_index == (*COCO.flip_index, 17, 18)
    assert merged.limbs[: len(COCO.limbs)] == COCO.limbs
    added = set(merged.limbs) - set(COCO.limbs)
    assert added == {("head", "neck"), ("neck", "left_shoulder"), ("neck", "right_shoulder")}


def test_names_are_in_the_order_of_their_first_occurrence() -> None:
    one = Skeleton("one", ("b", "left_a"), (("b", "left_a"),), (0.1, 0.2), (1, 0))
    other = Skeleton("other", ("right_a", "b", "left_a"), (("left_a", "b"),), (0.3, 0.4, 0.5))
    merged = merge_skeletons([one, other])
    assert merged.names == ("b", "left_a", "right_a")
    assert merged.sigmas == (0.1, 0.2, 0.3)
    assert merged.grouping_order == (1, 0, 2)
    assert merged.limbs == (("b", "left_a"),)
    assert merged.flip_index == (0, 2, 1)


def test_explicit_flip_pairs_are_merged_with_those_derived_from_names() -> None:
    odd = Skeleton("odd", ("port", "starboard"), (), (0.1, 0.1), (), (("port", "starboard"),))
    merged = merge_skeletons([BODY, odd])
    assert merged.flip_index == (*BODY.flip_index, 13, 12)
    with pytest.raises(InputError, match="flip_pairs"):
        merge_skeletons([odd, Skeleton("x", ("port", "b"), (), (1, 1), (), (("port", "b"),))])


def test_names_that_differ_only_in_spelling_are_one_keypoint() -> None:
    upper = Skeleton(
        "upper",
        tuple(name.upper().replace("_", " ") for name in COCO.names[5:]),
        (("LEFT HIP", "LEFT KNEE"),),
        (0.5,) * 12,
        (),
        (("LEFT HIP", "RIGHT HIP"),),
    )
    assert merge_skeletons([upper, COCO]) is COCO
    merged = merge_skeletons([Skeleton("tail", ("Tail", "nose"), (), (1, 1)), upper, BODY])
    assert merged.names == ("Tail", "nose", *BODY.names)
    assert ("left_hip", "left_knee") in merged.limbs
    assert ("left_hip", "right_hip") in merged.pairs
    assert merge_skeletons([upper]) is upper
    both = Skeleton("both", ("a", "A"), (), (1, 1))
    assert merge_skeletons([both, Skeleton("one", ("a",), (), (1,))]).names == ("a", "A")
